"""Functions of range vectors that look at one window at a time: to one number, or to none.

The others are in :mod:`stoker.promql.window_columns`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from stoker.metrics.series import Times, Values
from stoker.promql.statistics import linear_regression, quantile, stdvar


@dataclass(frozen=True, slots=True)
class Window:
    """The samples of one series in ``(end - range, end]``; at least one. *at* is the step."""

    times_ms: Times
    values: Values
    end_ms: int
    range_ms: int
    at_ms: int

    def seconds_since(self, origin_ms: int) -> list[float]:
        """Times as seconds since *origin_ms*; exact, unlike a difference of two epoch times."""
        return [(t - origin_ms) / 1000 for t in self.times_ms.tolist()]


WindowFunction = Callable[[Window], float | None]


def _deriv(window: Window) -> float | None:
    if len(window.values) < 2:
        return None
    seconds = window.seconds_since(int(window.times_ms[0]))
    return linear_regression(seconds, window.values.tolist())[0]


def predict_linear(window: Window, ahead: float) -> float | None:
    """The value that the regression line has *ahead* seconds after the moment of evaluation."""
    if len(window.values) < 2:
        return None
    slope, now = linear_regression(window.seconds_since(window.at_ms), window.values.tolist())
    return slope * ahead + now


def _stdvar(window: Window) -> float | None:
    return stdvar(window.values.tolist())


def _stddev(window: Window) -> float | None:
    return math.sqrt(stdvar(window.values.tolist()))


def _mad(window: Window) -> float | None:
    median = quantile(0.5, window.values)
    return quantile(0.5, np.abs(window.values - median))


def _seconds_at(window: Window, index: int) -> float:
    return int(window.times_ms[index]) / 1000


def _time_of_last(window: Window) -> float | None:
    return _seconds_at(window, -1)


def _time_of_first(window: Window) -> float | None:
    return _seconds_at(window, 0)


def _time_of_max(window: Window) -> float | None:
    return _time_of(window, float(np.fmax.reduce(window.values)))


def _time_of_min(window: Window) -> float | None:
    return _time_of(window, float(np.fmin.reduce(window.values)))


def _time_of(window: Window, value: float) -> float:
    """When *value* was seen last; NaN only if there is nothing else."""
    found = np.isnan(window.values) if math.isnan(value) else window.values == value
    return _seconds_at(window, int(np.flatnonzero(found)[-1]))


def quantile_over_time(window: Window, phi: float) -> float | None:
    """The *phi* quantile of the samples."""
    return quantile(phi, window.values)


def smoothed(window: Window, smoothing: float, trend: float) -> float | None:
    """Holt's double exponential smoothing: level and trend."""
    values: list[float] = window.values.tolist()
    if len(values) < 2:
        return None
    level, slope = values[0], values[1] - values[0]
    for value in values[1:]:
        before = level
        level = smoothing * value + (1 - smoothing) * (level + slope)
        slope = trend * (level - before) + (1 - trend) * slope
    return level


# name -> function; all of them drop the metric name
SIMPLE: Final[dict[str, WindowFunction]] = {
    "deriv": _deriv,
    "stdvar_over_time": _stdvar,
    "stddev_over_time": _stddev,
    "mad_over_time": _mad,
    "ts_of_last_over_time": _time_of_last,
    "ts_of_first_over_time": _time_of_first,
    "ts_of_max_over_time": _time_of_max,
    "ts_of_min_over_time": _time_of_min,
}
