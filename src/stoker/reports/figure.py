"""What a figure shows, apart from how it is drawn: panels under each other with one axis of x.

``svg.py`` draws it for pages and files, ``raster.py`` with matplotlib for PNG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Something drawn over time. *style* names a look that both renderers know."""

    kind: str  # area, steps, line, band
    style: str
    label: str
    x: Floats
    y: Floats  # for a step: the value from x on. NaN: a gap
    low: Floats | None = None  # of a band


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with words that appear when it is pointed at."""

    x: float
    y: float
    text: str
    style: str = "decision"
    label: str = ""  # words that are always there


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line with its meaning."""

    y: float
    label: str


@dataclass(slots=True)
class Panel:
    """One plot: its layers share the axes."""

    title: str
    unit: str = ""
    height: int = 130  # pixels of the plot itself
    layers: list[Layer] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    top: float | None = None  # of the axis; None: what is drawn
    bottom: float = 0.0
    integers: bool = False
    percent: bool = False

    def area(self, x: ArrayLike, y: ArrayLike, label: str, style: str = "arrivals") -> None:
        """Filled from zero."""
        self._add("area", style, label, x, y)

    def steps(self, x: ArrayLike, y: ArrayLike, label: str, style: str) -> None:
        """Constant until the next value."""
        self._add("steps", style, label, x, y)

    def line(self, x: ArrayLike, y: ArrayLike, label: str, style: str) -> None:
        """Straight between values."""
        self._add("line", style, label, x, y)

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, label: str, style: str) -> None:
        """Filled between two curves."""
        floor = np.asarray(low, np.float64)
        self._add("band", style, label, x, high, floor)

    def _add(
        self,
        kind: str,
        style: str,
        label: str,
        x: ArrayLike,
        y: ArrayLike,
        low: Floats | None = None,
    ) -> None:
        across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
        self.layers.append(Layer(kind, style, label, across, up, low))

    def limits(self) -> tuple[float, float]:
        """Bottom and top of the axis of y, the top a round number."""
        if self.top is not None:
            return self.bottom, self.top
        tops = [float(np.nanmax(layer.y)) for layer in self.layers if _has_values(layer.y)]
        tops += [mark.y for mark in self.marks] + [rule.y for rule in self.rules]
        top = max([*tops, self.bottom])
        if top <= self.bottom:
            top = self.bottom + 1
        ticks = nice_ticks(self.bottom, top, 4, integers=self.integers)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else top - self.bottom
        return self.bottom, self.bottom + math.ceil((top - self.bottom) / step - 1e-9) * step


@dataclass(slots=True)
class Figure:
    """Panels under each other."""

    name: str  # of its file: replicas, pareto ...
    title: str
    panels: list[Panel]
    x_label: str = ""
    x_limits: tuple[float, float] = (0.0, 1.0)
    x_is_time: bool = True
    says: str = ""  # for those who cannot see it


def _has_values(values: Floats) -> bool:
    return bool(len(values)) and bool(np.isfinite(values).any())


def nice_ticks(low: float, high: float, count: int, *, integers: bool = False) -> list[float]:
    """About *count* round numbers from *low* to *high*: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    if integers:
        step = max(round(step), 1)
    slack = 1e-9 * min(1.0, span / step)
    first = math.ceil(low / step - slack)
    last = math.floor(high / step + slack)
    return [number * step for number in range(first, last + 1)]


_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)


def time_ticks(low: float, high: float, count: int) -> list[float]:
    """Round times: seconds, minutes, hours, days."""
    raw = (high - low) / max(count, 1)
    days = [86400.0 * many for many in (1, 2, 7, 14, 28)]
    step = next((step for step in (*_TIME_STEPS, *days) if step >= raw), None)
    if step is None:
        return nice_ticks(low, high, count)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def time_text(seconds: float, step: float) -> str:
    """``12:30`` (hours and minutes of the run), ``1d 6h``, ``45s``: as fine as *step* needs."""
    if step >= 86400:
        return f"{seconds / 86400:.0f}d"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h" if not minutes else f"{days}d {hours}:{minutes:02}"
    if step >= 60:
        return f"{hours}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number_text(value: float) -> str:
    """``0``, ``0.25``, ``12``, ``1,500``, ``2.5M``."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def thinned(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """At most *most* points that look the same: the least and the largest of each stretch."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most // 2 + 1).astype(int)
    kept: set[int] = {0, len(x) - 1}
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = y[begin:end]
        if not np.isfinite(part).any():
            kept.add(begin)
            continue
        kept.add(begin + int(np.nanargmin(part)))
        kept.add(begin + int(np.nanargmax(part)))
    chosen = sorted(kept)
    return x[chosen], y[chosen]


def legend(panel: Panel) -> Sequence[tuple[str, str, str]]:
    """Kind, style and label of each layer, once."""
    return list(
        dict.fromkeys(
            (layer.kind, layer.style, layer.label) for layer in panel.layers if layer.label
        )
    )
