"""Classic histograms: quantiles and fractions from cumulative ``le`` buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stoker.errors import QueryError
from stoker.metrics.sample import Labels, parse_value, quote
from stoker.metrics.series import SeriesSet, Values
from stoker.promql.columns import SAME_LABELSET, Columns, Context, Mask, anywhere, empty
from stoker.promql.statistics import OUT_OF_RANGE, shortest

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
    _check(context, phis)
    found = _histograms(context, columns)
    values, present = _quantiles_of(context, phis, columns, found)
    return Columns(found.labels, values, present).without_name()


def several_quantiles(
    context: Context, phis: list[Values], label: str, columns: Columns
) -> Columns:
    """``histogram_quantiles``: a row for each histogram and quantile, told apart by *label*."""
    for one in phis:
        _check(context, one)
    found = _histograms(context, columns)
    rows: dict[Labels, tuple[Values, Mask]] = {}
    unnamed: list[bool] = []
    steps = columns.values.shape[1]
    flags = found.labels.flags()
    for one in phis:
        values, present = _quantiles_of(context, one, columns, found)
        for phi in dict.fromkeys(map(openmetrics_number, one.tolist())):
            here = np.array([openmetrics_number(each) == phi for each in one.tolist()])
            for row, labels in enumerate(found.labels.labels):
                name = labels.with_label(label, phi)
                if name not in rows:
                    rows[name] = (np.full(steps, math.nan), np.zeros(steps, np.bool_))
                    unnamed.append(flags[row])
                kept, there = rows[name]
                taken = present[row] & here
                if (taken & there).any():
                    raise QueryError(SAME_LABELSET)
                kept[taken], there[taken] = values[row][taken], True
    if not rows:
        return empty(steps)
    delayed = None if found.labels.unnamed is None else tuple(unnamed)
    cells, masks = zip(*rows.values(), strict=True)
    labels_ = SeriesSet(tuple(rows), delayed)
    return Columns(labels_, np.array(cells), np.array(masks)).without_name()


def _check(context: Context, phis: Values) -> None:
    for phi in phis.tolist():
        if not 0 <= phi <= 1:
            context.warn(OUT_OF_RANGE.format(shortest(phi)))


def _quantiles_of(
    context: Context, phis: Values, columns: Columns, found: _Found
) -> tuple[Values, Mask]:
    steps = columns.values.shape[1]
    values = np.full((len(found.histograms), steps), math.nan)
    present = np.zeros(values.shape, np.bool_)
    delayed = columns.labels.unnamed is not None
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
            buckets, forced = _monotonic(_buckets_at(histogram, columns, int(step)))
            if forced and 0 <= phis[step] <= 1:
                context.info(
                    "input to histogram_quantile needed to be fixed for monotonicity (see "
                    "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                    "#histogram_quantile)" + (_of(histogram.name) if delayed else "")
                )
            quantile = bucket_quantile(float(phis[step]), buckets)
            values[members[member], step] = quantile
    return values, present


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
            buckets = _buckets_at(histogram, columns, step)
            values[i, step] = bucket_fraction(float(lower[step]), float(upper[step]), buckets)
    return Columns(found.labels, values, present).without_name()


def _of(name: str) -> str:
    return f" for metric name {quote(name)}" if name else ""


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
                f"{quote(labels.get(BUCKET))}{_of(labels.name)}"
            )
    return found


def _grouped(series: SeriesSet) -> _Found:
    found: dict[Labels, list[tuple[float, int]]] = {}
    flags: dict[Labels, bool] = {}
    without_bound = []
    for row, labels in enumerate(series.labels):
        bound = _bound(labels.get(BUCKET))
        if bound is None:
            without_bound.append(row)
            continue
        group = labels.drop((BUCKET,))
        found.setdefault(group, []).append((bound, row))
        flags.setdefault(group, False if series.unnamed is None else series.unnamed[row])
    histograms: list[_Histogram] = []
    alike: dict[tuple[float, ...], list[int]] = {}
    for group, buckets in found.items():
        buckets.sort()
        bounds, rows = zip(*buckets, strict=True)
        alike.setdefault(bounds, []).append(len(histograms))
        histograms.append(_Histogram(group.name, bounds, rows))
    unnamed = None if series.unnamed is None else tuple(flags.values())
    labels_ = SeriesSet(tuple(found), unnamed)
    return _Found(labels_, tuple(histograms), alike, tuple(without_bound))


def _bound(text: str) -> float | None:
    try:
        return parse_value(text)
    except ValueError:
        return None


def openmetrics_number(value: float) -> str:
    """A bound or a quantile as a label: ``1.0``, ``0.99``, ``+Inf``."""
    text = shortest(value)
    return text if any(character in text for character in ".enN") else f"{text}.0"


def _buckets_at(histogram: _Histogram, columns: Columns, t: int) -> Buckets:
    """Buckets at one step, equal bounds added up."""
    merged: Buckets = []
    for bound, row in zip(histogram.bounds, histogram.rows, strict=True):
        if not columns.present[row, t]:
            continue
        count = float(columns.values[row, t])
        if merged and merged[-1][0] == bound:
            count += merged.pop()[1]
        merged.append((bound, count))
    return merged


def _monotonic(buckets: Buckets) -> tuple[Buckets, bool]:
    """Counts made to rise. Tells if force was used."""
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
    """The part of the observations between *lower* and *upper*, interpolated like a quantile.

    Counts that fall are taken as they are, unlike in a quantile.
    """
    if not buckets or buckets[-1][0] != math.inf or math.isnan(lower) or math.isnan(upper):
        return math.nan
    count = buckets[-1][1]
    if count == 0 or math.isnan(count):
        return math.nan
    if lower >= upper:
        return 0.0
    ranks = [min(_rank_of(value, buckets), count) for value in (upper, lower)]
    return (ranks[0] - ranks[1]) / count


def _rank_of(value: float, buckets: Buckets) -> float:
    """How many observations are below *value*. In an endless bucket nothing is interpolated."""
    below = 0.0
    start = 0.0 if buckets[0][0] > 0 else -math.inf
    for end, count in buckets:
        if start >= value:
            return below
        if end > value:
            if start == -math.inf:
                return count
            return below + (count - below) * (value - start) / (end - start)
        below, start = count, end
    return buckets[-1][1]
