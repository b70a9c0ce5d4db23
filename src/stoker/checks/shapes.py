"""How many elements a query can have, read from its syntax tree alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import promql_parser as ast


class Kind(StrEnum):
    """What kind of value a query has."""

    VECTOR = "instant vector"
    MATRIX = "range vector"
    SCALAR = "scalar"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Shape:
    """The kind of a value, whether it has one element at most, and whether that has no labels."""

    kind: Kind = Kind.VECTOR
    is_single: bool = False
    is_bare: bool = False


_SINGLE_FUNCTIONS = {"vector", "absent", "absent_over_time"}


def shape(expr: ast.Expr) -> Shape:  # noqa: PLR0911 - one return a type of node
    """The shape of what *expr* evaluates to."""
    match expr:
        case ast.ParenExpr() | ast.UnaryExpr():
            return shape(expr.expr)
        case ast.NumberLiteral():
            return Shape(Kind.SCALAR, is_single=True)
        case ast.StringLiteral():
            return Shape(Kind.STRING, is_single=True)
        case ast.MatrixSelector() | ast.SubqueryExpr():
            return Shape(Kind.MATRIX)
        case ast.AggregateExpr():
            return _aggregate(expr)
        case ast.Call():
            return _call(expr)
        case ast.BinaryExpr():
            return _binary(expr)
        case _:
            return Shape()


def _aggregate(expr: ast.AggregateExpr) -> Shape:
    operator = str(expr.op)
    groups = grouping(expr)
    if operator == "count_values" or groups is None:
        return Shape()
    if operator in {"topk", "bottomk", "limitk", "limit_ratio"}:
        is_one = isinstance(expr.param, ast.NumberLiteral) and expr.param.val == 1
        return Shape(is_single=is_one and operator != "limit_ratio" and not groups)
    return Shape(is_single=groups <= pinned_labels(expr.expr), is_bare=not groups)


def grouping(expr: ast.AggregateExpr) -> frozenset[str] | None:
    """The labels of ``by``, empty without a modifier; None for ``without``."""
    if expr.modifier is None:
        return frozenset()
    if expr.modifier.type == ast.AggModifierType.Without:
        return None
    return frozenset(expr.modifier.labels)


def _call(expr: ast.Call) -> Shape:
    name = expr.func.name
    if expr.func.return_type == ast.ValueType.Scalar:
        return Shape(Kind.SCALAR, is_single=True)
    if name in _SINGLE_FUNCTIONS:
        return Shape(is_single=True, is_bare=name == "vector")
    if name == "histogram_quantile" and len(expr.args) == 2:
        return _histogram_quantile(expr.args[1])
    vectors = [inner for inner in map(shape, expr.args) if inner.kind is Kind.VECTOR]
    # functions of a vector keep its elements; those of a range have one per series
    return vectors[0] if vectors else Shape(is_single=not expr.args, is_bare=not expr.args)


def _histogram_quantile(expr: ast.Expr) -> Shape:
    """``le`` disappears: one element remains where nothing else groups."""
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    if not isinstance(expr, ast.AggregateExpr):
        return Shape()
    groups = grouping(expr)
    if groups is None:
        return Shape()
    rest = groups - {"le"}
    return Shape(is_single=rest <= pinned_labels(expr.expr), is_bare=not rest)


def _binary(expr: ast.BinaryExpr) -> Shape:  # noqa: PLR0911 - one return a kind of operator
    left, right = shape(expr.lhs), shape(expr.rhs)
    if Kind.STRING in (left.kind, right.kind) or Kind.MATRIX in (left.kind, right.kind):
        return Shape()
    if left.kind is Kind.SCALAR:
        return right  # of two scalars the right one is a scalar too
    if right.kind is Kind.SCALAR:
        return left
    operator = str(expr.op)
    if operator in {"and", "unless"}:
        return left
    if operator == "or":
        return _union(expr, left, right)
    card = expr.modifier.card if expr.modifier else ast.VectorMatchCardinality.OneToOne
    if card == ast.VectorMatchCardinality.ManyToOne:
        return left
    if card == ast.VectorMatchCardinality.OneToMany:
        return right
    return Shape(
        is_single=left.is_single or right.is_single, is_bare=left.is_bare and right.is_bare
    )


def _union(expr: ast.BinaryExpr, left: Shape, right: Shape) -> Shape:
    """``a or b`` adds what has other labels: ``sum by (x) (a) or vector(0)`` has two elements."""
    matching = expr.modifier.matching if expr.modifier else None
    on_nothing = (
        matching is not None
        and matching.type == ast.LabelModifierType.Include
        and not matching.labels
    )
    both_bare = left.is_bare and right.is_bare
    is_single = left.is_single and right.is_single and (both_bare or on_nothing)
    return Shape(is_single=is_single, is_bare=both_bare)


def pinned_labels(expr: ast.Expr) -> frozenset[str]:
    """The labels that have one value in every selector of *expr*."""
    pinned = [
        frozenset(
            matcher.name
            for matcher in selector.matchers.matchers
            if matcher.op == ast.MatchOp.Equal and matcher.value
        )
        if not selector.matchers.or_matchers
        else frozenset[str]()
        for selector in selectors(expr)
    ]
    return frozenset[str]().union(*pinned[:1]).intersection(*pinned[1:]) if pinned else frozenset()


def children(expr: ast.Expr) -> list[ast.Expr]:
    """The expressions directly inside *expr*."""
    match expr:
        case ast.BinaryExpr():
            return [expr.lhs, expr.rhs]
        case ast.AggregateExpr():
            return [expr.expr] if expr.param is None else [expr.expr, expr.param]
        case ast.Call():
            return list(expr.args)
        case ast.ParenExpr() | ast.UnaryExpr() | ast.SubqueryExpr():
            return [expr.expr]
        case ast.MatrixSelector():
            return [expr.vector_selector]
        case _:
            return []


def walk(expr: ast.Expr) -> Iterator[ast.Expr]:
    """*expr* and everything inside it."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def selectors(expr: ast.Expr) -> Iterator[ast.VectorSelector]:
    """Every selector of series in *expr*."""
    for node in walk(expr):
        if isinstance(node, ast.VectorSelector):
            yield node


def metric_name(selector: ast.VectorSelector) -> str | None:
    """The one metric that it selects, None if that is not said."""
    if selector.name:
        return selector.name
    for matcher in selector.matchers.matchers:
        if matcher.name == "__name__" and matcher.op == ast.MatchOp.Equal:
            return matcher.value
    return None
