"""Classic histograms: quantiles and fractions from cumulative ``le`` buckets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stoker.metrics.sample import METRIC_NAME, Labels, parse_value, quote
from stoker.metrics.series import SeriesSet, Values
from stoker.promql.columns import Columns, Context, Mask, anywhere

BUCKET = "le"
# Smaller steps down between neighbours are rounding (rate() of equal counters), not a mistake.
_SMALL_DELTA = 1e-12

Buckets = list[tuple[float, float]]  # (upper bound, cumulative count), bounds rising


@dataclass(frozen=True, slots=True)
class _Histogram:
    labels: Labels
    name: str
    bounds: tuple[float, ...]
    rows: tuple[int, ...]


def quantiles(context: Context, phis: Values, columns: Columns) -> Columns:
    """``histogram_quantile``: one row for each histogram."""
    for phi in phis.tolist():
        if not 0 <= phi <= 1:
            context.warn(f"quantile value should be between 0 and 1, got {phi:g}")
            break
    rows: list[Labels] = []
    values: list[Values] = []
    present: list[Mask] = []
    for histogram in _histograms(context, columns):
        there = anywhere(columns.present[list(histogram.rows)])
        row = np.full(len(there), math.nan)
        for t in np.flatnonzero(there):
            buckets, forced = _buckets_at(histogram, columns, int(t))
            if forced:
                context.info(
                    "input to histogram_quantile needed to be fixed for monotonicity (see "
                    "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                    f"#histogram_quantile) for metric name {quote(histogram.name)}"
                )
            row[t] = bucket_quantile(float(phis[t]), buckets)
        rows.append(histogram.labels)
        values.append(row)
        present.append(there)
    return _columns(rows, values, present, columns)


def fractions(context: Context, lower: Values, upper: Values, columns: Columns) -> Columns:
    """``histogram_fraction``: which part of the observations lies between two values."""
    rows: list[Labels] = []
    values: list[Values] = []
    present: list[Mask] = []
    for histogram in _histograms(context, columns):
        there = anywhere(columns.present[list(histogram.rows)])
        row = np.full(len(there), math.nan)
        for t in np.flatnonzero(there):
            buckets, _ = _buckets_at(histogram, columns, int(t))
            row[t] = bucket_fraction(float(lower[t]), float(upper[t]), buckets)
        rows.append(histogram.labels)
        values.append(row)
        present.append(there)
    return _columns(rows, values, present, columns)


def _columns(
    rows: list[Labels], values: list[Values], present: list[Mask], source: Columns
) -> Columns:
    steps = source.values.shape[1]
    return Columns(
        SeriesSet(tuple(rows)),
        np.array(values).reshape(len(rows), steps),
        np.array(present, np.bool_).reshape(len(rows), steps),
    )


def _histograms(context: Context, columns: Columns) -> Iterator[_Histogram]:
    found: dict[Labels, list[tuple[float, int]]] = {}
    names: dict[Labels, str] = {}
    for row, labels in enumerate(columns.labels.labels):
        bound = _bound(labels.get(BUCKET))
        if bound is None:
            context.warn(
                f'bucket label "{BUCKET}" is missing or has a malformed value of '
                f"{quote(labels.get(BUCKET))} for metric name {quote(labels.name)}"
            )
            continue
        group = labels.drop((METRIC_NAME, BUCKET))
        found.setdefault(group, []).append((bound, row))
        names.setdefault(group, labels.name)
    for group, buckets in found.items():
        buckets.sort()
        bounds, rows = zip(*buckets, strict=True)
        yield _Histogram(group, names[group], bounds, rows)


def _bound(text: str) -> float | None:
    try:
        return parse_value(text)
    except ValueError:
        return None


def _buckets_at(histogram: _Histogram, columns: Columns, t: int) -> tuple[Buckets, bool]:
    """Buckets at one step: equal bounds added up, counts made to rise. Tells if force was used."""
    merged: Buckets = []
    for bound, row in zip(histogram.bounds, histogram.rows, strict=True):
        if not columns.present[row, t]:
            continue
        count = float(columns.values[row, t])
        if merged and merged[-1][0] == bound:
            count += merged.pop()[1]
        merged.append((bound, count))
    return _monotonic(merged)


def _monotonic(buckets: Buckets) -> tuple[Buckets, bool]:
    rising: Buckets = []
    forced = False
    previous = -math.inf
    for bound, count in buckets:
        fixed = count
        if rising and count != previous:
            if _almost_equal(previous, count):
                fixed = previous
            elif count < previous:
                fixed, forced = previous, True
        rising.append((bound, fixed))
        previous = fixed
    return rising, forced


def _almost_equal(a: float, b: float) -> bool:
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    size = abs(a) + abs(b)
    return abs(a - b) < _SMALL_DELTA * size if size > np.finfo(np.float64).tiny else a == b


def bucket_quantile(phi: float, buckets: Buckets) -> float:  # noqa: PLR0911 - many ends
    """Linear interpolation inside the bucket in which the *phi* quantile lies.

    The lowest bucket begins at 0 if its bound is positive; a quantile in the ``+Inf`` bucket is the
    highest finite bound. NaN without a ``+Inf`` bucket, with fewer than two buckets, or without
    observations.
    """
    if math.isnan(phi):
        return math.nan
    if phi < 0:
        return -math.inf
    if phi > 1:
        return math.inf
    if len(buckets) < 2 or buckets[-1][0] != math.inf:
        return math.nan
    observations = buckets[-1][1]
    if observations == 0 or math.isnan(observations):
        return math.nan
    rank = phi * observations
    last = len(buckets) - 1
    at = next((i for i in range(last) if buckets[i][1] >= rank), last)
    if at == last:
        return buckets[-2][0]
    end, count = buckets[at]
    if at == 0:
        return end if end <= 0 else end * (rank / count if count else math.nan)
    start, before = buckets[at - 1]
    return start + (end - start) * ((rank - before) / (count - before))


def bucket_fraction(lower: float, upper: float, buckets: Buckets) -> float:
    """The part of the observations between *lower* and *upper*, interpolated like a quantile."""
    if len(buckets) < 2 or buckets[-1][0] != math.inf or math.isnan(lower) or math.isnan(upper):
        return math.nan
    count = buckets[-1][1]
    if count == 0 or math.isnan(count):
        return math.nan
    if lower >= upper:
        return 0.0
    return (_rank_of(upper, buckets) - _rank_of(lower, buckets)) / count


def _rank_of(value: float, buckets: Buckets) -> float:
    """How many observations are below *value*."""
    below = 0.0
    start = 0.0 if buckets[0][0] > 0 else -math.inf
    for end, count in buckets:
        if start >= value:
            return below
        if end > value:
            if math.isinf(start) or math.isinf(end):
                return below  # nothing can be interpolated in an endless bucket
            return below + (count - below) * (value - start) / (end - start)
        below, start = count, end
    return buckets[-1][1]
