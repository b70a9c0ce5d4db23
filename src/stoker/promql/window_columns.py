"""Functions of range vectors that NumPy evaluates for all windows at once.

``rate`` and its family need the edges of a window and what a counter lost at resets; the rest are
reductions of slices. Where plain summation would lose digits, the cell is summed again exactly, as
in :mod:`stoker.promql.aggregations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from stoker.metrics.series import Values
from stoker.promql.columns import Indices, Mask, Windows
from stoker.promql.statistics import exact_mean, exact_sum

Reduced = tuple[Values, Mask]
WindowsFunction = Callable[[Windows], Reduced]


def _edges(windows: Windows, least: int) -> tuple[Mask, Indices, Indices]:
    """Cells with at least so many samples, and where these begin and end (last one included)."""
    present = windows.highs - windows.lows >= least
    if present.all():
        return present, windows.lows.ravel(), windows.highs.ravel() - 1
    return present, windows.lows[present], windows.highs[present] - 1


def _filled(present: Mask, values: Values) -> Reduced:
    if values.size == present.size:
        return values.reshape(present.shape), present
    cells = np.zeros(present.shape)
    cells[present] = values
    return cells, present


# -- rate and its family -------------------------------------------------------------------------


def _extrapolated(*, is_counter: bool, is_rate: bool) -> WindowsFunction:
    """Rate, increase and delta: what the samples say, stretched to the borders of the window.

    Towards a border the slope goes on for as long as samples would be expected (1.1 mean
    distances), otherwise for half a distance; a counter is never stretched to below zero.
    """

    def evaluate(windows: Windows) -> Reduced:
        present, lows, lasts = _edges(windows, 2)
        times, values = windows.times_ms, windows.values
        first, first_ms, last_ms = values[lows], times[lows], times[lasts]
        change = values[lasts] - first
        if is_counter:
            _add_resets(windows, present, lows, lasts, change)
        ends = np.broadcast_to(windows.ends_ms, present.shape)[present]
        to_start = (first_ms - (ends - windows.range_ms)) / 1000
        to_end = (ends - last_ms) / 1000
        covered = (last_ms - first_ms) / 1000
        distance = covered / (lasts - lows)
        threshold = distance * 1.1
        to_start = np.where(to_start >= threshold, distance / 2, to_start)
        if is_counter:
            to_zero = covered * (first / change)
            bounded = (change > 0) & (first >= 0) & (to_zero < to_start)
            to_start = np.where(bounded, to_zero, to_start)
        to_end = np.where(to_end >= threshold, distance / 2, to_end)
        factor = (covered + to_start + to_end) / covered
        if is_rate:
            factor /= windows.range_ms / 1000
        return _filled(present, change * factor)

    return evaluate


def _add_resets(
    windows: Windows, present: Mask, lows: Indices, lasts: Indices, change: Values
) -> None:
    """Adds to *change* what a counter had before each fall."""
    if windows.steady is not None and windows.steady.all():
        return
    if windows.steady is None or present.shape[1] > 1:
        unsteady = _falls_between(windows, lows, lasts) > 0
    else:
        unsteady = ~windows.steady[present[:, 0]]
    for cell in np.flatnonzero(unsteady).tolist():
        values = windows.values[lows[cell] : lasts[cell] + 1]
        before = values[:-1]
        lost: list[float] = before[values[1:] < before].tolist()
        for one in lost:  # one after the other, as Prometheus adds them
            change[cell] += one


def _falls_between(windows: Windows, lows: Indices, lasts: Indices) -> Indices:
    falls = np.zeros(len(windows.values), np.intp)
    np.cumsum(windows.values[1:] < windows.values[:-1], out=falls[1:])
    return falls[lasts] - falls[lows]


def _last_two(*, is_rate: bool) -> WindowsFunction:
    def evaluate(windows: Windows) -> Reduced:
        present, _, lasts = _edges(windows, 2)
        before, last = windows.values[lasts - 1], windows.values[lasts]
        if not is_rate:
            return _filled(present, last - before)
        seconds = (windows.times_ms[lasts] - windows.times_ms[lasts - 1]) / 1000
        change = np.where(last < before, last, last - before)  # below: the counter was reset
        return _filled(present, change / seconds)

    return evaluate


# -- counting and picking ------------------------------------------------------------------------


def _count(windows: Windows) -> Reduced:
    counts = windows.highs - windows.lows
    return counts.astype(np.float64), counts > 0


def _present(windows: Windows) -> Reduced:
    there = windows.highs > windows.lows
    return np.ones(there.shape), there


def _last(windows: Windows) -> Reduced:
    present, _, lasts = _edges(windows, 1)
    return _filled(present, windows.values[lasts])


def _first(windows: Windows) -> Reduced:
    present, lows, _ = _edges(windows, 1)
    return _filled(present, windows.values[lows])


def _counted(differs: Callable[[Values, Values], Mask]) -> WindowsFunction:
    """How often a sample differs from the one before it."""

    def evaluate(windows: Windows) -> Reduced:
        present, lows, lasts = _edges(windows, 1)
        values, lows, lasts = _compact(windows.values, lows, lasts)
        seen = np.zeros(len(values), np.intp)
        np.cumsum(differs(values[:-1], values[1:]), out=seen[1:])
        return _filled(present, (seen[lasts] - seen[lows]).astype(np.float64))

    return evaluate


def _is_change(before: Values, after: Values) -> Mask:
    changed: Mask = (before != after) & ~(np.isnan(before) & np.isnan(after))
    return changed


def _is_reset(before: Values, after: Values) -> Mask:
    return after < before


def _compact(values: Values, lows: Indices, lasts: Indices) -> tuple[Values, Indices, Indices]:
    """Only that part of the flat column in which windows lie; without what lies between them."""
    if not len(lows):
        return np.zeros(1), lows, lasts
    begin, end = int(lows.min()), int(lasts.max()) + 1
    counts = lasts - lows + 1
    total = int(counts.sum())
    if 2 * total > end - begin:
        return values[begin:end], lows - begin, lasts - begin
    ends = np.cumsum(counts)
    indices = np.repeat(lows - (ends - counts), counts) + np.arange(total)
    return values[indices], ends - counts, ends - 1


# -- reductions of slices ------------------------------------------------------------------------


def _reduced(reduce: np.ufunc, values: Values, lows: Indices, lasts: Indices) -> Values:
    """*reduce* over ``values[low : last + 1]`` of each cell."""
    borders = np.empty(2 * len(lows), np.intp)
    borders[0::2], borders[1::2] = lows, lasts + 1
    padded = np.append(values, 0.0)  # a border may be the end of the column
    result: Values = reduce.reduceat(padded, borders)[0::2] if len(lows) else np.zeros(0)
    return result


def _extreme(reduce: np.ufunc) -> WindowsFunction:
    def evaluate(windows: Windows) -> Reduced:
        present, lows, lasts = _edges(windows, 1)
        values, lows, lasts = _compact(windows.values, lows, lasts)
        return _filled(present, _reduced(reduce, values, lows, lasts))

    return evaluate


def _summed(exact: Callable[[list[float]], float], *, is_mean: bool) -> WindowsFunction:
    def evaluate(windows: Windows) -> Reduced:
        present, lows, lasts = _edges(windows, 1)
        values, lows, lasts = _compact(windows.values, lows, lasts)
        sums = _reduced(np.add, values, lows, lasts)
        sizes = _reduced(np.add, np.abs(values), lows, lasts)
        doubtful = ~(np.abs(sums) >= sizes * 1e-3) | ~np.isfinite(sizes)
        if is_mean:
            sums = sums / (lasts - lows + 1)
        for cell in np.flatnonzero(doubtful).tolist():
            sums[cell] = exact(values[lows[cell] : lasts[cell] + 1].tolist())
        return _filled(present, sums)

    return evaluate


# name -> (function, whether the metric name stays)
COLUMNAR: Final[dict[str, tuple[WindowsFunction, bool]]] = {
    "rate": (_extrapolated(is_counter=True, is_rate=True), False),
    "increase": (_extrapolated(is_counter=True, is_rate=False), False),
    "delta": (_extrapolated(is_counter=False, is_rate=False), False),
    "irate": (_last_two(is_rate=True), False),
    "idelta": (_last_two(is_rate=False), False),
    "changes": (_counted(_is_change), False),
    "resets": (_counted(_is_reset), False),
    "sum_over_time": (_summed(exact_sum, is_mean=False), False),
    "avg_over_time": (_summed(exact_mean, is_mean=True), False),
    "count_over_time": (_count, False),
    "min_over_time": (_extreme(np.fmin), False),
    "max_over_time": (_extreme(np.fmax), False),
    "last_over_time": (_last, True),
    "first_over_time": (_first, True),
    "present_over_time": (_present, False),
}
# Prometheus says so of these two when the name does not look like that of a counter.
COUNTER_FUNCTIONS: Final = frozenset({"rate", "increase"})
