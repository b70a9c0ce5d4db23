"""A calibration as a picture: what was measured, and the curve that was fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stoker.errors import InputError, Place
from stoker.reports import raster, svg
from stoker.reports.figure import Figure, Mark, Panel
from stoker.simulator.calibration import Fit, Point


def figure(name: str, points: Sequence[Point], found: Fit) -> Figure:
    """A panel for each length of prompt: time per token over concurrency."""
    rows = list(zip(points, found.predicted, strict=True))
    panels = []
    for length in sorted({point.prompt_tokens for point in points}):
        part = sorted(
            ((point, fitted) for point, fitted in rows if point.prompt_tokens == length),
            key=lambda row: row[0].concurrency,
        )
        off = [abs(fitted / point.tpot - 1) for point, fitted in part]
        panel = Panel(
            f"{length:,} prompt tokens: fit {100 * sum(off) / len(off):.1f} % off on average, "
            f"{100 * max(off):.1f} % at most;",
            "ms per token",
        )
        panel.line(
            [point.concurrency for point, _ in part], [y for _, y in part], "fitted", "ready"
        )
        for point, fitted in part:
            text = f"{point.concurrency} at once: {point.tpot:.2f} ms, fitted {fitted:.2f} ms"
            panel.marks.append(Mark(point.concurrency, point.tpot, text, "run"))
        panels.append(panel)
    title = (
        f"{name}: fitted time per token {100 * found.mean_error:.1f} % off on average, "
        f"{100 * found.largest_error:.1f} % at most"
    )
    most = max(point.concurrency for point in points)
    return Figure(
        "calibration",
        title,
        panels,
        "requests at once (dots: measured)",
        (0.0, 1.05 * most),
        x_is_time=False,
    )


def plot(name: str, points: Sequence[Point], found: Fit, path: Path) -> None:
    """Write the picture; the suffix says whether PNG or SVG.

    Raises:
        InputError: the file cannot be written.
    """
    drawn = figure(name, points, found)
    if path.suffix.lower() == ".png":
        raster.draw(drawn, path)
        return
    try:
        path.write_text(svg.draw(drawn, alone=True), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written: {reason}", place=Place(str(path))) from None
