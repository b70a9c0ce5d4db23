"""A report for people: plain text, whole without colour."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.load.report import Distribution, LoadReport

_WIDTH = 11


def render(report: LoadReport) -> str:
    """The report as ``stoker load`` prints it."""
    return "\n".join((*_counts(report), *_latencies(report), *_errors(report), *_lag(report)))


def _counts(report: LoadReport) -> Iterator[str]:
    cancelled = f", {report.cancelled} cancelled" if report.cancelled else ""
    yield (
        f"{_number(report.requests)} requests in {_seconds(report.duration)}: "
        f"{_number(report.ok)} ok, {_number(report.failed)} failed{cancelled}"
    )
    yield (
        f"{report.requests_per_second:.2f} requests/s, "
        f"{report.output_tokens_per_second:.1f} output tokens/s "
        f"({_number(report.input_tokens)} tokens in, {_number(report.output_tokens)} out)"
    )
    if len(report.models) > 1:
        yield f"models: {', '.join(report.models)}"


def _latencies(report: LoadReport) -> Iterator[str]:
    rows = (
        ("time to first token", report.ttft),
        ("inter-token latency", report.inter_token_latency),
        ("end to end", report.end_to_end),
    )
    if not any(row for _, row in rows):
        return
    yield ""
    heads = ("mean", "p50", "p90", "p95", "p99", "max")
    yield " " * 20 + "".join(f"{head:>{_WIDTH}}" for head in heads)
    for name, row in rows:
        if row is not None:
            yield f"{name:<20}" + "".join(f"{_seconds(v):>{_WIDTH}}" for v in _values(row))


def _values(row: Distribution) -> tuple[float, ...]:
    return (row.mean, row.p50, row.p90, row.p95, row.p99, row.max)


def _errors(report: LoadReport) -> Iterator[str]:
    if report.errors:
        yield ""
        width = max(len(error.kind) for error in report.errors)
        for error in report.errors:
            yield f"failed  {error.kind:<{width}}  {error.count:>6}  {error.example}".rstrip()


def _lag(report: LoadReport) -> Iterator[str]:
    if report.fell_behind and report.lag is not None:
        yield ""
        yield (
            f"The load generator fell behind its own plan: p99 {_seconds(report.lag.p99)} late. "
            "That time is in the latencies above; they are not the server's alone."
        )


def _number(value: int) -> str:
    return f"{value:,}"


def _seconds(value: float) -> str:
    """``12.3 ms``, ``4.56 s``, ``183 s``: three digits that matter."""
    if value < 1.0:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"
