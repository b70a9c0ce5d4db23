"""What a trace is like, in text and as JSON."""

from __future__ import annotations

from typing import Any

from stoker.traces.statistics import PERCENTILES, Description, Histogram
from stoker.ui.sparkline import sparkline

_POINTS = 60
_MOST_NAMES = 8
_POISSON = "1 is a Poisson process"


def described(trace: Description) -> dict[str, Any]:
    """The figures, with documented names; rates are requests a second, times seconds."""
    return {
        "requests": trace.requests,
        "start": trace.start,
        "duration": trace.duration,
        "rate": trace.rate,
        "gap_variation": trace.gap_variation,
        "longest_silence": trace.longest_silence,
        "burstiness": [
            {"window": found.window, "dispersion": found.dispersion, "peak_rate": found.peak}
            for found in trace.burstiness()
        ],
        "rates": trace.rates(_POINTS).tolist(),
        "prompt_tokens": _lengths(trace.prompt),
        "output_tokens": _lengths(trace.output),
        "prefix_reuse": trace.reuse,
        "models": trace.models,
        "keys": len(trace.keys),
    }


def _lengths(tokens: Histogram) -> dict[str, int]:
    percentiles = {f"p{percent}": tokens.percentile(percent) for percent in PERCENTILES}
    return {**percentiles, "max": tokens.longest, "total": tokens.total}


def text(trace: Description, name: str, format_name: str) -> str:
    """Some lines for people."""
    rates = trace.rates(_POINTS)
    top = f"0 to {rates.max():.3g}/s, {_step(trace, len(rates))} a sign"
    lines = [
        f"{name}  ({format_name})",
        "",
        f"requests   {trace.requests:,} in {_span(trace.duration)}, {trace.rate:.3g}/s on average",
        f"rate       {sparkline(rates)}  {top}",
        f"silence    {_span(trace.longest_silence)} at most",
    ]
    if (variation := trace.gap_variation) is not None:
        lines.append(
            f"gaps       coefficient of variation {variation:.2f} (1 is a Poisson process)"
        )
    lines += _burstiness(trace)
    lines += [
        "",
        "TOKENS" + "".join(f"{f'P{p}':>9}" for p in PERCENTILES) + f"{'MAX':>9}{'TOTAL':>15}",
    ]
    for label, tokens in (("prompt", trace.prompt), ("output", trace.output)):
        cells = "".join(f"{tokens.percentile(percent):>9,}" for percent in PERCENTILES)
        lines.append(f"{label}{cells}{tokens.longest:>9,}{tokens.total:>15,}")
    if (reuse := trace.reuse) is not None:
        lines += ["", f"prefixes   {reuse:.0%} of the prompts' blocks had come before"]
    for heading, names in (("models", trace.models), ("keys", trace.keys)):
        if names:
            lines.append(f"{heading:<11}{_names(names)}")
    return "\n".join(lines)


def _burstiness(trace: Description) -> list[str]:
    found = trace.burstiness()
    if not found:
        return []
    cells = ", ".join(f"{one.dispersion:.3g} in {_span(one.window)}" for one in found)
    peaks = ", ".join(f"{one.peak:.3g}/s in {_span(one.window)}" for one in found)
    return [f"burstiness variance/mean {cells} ({_POISSON})", f"peaks      {peaks}"]


def _names(names: dict[str, int]) -> str:
    total = sum(names.values())
    ranked = sorted(names.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{name or '(none)'} {count / total:.0%}" for name, count in ranked[:_MOST_NAMES]]
    more = f" and {len(ranked) - _MOST_NAMES} more" if len(ranked) > _MOST_NAMES else ""
    return ", ".join(told) + more


def _step(trace: Description, points: int) -> str:
    return _span((int(trace.duration) + 1) / points)


def _span(seconds: float) -> str:
    """``58 min``, ``14 d``: a length of time with two or three digits."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
