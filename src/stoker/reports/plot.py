"""A backtest as a picture: each trigger's value with its target, and the replicas below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import InputError, MachineError, Place
from stoker.tick import Tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUFFIXES = (".png", ".svg")
_FIRST_DATE = 1e8
# above the curves, where it hides nothing
_LEGEND: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1, 1),
    "borderaxespad": 0,
    "ncols": 4,
    "frameon": False,
    "fontsize": 8,
}
_BLUE, _ORANGE, _GREY, _RED = "#1f6fb4", "#d1670b", "#8a8a8a", "#c0392b"


@dataclass(slots=True)
class Curves:
    """What a picture needs of the ticks: columns of numbers, not the ticks themselves."""

    name: str
    times: list[float] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    recommended: list[tuple[float, int]] = field(default_factory=list)
    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    failed: dict[str, list[float]] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)
    per_replica: dict[str, bool] = field(default_factory=dict)

    def add(self, tick: Tick) -> None:
        """Take what is needed of *tick*."""
        self.times.append(tick.time)
        self.replicas.append(tick.status.spec_replicas)
        self.ready.append(tick.status.ready_replicas)
        wants = [r.replicas for r in tick.recommendations if r.replicas is not None]
        if wants:
            self.recommended.append((tick.time, max(wants)))
        for reading in tick.readings:
            name = reading.metric_name
            self.targets[name] = reading.target
            self.per_replica[name] = reading.metric_type == "AverageValue"
            if reading.value is None:
                self.failed.setdefault(name, []).append(tick.time)
            value = math.nan if reading.value is None else reading.value  # NaN: a gap
            self.values.setdefault(name, []).append((tick.time, value))


def check_plot_file(path: Path) -> None:
    """Refuse early what would fail after the work: another suffix, or no matplotlib."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            "a picture is written as .png or .svg",
            hint="choose by the suffix",
            place=Place(str(path)),
        )
    if find_spec("matplotlib") is None:  # 60 MB, an extra
        raise MachineError(
            "pictures need matplotlib, which is not installed", hint="pip install 'stoker[report]'"
        )


def plot(curves: Curves, path: Path, *, other: Curves | None = None) -> None:
    """Draw *curves*, and the replicas of *other* beside its own, into *path*."""
    check_plot_file(path)
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = sorted(curves.targets)
    figure = Figure(figsize=(11, 2.1 * len(names) + 3.2), layout="constrained")
    heights = [1.0] * len(names) + [1.5]
    axes = figure.subplots(len(names) + 1, 1, sharex=True, squeeze=False, height_ratios=heights)
    for axis, name in zip(axes[:-1, 0], names, strict=True):
        _trigger(axis, curves, name)
    _replicas(axes[-1, 0], curves, other)
    figure.suptitle(curves.name, fontsize=11)
    for axis in axes[:, 0]:
        axis.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(bottom=0)
    dated = bool(curves.times) and curves.times[0] >= _FIRST_DATE
    axes[-1, 0].set_xlabel("time (UTC)" if dated else "seconds")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written: {reason}", place=Place(str(path))) from None


def _moments(times: Sequence[float]) -> NDArray[Any]:
    """What matplotlib puts dates under, unless times are seconds of a run."""
    seconds = np.asarray(times, np.float64)
    if len(seconds) and seconds[0] >= _FIRST_DATE:
        return (seconds * 1000).astype("datetime64[ms]")
    return seconds


def _trigger(axis: Axes, curves: Curves, name: str) -> None:
    points = curves.values.get(name, [])
    axis.step(
        _moments([t for t, _ in points]), [v for _, v in points],
        where="post", color=_BLUE, linewidth=1.1, label="value",
    )  # fmt: skip
    per = " a replica" if curves.per_replica[name] else ""
    target = curves.targets[name]
    axis.axhline(target, color=_GREY, linestyle="--", linewidth=1, label=f"target {target:g}{per}")
    failed = curves.failed.get(name, [])
    if failed:
        axis.plot(
            _moments(failed), [0.0] * len(failed), "|", color=_RED, markersize=8, label="error"
        )
    axis.set_ylabel(name)
    axis.legend(**_LEGEND)


def _replicas(axis: Axes, curves: Curves, other: Curves | None) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    times = _moments(curves.times)
    axis.fill_between(
        times, curves.ready, step="post", color=_BLUE, alpha=0.18, linewidth=0, label="ready"
    )
    axis.step(
        _moments([t for t, _ in curves.recommended]), [n for _, n in curves.recommended],
        where="post", color=_GREY, linewidth=0.8, label="recommended",
    )  # fmt: skip
    axis.step(times, curves.replicas, where="post", color=_BLUE, linewidth=1.8, label="replicas")
    if other is not None:
        axis.step(
            _moments(other.times), other.replicas,
            where="post", color=_ORANGE, linewidth=1.6, label=f"replicas, {other.name}",
        )  # fmt: skip
    axis.set_ylabel("replicas")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    highest = max([*curves.replicas, *(other.replicas if other else [])], default=1)
    # one wild recommendation must not flatten what was done
    axis.set_ylim(0, highest * 1.4 + 0.5)
    axis.legend(**_LEGEND)
