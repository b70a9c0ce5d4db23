"""What a query will look at, told before it is asked: so that a large one is run elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stoker.metrics.sample import Matcher
from stoker.promql.ast import Call, Node, Range, Selector, Subquery, children, info_selector

DEFAULT_SUBQUERY_STEP_MS: Final = 60_000


def cells(node: Node, steps: int, span_ms: int, size: Callable[[tuple[Matcher, ...]], int]) -> int:
    """Series times steps of all selectors, where a subquery has the steps that it makes itself.

    Args:
        node: the query.
        steps: how many moments it is asked for.
        span_ms: milliseconds from the first of them to the last.
        size: how many series meet matchers.
    """
    match node:
        case Selector(matchers) | Range(Selector(matchers)):
            return steps * size(matchers)
        case Subquery(expr, range_ms, step_ms):
            inner = (span_ms + range_ms) // (step_ms or DEFAULT_SUBQUERY_STEP_MS) + 1
            return cells(expr, inner, span_ms + range_ms, size)
        case Call("info", args):
            own = steps * size(info_selector(args).matchers)
            return own + cells(args[0], steps, span_ms, size)
    return sum(cells(child, steps, span_ms, size) for child in children(node)) or steps
