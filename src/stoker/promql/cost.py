"""What a query will cost, told before it is asked: so that a large one is run elsewhere.

The unit is a cell, one series at one step, that NumPy works on with all others: a tenth of a
microsecond. What Python looks at one by one costs 60 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stoker.metrics.sample import Matcher
from stoker.promql.ast import (
    Binary,
    Call,
    Node,
    Range,
    Selector,
    Subquery,
    children,
    info_selector,
)
from stoker.promql.window_columns import COLUMNAR

DEFAULT_SUBQUERY_STEP_MS: Final = 60_000
_ONE_BY_ONE: Final = 60

Size = Callable[[tuple[Matcher, ...]], int]


def cost(node: Node, steps: int, span_ms: int, size: Size) -> int:
    """What a query will cost, in cells.

    Args:
        node: the query.
        steps: how many moments it is asked for.
        span_ms: milliseconds from the first of them to the last.
        size: how many series meet matchers.
    """
    if isinstance(node, Subquery):  # its own steps, in place of those of the query
        span_ms += node.range_ms
        inner = span_ms // (node.step_ms or DEFAULT_SUBQUERY_STEP_MS) + 1
        return max(cost(node.expr, inner, span_ms, size), inner)
    parts = [cost(child, steps, span_ms, size) for child in children(node)]
    match node:
        case Selector(matchers) | Range(Selector(matchers)):
            return steps * size(matchers)
        case Call("info", args):
            return _ONE_BY_ONE * (parts[0] + steps * size(info_selector(args).matchers))
        case Call(function) if function not in COLUMNAR and _has_range(node):
            return _ONE_BY_ONE * sum(parts)
        case Binary() if all(parts):  # series are matched one by one, once for all steps
            return sum(parts) + _ONE_BY_ONE * sum(parts) // steps
    return sum(parts)


def _has_range(node: Call) -> bool:
    return any(isinstance(arg, Range | Subquery) for arg in node.args)
