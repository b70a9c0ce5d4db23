"""Operators: arithmetic, comparison, sets, and how two vectors are matched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker.errors import QueryError
from stoker.metrics.sample import METADATA_LABELS, METRIC_NAME, Labels
from stoker.metrics.series import SeriesSet, Values
from stoker.promql.ast import SETS, Binary, Matching
from stoker.promql.columns import Columns, Mask, anywhere, merged

ARITHMETIC: Final[dict[str, Callable[[Values, Values], Values]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISON: Final[dict[str, Callable[[Values, Values], Mask]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
_MANY_TO_MANY: Final = (
    "found duplicate series for the match group {group} on the {side} hand-side of the operation: "
    "[{first}, {second}];many-to-many matching not allowed: "
    "matching labels must be unique on one side"
)
_EXPLICIT: Final = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
)
_UNIQUE: Final = "multiple matches for labels: grouping labels must ensure unique matches"


def scalar_binary(node: Binary, lhs: Values, rhs: Values) -> Values:
    """An operator between two numbers a step."""
    if node.op in ARITHMETIC:
        return ARITHMETIC[node.op](lhs, rhs)
    return COMPARISON[node.op](lhs, rhs).astype(np.float64)


def vector_binary(node: Binary, lhs: Columns | Values, rhs: Columns | Values) -> Columns:
    """An operator with a vector on at least one side."""
    if isinstance(lhs, Columns) and isinstance(rhs, Columns):
        if node.op in SETS:
            return _set_operation(node, lhs, rhs)
        return _matched(node, lhs, rhs)
    vector = lhs if isinstance(lhs, Columns) else rhs
    assert isinstance(vector, Columns)  # noqa: S101 - for the type checker
    left = lhs.values if isinstance(lhs, Columns) else lhs
    right = rhs.values if isinstance(rhs, Columns) else rhs
    if node.op in ARITHMETIC:
        return vector.with_values(ARITHMETIC[node.op](left, right)).without_name()
    holds = COMPARISON[node.op](left, right)
    if node.bool_:
        return vector.with_values(holds.astype(np.float64)).without_name()
    return Columns(vector.labels, vector.values, vector.present & holds)


def _signatures(labels: SeriesSet, matching: Matching) -> tuple[Labels, ...]:
    """What must be equal for two series to match. Remembered with the selection."""
    key = ("signature", matching.on, matching.labels)
    known = labels.derived.get(key)
    if isinstance(known, tuple):
        return known
    if matching.on:
        made = tuple(one.keep(matching.labels) for one in labels.labels)
    else:
        dropped = (*matching.labels, METRIC_NAME)
        made = tuple(one.drop(dropped) for one in labels.labels)
    labels.derived[key] = made
    return made


def _by_signature(columns: Columns, matching: Matching) -> dict[Labels, list[int]]:
    groups: dict[Labels, list[int]] = defaultdict(list)
    for i, signature in enumerate(_signatures(columns.labels, matching)):
        groups[signature].append(i)
    return groups


def _matched(node: Binary, lhs: Columns, rhs: Columns) -> Columns:
    """Arithmetic and comparison between two vectors. ``one`` is the side that must be unique."""
    swapped = node.matching.card == "one-to-many"
    many, one = (rhs, lhs) if swapped else (lhs, rhs)
    of_many, of_one = node.matching.fill_left, node.matching.fill_right
    if swapped:
        of_many, of_one = of_one, of_many
    filled = of_many is not None or of_one is not None
    if not filled and (not len(many.labels) or not len(one.labels)):
        return many.rows([])
    groups = _by_signature(one, node.matching)
    asked = np.ones(many.present.shape[1], np.bool_) if filled else anywhere(many.present)
    _require_unique(groups, one, "left" if swapped else "right", asked)
    if filled:
        many, one = _filled(node.matching, many, one, of_many, of_one)
        groups = _by_signature(one, node.matching)
    signatures = _signatures(many.labels, node.matching)
    pairs = [(i, j) for i, group in enumerate(signatures) for j in groups.get(group, ())]
    at_many = np.array([i for i, _ in pairs], np.intp)
    at_one = np.array([j for _, j in pairs], np.intp)
    left, right = (one.values[at_one], many.values[at_many])
    if not swapped:
        left, right = right, left
    present = many.present[at_many] & one.present[at_one]
    unnamed = None
    if many.labels.unnamed is not None:
        flags = many.labels.unnamed
        unnamed = tuple(node.bool_ or flags[i] for i, _ in pairs)
    labels = SeriesSet(tuple(_result_labels(node, many, one, pairs)), unnamed)
    # Ambiguity is an error also where a comparison would let nothing of it through.
    if node.matching.card == "one-to-one":
        _require_one_to_one([signatures[i] for i in at_many], present)
    else:
        merged(Columns(labels, left, present), _UNIQUE)
    if node.op in ARITHMETIC:
        values = ARITHMETIC[node.op](left, right)
    else:
        holds = COMPARISON[node.op](left, right)
        if node.bool_:
            values = holds.astype(np.float64)
        else:
            values, present = left, present & holds
    kept = np.flatnonzero(present.any(axis=1))
    return merged(Columns(labels, values, present).rows(kept), _UNIQUE)


def _filled(
    matching: Matching, many: Columns, one: Columns, of_many: float | None, of_one: float | None
) -> tuple[Columns, Columns]:
    """Both sides with a series for each group and step that only the other side has."""
    lacks_one = {} if of_one is None else _lacking(many, one, matching)
    lacks_many = {} if of_many is None else _lacking(one, many, matching)
    return _with(many, lacks_many, of_many), _with(one, lacks_one, of_one)


def _lacking(of: Columns, among: Columns, matching: Matching) -> dict[Labels, Mask]:
    """At which steps a group of *of* has nobody in *among*."""
    there = {
        group: anywhere(among.present[rows])
        for group, rows in _by_signature(among, matching).items()
    }
    nobody = np.zeros(of.present.shape[1], np.bool_)
    lacking = {
        group: anywhere(of.present[rows]) & ~there.get(group, nobody)
        for group, rows in _by_signature(of, matching).items()
    }
    return {group: steps for group, steps in lacking.items() if steps.any()}


def _with(columns: Columns, lacking: dict[Labels, Mask], value: float | None) -> Columns:
    """The vector with one more series for each of these groups."""
    if not lacking or value is None:
        return columns
    unnamed = None
    if columns.labels.unnamed is not None:
        unnamed = columns.labels.unnamed + (False,) * len(lacking)
    present = np.array(list(lacking.values()))
    return Columns(
        SeriesSet(columns.labels.labels + tuple(lacking), unnamed),
        np.concatenate([columns.values, np.full(present.shape, value)]),
        np.concatenate([columns.present, present]),
    )


def _require_unique(groups: dict[Labels, list[int]], one: Columns, side: str, asked: Mask) -> None:
    """Raises QueryError if two series of one group have a value at the same step."""
    for group, rows in groups.items():
        if len(rows) == 1:
            continue
        present = one.present[rows] & asked
        crowded = np.flatnonzero(present.sum(axis=0) > 1)
        if len(crowded):
            here = np.flatnonzero(present[:, crowded[0]])
            first, second = (one.labels.labels[rows[i]] for i in here[:2])
            raise QueryError(
                _MANY_TO_MANY.format(group=group, side=side, first=second, second=first),
                hint="aggregate one side, or match on more labels",
            )


def _require_one_to_one(signatures: list[Labels], present: Mask) -> None:
    """Raises QueryError if two results of one group have a value at the same step."""
    if len(set(signatures)) == len(signatures):
        return
    taken: dict[Labels, NDArray[np.bool_]] = {}
    for group, row in zip(signatures, present, strict=True):
        before = taken.get(group)
        if before is not None and np.any(before & row):
            raise QueryError(_EXPLICIT)
        taken[group] = row if before is None else before | row


def _result_labels(
    node: Binary, many: Columns, one: Columns, pairs: list[tuple[int, int]]
) -> Iterator[Labels]:
    matching = node.matching
    drop_name = node.op in ARITHMETIC or (node.bool_ and many.labels.unnamed is None)
    for i, j in pairs:
        labels = many.labels.labels[i]
        if drop_name:
            labels = labels.drop(METADATA_LABELS)
        if matching.card == "one-to-one":
            yield labels.keep(matching.labels) if matching.on else labels.drop(matching.labels)
            continue
        for name in matching.include:
            labels = labels.with_label(name, one.labels.labels[j].get(name))
        yield labels


def _set_operation(node: Binary, lhs: Columns, rhs: Columns) -> Columns:
    if node.op == "or":
        fresh = rhs.present & ~_has_partner(rhs, lhs, node.matching)
        unnamed = None
        if lhs.labels.unnamed is not None or rhs.labels.unnamed is not None:
            unnamed = lhs.labels.flags() + rhs.labels.flags()
        labels = SeriesSet(lhs.labels.labels + rhs.labels.labels, unnamed)
        values = np.concatenate([lhs.values, rhs.values])
        return merged(Columns(labels, values, np.concatenate([lhs.present, fresh])))
    partner = _has_partner(lhs, rhs, node.matching)
    if node.op == "unless":
        partner = ~partner
    return Columns(lhs.labels, lhs.values, lhs.present & partner)


def _has_partner(of: Columns, among: Columns, matching: Matching) -> Mask:
    """Where a series of *of* has a series with the same signature in *among*."""
    steps = of.present.shape[1]
    there = {
        group: among.present[rows].any(axis=0)
        for group, rows in _by_signature(among, matching).items()
    }
    nobody = np.zeros(steps, np.bool_)
    rows = [there.get(group, nobody) for group in _signatures(of.labels, matching)]
    return np.array(rows, np.bool_).reshape(len(rows), steps)
