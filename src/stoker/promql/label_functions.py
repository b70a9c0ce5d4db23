"""Functions that change labels or sort by them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from stoker.errors import QueryError
from stoker.metrics.regex import compile_regex
from stoker.metrics.relabel import expand
from stoker.metrics.sample import METRIC_NAME, Labels, quote
from stoker.metrics.series import SeriesSet
from stoker.promql.ast import Node
from stoker.promql.columns import Columns, Context, merged
from stoker.promql.literals import is_utf8

_DIGITS = re.compile(r"(\d+)")


def label_replace(context: Context, args: tuple[Node, ...]) -> Columns:
    """``label_replace(v, dst, replacement, src, regex)``: the regex must match the whole value."""
    target, replacement, source, regex = (context.text(arg) for arg in args[1:5])
    try:
        pattern = compile_regex(regex)
    except QueryError as error:
        raise QueryError(
            f"invalid regular expression in label_replace(): {regex}", hint=error.message
        ) from None
    _require_name(target, "destination", "label_replace")
    columns = context.vector(args[0])

    def replaced(labels: Labels) -> Labels | None:
        found = pattern.fullmatch(labels.get(source))
        return None if found is None else labels.with_label(target, expand(replacement, found))

    return _relabelled(columns, target, replaced)


def label_join(context: Context, args: tuple[Node, ...]) -> Columns:
    """``label_join(v, dst, separator, src...)``."""
    columns = context.vector(args[0])
    target, separator, *sources = (context.text(arg) for arg in args[1:])
    for source in sources:
        _require_name(source, "source", "label_join")
    _require_name(target, "destination", "label_join")
    return _relabelled(
        columns,
        target,
        lambda labels: labels.with_label(target, separator.join(labels.get(s) for s in sources)),
    )


def _require_name(name: str, what: str, function: str) -> None:
    if not name or not is_utf8(name):
        raise QueryError(f"invalid {what} label name in {function}(): {quote(name)[1:-1]}")


def _relabelled(
    columns: Columns, target: str, change: Callable[[Labels], Labels | None]
) -> Columns:
    """Other labels, None for no change. A new metric name stays, whatever was before."""
    before = columns.labels
    changed = [change(one) for one in before.labels]
    unnamed = before.unnamed
    if unnamed is not None and target == METRIC_NAME:
        pairs = zip(changed, unnamed, strict=True)
        unnamed = tuple(one is None and gone for one, gone in pairs)
    old = zip(changed, before.labels, strict=True)
    labels = SeriesSet(tuple(one if new is None else new for new, one in old), unnamed)
    return merged(Columns(labels, columns.values, columns.present))


def sort_by_label(*, descending: bool) -> Callable[[Context, tuple[Node, ...]], Columns]:
    """``sort_by_label(v, label...)``: natural order (``b2`` before ``b10``), then all labels."""

    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        columns = context.vector(args[0])
        names = [context.text(arg) for arg in args[1:]]
        labels = columns.labels.labels

        def key(row: int) -> tuple[object, ...]:
            return (*(_natural(labels[row].get(name)) for name in names), labels[row].pairs)

        rows = sorted(range(len(labels)), key=key, reverse=descending)
        return columns.rows(np.array(rows, np.intp))

    return call


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple(
        (0, int(part), part) if part.isdigit() else (1, 0, part)
        for part in _DIGITS.split(text)
        if part
    )
