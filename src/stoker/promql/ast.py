"""The nodes of a query. Frozen, compared by value, times in whole milliseconds.

They are made by :mod:`stoker.promql.parsing` from the grammar's own tree, which copies a node at
every look; these are made once a query and evaluated often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from stoker.metrics.sample import METRIC_NAME, Matcher, MatchOp

TARGET_INFO: Final = Matcher(METRIC_NAME, MatchOp.EQUAL, "target_info")
ValueType = Literal["scalar", "vector", "matrix", "string"]
SETS: Final = frozenset({"and", "or", "unless"})
At = int | Literal["start", "end"] | None  # None: the time of evaluation


@dataclass(frozen=True, slots=True)
class Number:
    """A number literal, or a duration as seconds."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant vector selector. The metric name is a matcher like the others."""

    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class Range:
    """A selector with a range: ``x[5m]``."""

    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True)
class Subquery:
    """``expr[range:step]``; no step means the default evaluation interval."""

    expr: Node
    range_ms: int
    step_ms: int | None
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments."""

    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation; neither ``by`` nor ``without`` is ``by ()``."""

    op: str
    expr: Node
    param: Node | None
    without: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matching:
    """How two vectors are matched. ``on`` False is ``ignoring``."""

    card: Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]
    on: bool
    labels: tuple[str, ...]
    include: tuple[str, ...]
    fill_left: float | None = None  # the value of a series that only the right side has
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions."""

    op: str
    lhs: Node
    rhs: Node
    bool_: bool
    matching: Matching


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus; unary plus leaves no trace."""

    expr: Node


Node = Number | Text | Selector | Range | Subquery | Call | Aggregate | Binary | Negation
RangeNode = Range | Subquery


def selectors(node: Node) -> Iterator[Selector]:
    """All selectors below *node*."""
    if isinstance(node, Selector):
        yield node
    elif isinstance(node, Range):
        yield node.selector
    elif isinstance(node, Call) and node.function == "info":
        yield info_selector(node.args)
        yield from selectors(node.args[0])
        return
    for child in children(node):
        yield from selectors(child)


def info_selector(args: tuple[Node, ...]) -> Selector:
    """The info series that a call of ``info`` looks at; ``target_info`` if it does not say."""
    matchers = args[1].matchers if len(args) > 1 and isinstance(args[1], Selector) else ()
    named = any(matcher.name == METRIC_NAME for matcher in matchers)
    return Selector(matchers if named else (TARGET_INFO, *matchers))


def children(node: Node) -> tuple[Node, ...]:
    """The expressions that *node* is made of; a range and its selector are one."""
    match node:
        case Subquery(expr) | Negation(expr):
            return (expr,)
        case Aggregate():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Binary():
            return (node.lhs, node.rhs)
        case Call():
            return node.args
        case _:
            return ()
