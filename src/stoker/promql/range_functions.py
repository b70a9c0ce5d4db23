"""Functions of range vectors: from the samples of one window to one number, or to none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from stoker.metrics.series import Times, Values
from stoker.promql.statistics import exact_mean, exact_sum, linear_regression, quantile, stdvar


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


def _extrapolated(window: Window, *, is_counter: bool, is_rate: bool) -> float | None:
    """Rate, increase and delta: what the samples say, stretched to the borders of the window.

    Towards a border the slope goes on for as long as samples would be expected (1.1 mean
    distances), otherwise for half a distance; a counter is never stretched to below zero.
    """
    times, values = window.times_ms, window.values
    count = len(times)
    if count < 2:
        return None
    first, last = float(values[0]), float(values[-1])
    first_ms, last_ms = int(times[0]), int(times[-1])
    change = last - first
    if is_counter:
        before, after = values[:-1], values[1:]
        resets = after < before
        if resets.any():
            change += exact_sum(before[resets].tolist())
    to_start = (first_ms - (window.end_ms - window.range_ms)) / 1000
    to_end = (window.end_ms - last_ms) / 1000
    covered = (last_ms - first_ms) / 1000
    distance = covered / (count - 1)
    threshold = distance * 1.1
    if to_start >= threshold:
        to_start = distance / 2
    if is_counter and change > 0 and first >= 0:
        to_start = min(to_start, covered * (first / change))
    if to_end >= threshold:
        to_end = distance / 2
    factor = (covered + to_start + to_end) / covered
    if is_rate:
        factor /= window.range_ms / 1000
    return change * factor


def _rate(window: Window) -> float | None:
    return _extrapolated(window, is_counter=True, is_rate=True)


def _increase(window: Window) -> float | None:
    return _extrapolated(window, is_counter=True, is_rate=False)


def _delta(window: Window) -> float | None:
    return _extrapolated(window, is_counter=False, is_rate=False)


def _last_two(window: Window) -> tuple[float, float, float] | None:
    if len(window.values) < 2:
        return None
    seconds = int(window.times_ms[-1] - window.times_ms[-2]) / 1000
    return float(window.values[-2]), float(window.values[-1]), seconds


def _irate(window: Window) -> float | None:
    two = _last_two(window)
    if two is None:
        return None
    before, last, seconds = two
    return (last if last < before else last - before) / seconds  # below: the counter was reset


def _idelta(window: Window) -> float | None:
    two = _last_two(window)
    return None if two is None else two[1] - two[0]


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


def _changes(window: Window) -> float | None:
    before, after = window.values[:-1], window.values[1:]
    both_nan = np.isnan(before) & np.isnan(after)
    return float(np.count_nonzero((before != after) & ~both_nan))


def _resets(window: Window) -> float | None:
    return float(np.count_nonzero(window.values[1:] < window.values[:-1]))


def _sum(window: Window) -> float | None:
    return exact_sum(window.values.tolist())


def _avg(window: Window) -> float | None:
    return exact_mean(window.values.tolist())


def _count(window: Window) -> float | None:
    return float(len(window.values))


def _min(window: Window) -> float | None:
    return float(np.fmin.reduce(window.values))


def _max(window: Window) -> float | None:
    return float(np.fmax.reduce(window.values))


def _last(window: Window) -> float | None:
    return float(window.values[-1])


def _first(window: Window) -> float | None:
    return float(window.values[0])


def _present(_: Window) -> float | None:
    return 1.0


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


# name -> (function, whether the metric name stays)
SIMPLE: Final[dict[str, tuple[WindowFunction, bool]]] = {
    "rate": (_rate, False),
    "increase": (_increase, False),
    "delta": (_delta, False),
    "irate": (_irate, False),
    "idelta": (_idelta, False),
    "deriv": (_deriv, False),
    "changes": (_changes, False),
    "resets": (_resets, False),
    "sum_over_time": (_sum, False),
    "avg_over_time": (_avg, False),
    "count_over_time": (_count, False),
    "min_over_time": (_min, False),
    "max_over_time": (_max, False),
    "last_over_time": (_last, True),
    "first_over_time": (_first, True),
    "present_over_time": (_present, False),
    "stdvar_over_time": (_stdvar, False),
    "stddev_over_time": (_stddev, False),
    "mad_over_time": (_mad, False),
    "ts_of_last_over_time": (_time_of_last, False),
    "ts_of_first_over_time": (_time_of_first, False),
    "ts_of_max_over_time": (_time_of_max, False),
    "ts_of_min_over_time": (_time_of_min, False),
}
COUNTER_FUNCTIONS: Final = frozenset({"rate", "increase", "irate"})
