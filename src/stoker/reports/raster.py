"""Figures as PNG, drawn by matplotlib from the same description as the SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import InputError, Place
from stoker.reports.figure import Figure, Layer, Panel, time_text, time_ticks
from stoker.reports.plot import check_plot_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _SOFT, _LINE = "#1c2530", "#5d6875", "#e3e7eb"
_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#1f6fb4", "#c85a00", "#2d7d46", "#b3261e", "#8a939c"
_LOOKS: dict[str, dict[str, Any]] = {
    "arrivals": {"color": _GREY, "alpha": 0.5},
    "wanted": {"color": _ORANGE, "linestyle": (0, (4, 2)), "linewidth": 1.6},
    "ready": {"color": _BLUE, "linewidth": 1.9},
    "queue": {"color": _ORANGE, "alpha": 0.4},
    "held": {"facecolor": "none", "edgecolor": _RED, "hatch": "////", "linewidth": 0},
    "p50": {"color": _BLUE, "linewidth": 1.9},
    "p95": {"color": _BLUE, "linewidth": 1.3, "linestyle": (0, (5, 2))},
    "p99": {"color": _SOFT, "linewidth": 1.1, "linestyle": (0, (1, 2))},
    "latency": {"color": _BLUE, "alpha": 0.15, "linewidth": 0},
    "front": {"color": _GREEN, "linestyle": (0, (5, 2)), "linewidth": 1.4},
}
_MARKS: dict[str, dict[str, Any]] = {
    "decision": {"marker": "o", "markersize": 4, "markerfacecolor": "white", "color": _ORANGE},
    "run": {"marker": "o", "markersize": 8, "color": _BLUE},
    "baseline": {"marker": "s", "markersize": 7, "markerfacecolor": "white", "color": _SOFT},
    "bound": {"marker": "D", "markersize": 7, "markerfacecolor": "white", "color": _GREEN},
}


def draw(figure: Figure, path: Path) -> None:
    """Write it as PNG.

    Raises:
        InputError: the file cannot be written.
        MachineError: matplotlib is not installed.
    """
    check_plot_file(path)
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator, PercentFormatter  # noqa: PLC0415

    heights = [panel.height for panel in figure.panels]
    canvas = Canvas(figsize=(10, sum(heights) / 80 + 0.6 * len(heights)), layout="constrained")
    axes = canvas.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axis, panel in zip(axes[:, 0], figure.panels, strict=True):
        _panel(axis, panel)
        if panel.percent:
            axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        elif panel.integers:
            axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    last = axes[-1, 0]
    last.set_xlim(*figure.x_limits)
    last.set_xlabel(figure.x_label)
    if figure.x_is_time:
        ticks = time_ticks(*figure.x_limits, 9)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
        last.set_xticks(ticks, [time_text(tick, step) for tick in ticks])
    canvas.suptitle(figure.title, fontsize=11, x=0.01, ha="left", color=_INK)
    try:
        canvas.savefig(path, dpi=120)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written: {reason}", place=Place(str(path))) from None


def _panel(axis: Axes, panel: Panel) -> None:
    for layer in panel.layers:
        _layer(axis, layer)
    for rule in panel.rules:
        axis.axhline(rule.y, color=_RED, linestyle=(0, (2, 3)), linewidth=1.1)
        axis.annotate(
            rule.label, (0.005, rule.y), xycoords=("axes fraction", "data"), fontsize=8, color=_RED
        )
    for mark in panel.marks:
        axis.plot([mark.x], [mark.y], linestyle="none", clip_on=False, **_MARKS[mark.style])
        if mark.label:
            axis.annotate(
                mark.label,
                (mark.x, mark.y),
                textcoords="offset points",
                xytext=(7, -12),
                fontsize=8,
            )
    axis.set_ylim(*panel.limits())
    axis.set_title(f"{panel.title}  {panel.unit}", fontsize=9, loc="left", color=_INK)
    axis.grid(visible=True, color=_LINE, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8, colors=_SOFT)
    if any(layer.label for layer in panel.layers):
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=8)


def _layer(axis: Axes, layer: Layer) -> None:
    look = _LOOKS[layer.style]
    label = layer.label or None
    if layer.kind == "steps":
        axis.step(layer.x, layer.y, where="post", label=label, **look)
    elif layer.kind == "line":
        axis.plot(layer.x, layer.y, label=label, **look)
    else:
        low = 0.0 if layer.low is None else layer.low
        axis.fill_between(layer.x, low, layer.y, label=label, **look)
