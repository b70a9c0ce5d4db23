"""The tree of a query with the value of each node: where do the series get lost?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as grammar

from stoker.cli.query_sources import QuerySource
from stoker.errors import QueryError
from stoker.promql.literals import escaped_bytes
from stoker.promql.parsing import parse, printed, syntax_tree
from stoker.promql.value import Matrix, Scalar, String, Value, Vector

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Explained:
    """One node: how deep it stands, its text, and its value in words."""

    depth: int
    text: str
    value: str


def explained(query: str, source: QuerySource, at: float) -> list[Explained]:
    """The nodes from the root to the leaves. Raises QueryError if *query* cannot be parsed."""
    parse(query)
    return list(_walk(syntax_tree(query), source, at, 0))


def _walk(tree: grammar.Expr, source: QuerySource, at: float, depth: int) -> Iterator[Explained]:
    if isinstance(tree, grammar.ParenExpr):
        yield from _walk(tree.expr, source, at, depth)
        return
    text = " ".join(printed(tree).split())
    try:
        value = source.instant(text, at)
        told = _told(value)
        if isinstance(tree, grammar.VectorSelector) and not _size(value):
            told = "\n".join([told, *_why_empty(tree, source, at)])
    except QueryError as error:
        told = f"error: {error.message}"
    yield Explained(depth, text, told)
    for child in _children(tree):
        yield from _walk(child, source, at, depth + 1)


def _children(tree: grammar.Expr) -> list[grammar.Expr]:
    match tree:
        case grammar.UnaryExpr() | grammar.SubqueryExpr():
            return [tree.expr]
        case grammar.BinaryExpr():
            return [tree.lhs, tree.rhs]
        case grammar.AggregateExpr():
            return [tree.expr]
        case grammar.Call():
            literals = (grammar.NumberLiteral, grammar.StringLiteral)
            # The second argument of `info` is a label selector, and no query.
            args = tree.args[:1] if tree.func.name == "info" else tree.args
            return [arg for arg in args if not isinstance(arg, literals)]
        case grammar.MatrixSelector():
            return [tree.vector_selector]
        case _:
            return []


def _size(value: Value) -> int:
    return len(value) if isinstance(value, Vector | Matrix) else 1


def _told(value: Value) -> str:
    """A value in a few lines."""
    if isinstance(value, Scalar | String):
        return str(value)
    if isinstance(value, Matrix):
        samples = sum(len(one.points) for one in value.series)
        return f"{len(value)} series, {samples} samples" if len(value) else "no series"
    if not len(value):
        return "no series"
    lines = [str(sample) for sample in value.samples[:_SHOWN]]
    if len(value) > _SHOWN:
        lines.append(f"... {len(value)} series in all")
    return "\n".join(lines)


def _why_empty(tree: grammar.VectorSelector, source: QuerySource, at: float) -> Iterator[str]:
    """Which single condition, left out, lets series through."""
    texts = [f"{one.name}{_operator(one)}{_quoted(one.value)}" for one in tree.matchers.matchers]
    if tree.name:
        texts.insert(0, f'__name__="{tree.name}"')
    for left_out in texts:
        rest = ",".join(text for text in texts if text is not left_out)
        if not rest:
            continue
        try:
            found = source.instant(f"count({{{rest}}})", at)
        except QueryError:  # what is left may not select everything
            continue
        if isinstance(found, Vector) and len(found):
            yield f"without {left_out}: {found.samples[0].v:g} series"


def _operator(matcher: grammar.Matcher) -> str:
    return {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[
        str(matcher.op).removeprefix("MatchOp.")
    ]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped_bytes(f'"{escaped}"')
