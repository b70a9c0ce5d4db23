"""A trace as a picture: its rate over time, and the lengths of its requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stoker.errors import InputError, Place
from stoker.reports.plot import check_plot_file
from stoker.traces.statistics import Description, Histogram

_BLUE, _ORANGE = "#1f6fb4", "#d1670b"
_POINTS = 240


def plot(trace: Description, path: Path, title: str) -> None:
    """Draw it into *path*, a PNG or an SVG.

    Raises:
        InputError: another suffix, or the file cannot be written.
        MachineError: matplotlib is not installed.
    """
    check_plot_file(path)
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.2, 1.0])
    rate = figure.add_subplot(grid[0, :])
    rates = trace.rates(_POINTS)
    size, unit = _unit(trace.duration)
    step = (int(trace.duration) + 1) / len(rates) / size
    rate.stairs(rates, np.arange(len(rates) + 1) * step, fill=True, color=_BLUE, alpha=0.85)
    rate.axhline(trace.rate, color="#444444", linewidth=0.9, linestyle="--")
    rate.annotate(
        f"mean {trace.rate:.3g}/s",
        (0.995, trace.rate),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=8,
    )
    rate.margins(x=0)
    rate.set_xlabel(f"time ({unit})")
    rate.set_ylabel("requests a second")
    rate.set_title(f"{title}: {trace.requests:,} requests", fontsize=11, loc="left")
    for column, (name, tokens) in enumerate((("prompt", trace.prompt), ("output", trace.output))):
        axis = figure.add_subplot(grid[1, column])
        lengths, share = _distribution(tokens)
        axis.step(lengths, share, where="post", color=_ORANGE)
        axis.set_xscale("log")
        axis.set_xlabel(f"{name} tokens")
        axis.set_ylabel("share of requests up to it")
        axis.set_ylim(0, 1)
        for percent in (50, 95):
            at = max(tokens.percentile(percent), 1)
            axis.plot([at], [percent / 100], "o", color=_ORANGE, markersize=4)
            axis.annotate(
                f"p{percent} {at:,}",
                (at, percent / 100),
                textcoords="offset points",
                xytext=(6, -9),
                fontsize=8,
            )
    for axis in figure.axes:
        axis.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written: {reason}", place=Place(str(path))) from None


def _unit(duration: float) -> tuple[float, str]:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if duration >= 3 * size:
            return size, unit
    return 1.0, "seconds"


def _distribution(tokens: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and the share of requests that are no longer."""
    lengths, counts = tokens.table()
    return np.maximum(lengths, 1), np.cumsum(counts) / counts.sum()
