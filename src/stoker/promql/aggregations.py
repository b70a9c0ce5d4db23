"""Aggregations: many series become few.

Rows are put in the order of their groups once, so that NumPy reduces slices. Where plain summation
would lose digits (cancellation, overflow), the cell is summed again exactly: Prometheus compensates
its sums, and its users see 2 for 1 + 1e100 + 1 - 1e100.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker.errors import QueryError
from stoker.metrics.sample import METRIC_NAME, Labels, quote
from stoker.metrics.series import SeriesSet, Values
from stoker.promql.ast import Aggregate
from stoker.promql.columns import Columns, Context, Mask, empty, merged
from stoker.promql.literals import is_utf8
from stoker.promql.sampling import is_chosen
from stoker.promql.statistics import (
    OUT_OF_RANGE,
    exact_mean,
    exact_sum,
    quantile,
    shortest,
    shortest_decimal,
)


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows belong together: ``order[starts[g]:starts[g + 1]]`` is group *g*."""

    labels: SeriesSet
    of_row: NDArray[np.intp]
    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    def rows(self) -> Iterator[NDArray[np.intp]]:
        """The rows of each group."""
        yield from np.split(self.order, self.starts[1:])


def aggregate(context: Context, node: Aggregate) -> Columns:
    """The aggregation *node* at all steps."""
    columns = context.vector(node.expr)
    if node.op == "count_values":
        if node.param is None:
            raise QueryError("`count_values` needs the name of a label")
        label = context.text(node.param)
        return _count_values(context, columns, node, label)
    parameter = None if node.param is None else context.scalar(node.param)
    if node.op == "quantile" and parameter is not None:
        _check_quantile(context, parameter)
    if not len(columns.labels):
        return empty(len(context.steps_ms))
    groups = group_rows(columns.labels, node)
    if node.op in _REDUCTIONS:
        values, present = _REDUCTIONS[node.op](columns, groups)
        return Columns(groups.labels, values, present)
    if parameter is None:
        raise QueryError(f"aggregation `{node.op}` is not supported")
    match node.op:
        case "quantile":
            return _quantiles(context, columns, groups, parameter)
        case "topk" | "bottomk" | "limitk":
            return _chosen(context, columns, groups, node.op, _counts(parameter))
        case "limit_ratio":
            return _part(context, columns, parameter)
        case _:
            raise QueryError(f"aggregation `{node.op}` is not supported")


def group_rows(labels: SeriesSet, node: Aggregate) -> Groups:
    """The groups of ``by`` or ``without``. Remembered with the selection."""
    key = ("groups", node.without, node.labels)
    known = labels.derived.get(key)
    if isinstance(known, Groups):
        return known
    found: dict[Labels, int] = {}
    dropped = (*node.labels, METRIC_NAME)
    of_row = np.empty(len(labels), np.intp)
    for i, one in enumerate(labels.labels):
        group = one.drop(dropped) if node.without else one.keep(node.labels)
        of_row[i] = found.setdefault(group, len(found))
    order = np.argsort(of_row, kind="stable")
    starts = np.searchsorted(of_row[order], np.arange(len(found)))
    unnamed = None
    if labels.unnamed is not None:
        unnamed = tuple(labels.unnamed[row] for row in order[starts].tolist())
    made = Groups(SeriesSet(tuple(found), unnamed), of_row, order, starts)
    labels.derived[key] = made
    return made


# -- reductions: (series, steps) -> (groups, steps) ----------------------------------------------

Reduced = tuple[Values, Mask]


def _count(columns: Columns, groups: Groups) -> Reduced:
    counts = np.add.reduceat(columns.present[groups.order].astype(np.int64), groups.starts, axis=0)
    return counts.astype(np.float64), counts > 0


def _group(columns: Columns, groups: Groups) -> Reduced:
    _, present = _count(columns, groups)
    return np.ones(present.shape), present


def _plain_sum(values: Values, present: Mask, groups: Groups) -> tuple[Values, Mask]:
    """Sums, and where they cannot be trusted: cancellation, overflow, NaN."""
    filled = np.where(present, values, 0.0)[groups.order]
    sums = np.add.reduceat(filled, groups.starts, axis=0)
    sizes = np.add.reduceat(np.abs(filled), groups.starts, axis=0)
    return sums, ~(np.abs(sums) >= sizes * 1e-3) | ~np.isfinite(sizes)


def _sum(columns: Columns, groups: Groups) -> Reduced:
    sums, doubtful = _plain_sum(columns.values, columns.present, groups)
    _redo(sums, doubtful, columns, groups, exact_sum)
    return sums, _count(columns, groups)[1]


def _avg(columns: Columns, groups: Groups) -> Reduced:
    sums, doubtful = _plain_sum(columns.values, columns.present, groups)
    counts, present = _count(columns, groups)
    means = sums / counts
    _redo(means, doubtful & present, columns, groups, exact_mean)
    return means, present


def _redo(
    results: Values,
    doubtful: Mask,
    columns: Columns,
    groups: Groups,
    exact: Callable[[list[float]], float],
) -> None:
    """Computes the doubtful cells again, one by one and exactly."""
    if not doubtful.any():
        return
    rows = list(groups.rows())
    for g, t in zip(*np.nonzero(doubtful), strict=True):
        members = rows[g]
        there = columns.values[members, t][columns.present[members, t]]
        if len(there):
            results[g, t] = exact(there.tolist())


def _extreme(reduce: np.ufunc) -> Callable[[Columns, Groups], Reduced]:
    def extreme(columns: Columns, groups: Groups) -> Reduced:
        # fmin and fmax prefer any number to NaN, as Prometheus does.
        filled = np.where(columns.present, columns.values, np.nan)[groups.order]
        values: Values = reduce.reduceat(filled, groups.starts, axis=0)
        return values, _count(columns, groups)[1]

    return extreme


def _stdvar(columns: Columns, groups: Groups) -> Reduced:
    means, present = _avg(columns, groups)
    squares = (columns.values - means[groups.of_row]) ** 2
    filled = np.where(columns.present, squares, 0.0)[groups.order]
    counts, _ = _count(columns, groups)
    return np.add.reduceat(filled, groups.starts, axis=0) / counts, present


def _stddev(columns: Columns, groups: Groups) -> Reduced:
    variances, present = _stdvar(columns, groups)
    return np.sqrt(variances), present


_REDUCTIONS: Final[dict[str, Callable[[Columns, Groups], Reduced]]] = {
    "sum": _sum,
    "avg": _avg,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "count": _count,
    "group": _group,
    "stdvar": _stdvar,
    "stddev": _stddev,
}


# -- those with a parameter ----------------------------------------------------------------------


def _check_quantile(context: Context, parameter: Values) -> None:
    for phi in parameter.tolist():
        if not 0 <= phi <= 1:
            context.warn(OUT_OF_RANGE.format(shortest(phi)))
            return


def _quantiles(context: Context, columns: Columns, groups: Groups, parameter: Values) -> Columns:
    _, present = _count(columns, groups)
    values = np.zeros(present.shape)
    for g, members in enumerate(groups.rows()):
        context.spend(0)  # asks for the time
        for t in np.flatnonzero(present[g]):
            there = columns.values[members, t][columns.present[members, t]]
            values[g, t] = quantile(float(parameter[t]), there)
    return Columns(groups.labels, values, present)


def _counts(parameter: Values) -> list[int]:
    """The k of topk at each step, at least 0."""
    counts = []
    for k in parameter.tolist():
        if math.isnan(k):
            raise QueryError("Parameter value is NaN")
        if abs(k) >= 2.0**63:
            way = "overflows" if k > 0 else "underflows"
            raise QueryError(f"Scalar value {shortest(k)} {way} int64")
        counts.append(max(int(k), 0))
    return counts


def _chosen(
    context: Context, columns: Columns, groups: Groups, op: str, counts: list[int]
) -> Columns:
    """topk, bottomk, limitk: some of the series, labels untouched; an instant vector is sorted."""
    present = np.zeros_like(columns.present)
    ordered: list[int] = []
    for members in groups.rows():
        context.spend(0)
        for t, k in enumerate(counts):
            there = members[columns.present[members, t]]
            if op != "limitk":
                sign = -1.0 if op == "topk" else 1.0
                there = there[np.argsort(sign * columns.values[there, t], kind="stable")]
            present[there[:k], t] = True
            if len(counts) == 1:
                ordered.extend(there[:k].tolist())
    chosen = Columns(columns.labels, columns.values, present)
    return chosen.rows(ordered) if len(counts) == 1 else chosen


def _part(context: Context, columns: Columns, ratios: Values) -> Columns:
    """limit_ratio: a part of the series, the same at every look."""
    present = columns.present.copy()
    for step, asked in enumerate(ratios.tolist()):
        if math.isnan(asked):
            raise QueryError("Ratio value is NaN")
        ratio = min(max(asked, -1.0), 1.0)
        if ratio != asked:
            context.warn(
                f"ratio value should be between -1 and 1, got {shortest(asked)}, "
                f"capping to {shortest(ratio)}"
            )
        for row in np.flatnonzero(present[:, step]):
            present[row, step] = is_chosen(columns.labels.labels[row], ratio)
    return Columns(columns.labels, columns.values, present)


def _count_values(context: Context, columns: Columns, node: Aggregate, label: str) -> Columns:
    if not label or not is_utf8(label):
        raise QueryError(f"invalid label name {quote(label)}")
    steps = columns.values.shape[1]
    if not len(columns.labels):
        return empty(steps)
    groups = group_rows(columns.labels, node)
    found: dict[Labels, Values] = {}
    for i, t in zip(*np.nonzero(columns.present), strict=True):
        if t == 0:
            context.spend(0)
        group = groups.labels.labels[groups.of_row[i]]
        labels = group.with_label(label, shortest_decimal(float(columns.values[i, t])))
        found.setdefault(labels, np.zeros(steps))[t] += 1
    if not found:
        return empty(steps)
    values = np.array(list(found.values()))
    return merged(Columns(SeriesSet(tuple(found)), values, values > 0))
