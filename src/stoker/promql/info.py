"""``info``: labels of what a series comes from, taken from info metrics such as ``target_info``.

Experimental in Prometheus, and so here: series and info series belong together when their ``job``
and ``instance`` are equal.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from stoker.errors import QueryError
from stoker.metrics.sample import METRIC_NAME, Labels, Matcher
from stoker.metrics.series import SeriesSet, Values
from stoker.promql.ast import TARGET_INFO, Node, Selector, info_selector
from stoker.promql.columns import SAME_LABELSET, Columns, Context, Mask

_IDENTIFYING: Final = ("instance", "job")

Known = dict[Labels, dict[str, tuple[Labels, float]]]  # what identifies -> name -> (labels, time)


def with_info(context: Context, args: tuple[Node, ...]) -> Columns:
    """``info(v, {label selector})``: the series of *v* with more labels."""
    base = context.vector(args[0])
    wanted = args[1].matchers if len(args) > 1 and isinstance(args[1], Selector) else (TARGET_INFO,)
    # Series of this name are info themselves. (Without a name nothing is, as in Prometheus.)
    of_info = tuple(one for one in wanted if one.name == METRIC_NAME)
    data = tuple(one for one in wanted if one.name != METRIC_NAME)
    plain = [
        bool(of_info) and all(one.matches(labels.name) for one in of_info)
        for labels in base.labels.labels
    ]
    found = context.sample_times(info_selector(args))
    found = found.rows(_concerned(found.labels, base.labels, plain))
    rows: dict[Labels, tuple[Values, Mask, bool]] = {}
    flags = base.labels.flags()
    for step in range(base.values.shape[1]):
        known = _known(found, step)
        for row in np.flatnonzero(base.present[:, step]).tolist():
            before = base.labels.labels[row]
            after = before if plain[row] else _enriched(before, known, data)
            if after is None:
                continue
            if after not in rows:
                steps = base.values.shape[1]
                rows[after] = (np.zeros(steps), np.zeros(steps, np.bool_), flags[row])
            values, present, _ = rows[after]
            if present[step]:
                raise QueryError(SAME_LABELSET)
            values[step], present[step] = base.values[row, step], True
    if not rows:
        return base.rows([])
    unnamed = None if base.labels.unnamed is None else tuple(one[2] for one in rows.values())
    values = np.array([one[0] for one in rows.values()])
    present = np.array([one[1] for one in rows.values()])
    return Columns(SeriesSet(tuple(rows), unnamed), values, present)


def _concerned(found: SeriesSet, base: SeriesSet, plain: list[bool]) -> list[int]:
    """The info series that can belong to some of the series."""
    values = {
        name: {
            labels.get(name) for labels, alone in zip(base.labels, plain, strict=True) if not alone
        }
        - {""}
        for name in _IDENTIFYING
    }
    if not any(values.values()):
        return []
    return [
        row
        for row, labels in enumerate(found.labels)
        if all(labels.get(name) in there for name, there in values.items() if there)
    ]


def _known(found: Columns, step: int) -> Known:
    """The newest info series of each name at one step. Raises QueryError if two are equally new."""
    known: Known = {}
    for row in np.flatnonzero(found.present[:, step]).tolist():
        labels, seconds = found.labels.labels[row], float(found.values[row, step])
        of_name = known.setdefault(labels.keep(_IDENTIFYING), {})
        before = of_name.get(labels.name)
        if before is not None and before[1] == seconds:
            stamp = round(seconds * 1000)
            raise QueryError(
                f"found duplicate series for info metric: existing {before[0]} @ {stamp}, "
                f"new {labels} @ {stamp}"
            )
        if before is None or before[1] < seconds:
            of_name[labels.name] = (labels, seconds)
    return known


def _enriched(before: Labels, known: Known, data: tuple[Matcher, ...]) -> Labels | None:
    """The series with the labels of its info series; None if it lacks one that is asked for."""
    infos = known.get(before.keep(_IDENTIFYING), {})
    if not infos:
        return before if all(one.matches("") for one in data) else None
    wanted = {one.name for one in data}
    added: dict[str, str] = {}
    for _, (labels, _) in sorted(infos.items()):
        for name, value in labels.without_name():
            if wanted and name not in wanted:
                continue
            if added.get(name, value) != value:
                raise QueryError(f"conflicting label: {name}")
            if name not in before:
                added[name] = value
    return Labels({**added, **before.as_dict()})
