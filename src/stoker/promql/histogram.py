"""Classic histograms: quantiles and fractions from cumulative ``le`` buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stoker.metrics.sample import METRIC_NAME, Labels, parse_value, quote
from stoker.metrics.series import SeriesSet, Values
from stoker.promql.columns import Columns, Context, Mask, anywhere

BUCKET = "le"
# Smaller steps down between neighbours are rounding (rate() of equal counters), not a mistake.
_SMALL_DELTA = 1e-12
_FEW = 4  # quantiles that are computed faster one by one

Buckets = list[tuple[float, float]]  # (upper bound, cumulative count), bounds rising


@dataclass(frozen=True, slots=True)
class _Histogram:
    name: str
    bounds: tuple[float, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """The histograms of a vector; *alike* are those with the same bounds."""

    labels: SeriesSet
    histograms: tuple[_Histogram, ...]
    alike: dict[tuple[float, ...], list[int]]
    without_bound: tuple[int, ...]


def quantiles(context: Context, phis: Values, columns: Columns) -> Columns:
    """``histogram_quantile``: one row for each histogram."""
    for phi in phis.tolist():
        if not 0 <= phi <= 1:
            context.warn(f"quantile value should be between 0 and 1, got {phi:g}")
            break
    found = _histograms(context, columns)
    steps = columns.values.shape[1]
    values = np.full((len(found.histograms), steps), math.nan)
    present = np.zeros(values.shape, np.bool_)
    for bounds, members in found.alike.items():
        rows = np.array([found.histograms[m].rows for m in members])
        counts, there = columns.values[rows], columns.present[rows]  # (histogram, bucket, step)
        present[members] = there.any(axis=1)
        plain = np.zeros((len(members), steps), np.bool_)
        if plain.size > _FEW:
            plain = _plain(bounds, counts, there)
            values[members] = _plain_quantiles(phis, np.array(bounds), counts)
        for member, step in zip(*np.nonzero(present[members] & ~plain), strict=True):
            histogram = found.histograms[members[member]]
            buckets, forced = _buckets_at(histogram, columns, int(step))
            if forced:
                context.info(
                    "input to histogram_quantile needed to be fixed for monotonicity (see "
                    "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                    f"#histogram_quantile) for metric name {quote(histogram.name)}"
                )
            quantile = bucket_quantile(float(phis[step]), buckets)
            values[members[member], step] = quantile
    return Columns(found.labels, values, present)


def _plain(bounds: tuple[float, ...], counts: Values, there: Mask) -> Mask:
    """Which histograms, at which steps, have nothing that must be repaired or refused."""
    if len(bounds) < 2 or bounds[-1] != math.inf or len(set(bounds)) != len(bounds):
        return np.zeros((len(counts), counts.shape[2]), np.bool_)
    steps_up = np.diff(counts, axis=1)
    # Also small steps up are rounding when they are small enough.
    clear = (steps_up > 2.1 * _SMALL_DELTA * np.abs(counts[:, 1:])) | (steps_up == 0)
    plain: Mask = there.all(axis=1) & clear.all(axis=1)
    return plain & (counts[:, -1] > 0) & np.isfinite(counts).all(axis=1) & (counts[:, 0] >= 0)


def _plain_quantiles(phis: Values, bounds: Values, counts: Values) -> Values:
    """:func:`bucket_quantile` for many histograms with the same bounds, at all steps."""
    if len(bounds) < 2:
        return np.full((len(counts), counts.shape[2]), math.nan)
    ranks = phis * counts[:, -1]
    reached = counts[:, :-1] >= ranks[:, None]
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), len(bounds) - 1)
    here = np.take_along_axis(counts, at[:, None], axis=1)[:, 0]
    below = np.take_along_axis(counts, np.maximum(at - 1, 0)[:, None], axis=1)[:, 0]
    below = np.where(at == 0, 0.0, below)
    starts, ends = np.where(at == 0, 0.0, bounds[at - 1]), bounds[at]
    values = starts + (ends - starts) * ((ranks - below) / (here - below))
    values = np.where((at == 0) & (ends <= 0), ends, values)
    values = np.where(at == len(bounds) - 1, bounds[-2], values)
    values = np.where(phis < 0, -math.inf, np.where(phis > 1, math.inf, values))
    return np.where(np.isnan(phis), math.nan, values)


def fractions(context: Context, lower: Values, upper: Values, columns: Columns) -> Columns:
    """``histogram_fraction``: which part of the observations lies between two values."""
    found = _histograms(context, columns)
    values = np.full((len(found.histograms), columns.values.shape[1]), math.nan)
    present = np.zeros(values.shape, np.bool_)
    for i, histogram in enumerate(found.histograms):
        present[i] = anywhere(columns.present[list(histogram.rows)])
        for step in np.flatnonzero(present[i]).tolist():
            buckets, _ = _buckets_at(histogram, columns, step)
            values[i, step] = bucket_fraction(float(lower[step]), float(upper[step]), buckets)
    return Columns(found.labels, values, present)


def _histograms(context: Context, columns: Columns) -> _Found:
    """The histograms in a vector. Remembered with the selection."""
    found = columns.labels.derived.get("histograms")
    if not isinstance(found, _Found):
        found = columns.labels.derived["histograms"] = _grouped(columns.labels)
    for row in found.without_bound:
        if columns.present[row].any():
            labels = columns.labels.labels[row]
            context.warn(
                f'bucket label "{BUCKET}" is missing or has a malformed value of '
                f"{quote(labels.get(BUCKET))} for metric name {quote(labels.name)}"
            )
    return found


def _grouped(series: SeriesSet) -> _Found:
    found: dict[Labels, list[tuple[float, int]]] = {}
    names: dict[Labels, str] = {}
    without_bound = []
    for row, labels in enumerate(series.labels):
        bound = _bound(labels.get(BUCKET))
        if bound is None:
            without_bound.append(row)
            continue
        group = labels.drop((METRIC_NAME, BUCKET))
        found.setdefault(group, []).append((bound, row))
        names.setdefault(group, labels.name)
    histograms: list[_Histogram] = []
    alike: dict[tuple[float, ...], list[int]] = {}
    for group, buckets in found.items():
        buckets.sort()
        bounds, rows = zip(*buckets, strict=True)
        alike.setdefault(bounds, []).append(len(histograms))
        histograms.append(_Histogram(names[group], bounds, rows))
    return _Found(SeriesSet(tuple(found)), tuple(histograms), alike, tuple(without_bound))


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
