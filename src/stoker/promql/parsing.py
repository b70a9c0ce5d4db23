"""Query text to nodes, through the grammar of promql-parser.

The grammar accepts a few extensions that are not PromQL; they are refused here by name. Depth and
length are checked before, because a parser that runs out of stack cannot say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

import promql_parser as grammar

from stoker.errors import QueryError
from stoker.metrics.regex import compile_regex
from stoker.metrics.sample import METRIC_NAME, Matcher, MatchOp
from stoker.promql.ast import (
    SETS,
    Aggregate,
    At,
    Binary,
    Call,
    Matching,
    Negation,
    Node,
    Number,
    Range,
    Selector,
    Subquery,
    Text,
)
from stoker.promql.literals import (
    NEVER,
    escaped_bytes,
    normalized,
    undisguised,
    undisguised_ms,
    with_placeholders,
)

MAX_LENGTH: Final = 64 * 1024
MAX_DEPTH: Final = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SKIPPED = re.compile(  # texts, also one without an end, and comments
    r""""(?:[^"\\]|\\.)*+(?:"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z)|#[^\n]*+""",
    re.DOTALL,
)
_OPERATOR = re.compile(r"[-+*/%^]|[=!]=|[<>]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
# The grammar's library panics at these instead of refusing them.
_BEYOND = re.compile(
    r"(?:\boffset|@|\[|\[[^][:]*+:)\s*+[-+]?\s*+(?:inf\b|nan\b|9\d{10}|\d{12}|0x[\da-f]{10}|[\d.]++e\+?\d\d)",
    re.IGNORECASE,
)
_BEFORE = re.compile(r"@\s*+-\s*+[\d.][\w.]*")  # negative times that are left after rewriting
_DISGUISED_TIME = re.compile(r"@ (9\d{10}\.\d{3})")
# The grammar refuses `{}`, which `info` may be given; a matcher that is taken out again lets it by.
_EMPTY_OF_INFO = re.compile(r",\s*+\{")
_PLACEHOLDER: Final = "__of_info__"
_OF_INFO = re.compile(rf'{_PLACEHOLDER}!=""(?:, ?)?')
_NOT_EMPTY: Final = "vector selector must contain at least one non-empty matcher"
_MAX_OPERATORS: Final = 200  # evaluation takes up to three frames of the stack for each
_MATCH_OPS: Final = {
    "MatchOp.Equal": MatchOp.EQUAL,
    "MatchOp.NotEqual": MatchOp.NOT_EQUAL,
    "MatchOp.Re": MatchOp.REGEX,
    "MatchOp.NotRe": MatchOp.NOT_REGEX,
}
_CARDS: Final[dict[str, Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]]] = {
    "VectorMatchCardinality.OneToOne": "one-to-one",
    "VectorMatchCardinality.ManyToOne": "many-to-one",
    "VectorMatchCardinality.OneToMany": "one-to-many",
    "VectorMatchCardinality.ManyToMany": "many-to-many",
}
_DEFAULT_MATCHING = Matching("one-to-one", on=False, labels=(), include=())


@lru_cache(maxsize=512)
def parse(query: str) -> Node:
    """The tree of a query. Raises QueryError."""
    with _no_panic(query):
        tree = _tree(query)
        try:
            return _node(tree)
        except QueryError as error:
            raise QueryError(error.message, query=query, hint=error.hint) from None
        except (ValueError, OverflowError) as error:  # a time that no clock can show
            raise QueryError(f"parse error: {error}", query=query) from None


def format_query(query: str) -> str:
    """The query in its usual layout. Raises QueryError if it is not one."""
    parse(query)
    return printed(syntax_tree(query))


def syntax_tree(query: str) -> grammar.Expr:
    """The tree of the grammar's library, for who wants to show it. Raises QueryError."""
    with _no_panic(query):
        return _tree(query)


def printed(tree: grammar.Expr) -> str:
    """The usual layout of a tree that :func:`syntax_tree` has made."""
    text = _OF_INFO.sub("", str(tree.prettify()))
    return _DISGUISED_TIME.sub(_time_again, escaped_bytes(text))


def _time_again(found: re.Match[str]) -> str:
    return f"@ -{float(found[1]) - NEVER:.3f}"


@contextmanager
def _no_panic(query: str) -> Iterator[None]:
    """A panic in the grammar's library is no Exception and would end the whole program."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise QueryError(f"parse error: {error}", query=query) from None


def _tree(query: str) -> grammar.Expr:
    _check_size(query)
    text = normalized(query)
    if "info" in text and _EMPTY_OF_INFO.search(text):
        text = with_placeholders(text, _PLACEHOLDER)
    try:
        return grammar.parse(text)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"parse error: {error}", query=query, hint=_hint(query)) from None


def _hint(query: str) -> str | None:
    if not query.strip():
        return "the query is empty"
    if re.search(r"\bholt_winters\b", query):
        return "Prometheus 3 calls it `double_exponential_smoothing`"
    if re.search(r"\b(?:anchored|smoothed)\b", query):
        return "`anchored` and `smoothed` are experimental in Prometheus and not supported here"
    if re.search(r"\b(?:rate|irate|increase|delta|deriv)\s*\([^\[\]]*\)", query):
        return "this function needs a range, for example `rate(x[5m])`"
    return None


def _check_size(query: str) -> None:
    if len(query) > MAX_LENGTH:
        raise QueryError(f"query of {len(query)} characters, at most {MAX_LENGTH} are read")
    text = _SKIPPED.sub('""', query)
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    if deepest > MAX_DEPTH:
        raise QueryError(f"query nested {deepest} deep, at most {MAX_DEPTH} are read")
    beyond = _BEYOND.search(text) or _BEFORE.search(_SKIPPED.sub('""', normalized(query)))
    if beyond:
        raise QueryError(f"`{beyond[0]}` is not supported: not a time that is understood")
    operators = len(_OPERATOR.findall(text))
    if operators > _MAX_OPERATORS:
        raise QueryError(f"query with {operators} operators, at most {_MAX_OPERATORS} are read")


def _node(tree: object) -> Node:  # noqa: C901, PLR0911 - one case a kind of node
    match tree:
        case grammar.ParenExpr():
            return _node(tree.expr)
        case grammar.NumberLiteral():
            return Number(tree.val)
        case grammar.StringLiteral():
            return Text(undisguised(tree.val))
        case grammar.VectorSelector():
            return _selector(tree)
        case grammar.MatrixSelector():
            return Range(_selector(tree.vector_selector), _ms(tree.range))
        case grammar.SubqueryExpr():
            return _subquery(tree)
        case grammar.UnaryExpr():
            return Negation(_node(tree.expr))
        case grammar.BinaryExpr():
            return _binary(tree)
        case grammar.AggregateExpr():
            return _aggregate(tree)
        case grammar.Call():
            return _call(tree)
        case _:
            raise QueryError(f"{type(tree).__name__} is not supported")


def _call(tree: grammar.Call) -> Call:
    args = tree.args
    if tree.func.name != "info" or len(args) < 2:
        return Call(tree.func.name, tuple(_node(arg) for arg in args))
    chosen = args[1]
    if not isinstance(chosen, grammar.VectorSelector) or chosen.offset or chosen.at:
        raise QueryError("the second argument of `info` is a label selector: `{name=...}`")
    return Call("info", (_node(args[0]), _selector(chosen, may_be_empty=True)))


def _selector(tree: grammar.VectorSelector, *, may_be_empty: bool = False) -> Selector:
    if tree.matchers.or_matchers:
        raise QueryError("`or` between matchers is not PromQL", hint="use the `or` operator")
    matchers = [
        Matcher(one.name, _MATCH_OPS[str(one.op)], undisguised(one.value))
        for one in tree.matchers.matchers
        if one.name != _PLACEHOLDER
    ]
    if tree.name:
        matchers.append(Matcher(METRIC_NAME, MatchOp.EQUAL, tree.name))
    for matcher in matchers:
        if matcher.op in {MatchOp.REGEX, MatchOp.NOT_REGEX}:
            compile_regex(matcher.value)
    if not may_be_empty and all(matcher.matches("") for matcher in matchers):
        raise QueryError(f"parse error: {_NOT_EMPTY}")
    return Selector(tuple(matchers), _ms(tree.offset), _at(tree.at))


def _subquery(tree: grammar.SubqueryExpr) -> Subquery:
    step = None if tree.step is None else _ms(tree.step)
    if step is not None and step <= 0:
        raise QueryError("the step of a subquery must be longer than 0")
    return Subquery(_node(tree.expr), _ms(tree.range), step, _ms(tree.offset), _at(tree.at))


def _aggregate(tree: grammar.AggregateExpr) -> Aggregate:
    without = False
    labels: tuple[str, ...] = ()
    if tree.modifier is not None:
        without = tree.modifier.type == grammar.AggModifierType.Without
        labels = tuple(tree.modifier.labels)
    param = None if tree.param is None else _node(tree.param)
    return Aggregate(str(tree.op), _node(tree.expr), param, without, labels)


def _binary(tree: grammar.BinaryExpr) -> Binary:
    op, modifier = str(tree.op).strip(), tree.modifier
    matching, bool_ = _DEFAULT_MATCHING, False
    if modifier is not None:
        fill = modifier.fill_values
        bool_ = modifier.return_bool
        labels = modifier.matching.labels if modifier.matching is not None else []
        on = (
            modifier.matching is not None
            and modifier.matching.type == grammar.LabelModifierType.Include
        )
        include = tuple(modifier.group_labels or ())
        matching = Matching(
            _CARDS[str(modifier.card)], on, tuple(labels), include, fill.lhs, fill.rhs
        )
        if op in SETS and (fill.lhs is not None or fill.rhs is not None):
            raise QueryError("filling in missing series not allowed for set operators")
    return Binary(op, _node(tree.lhs), _node(tree.rhs), bool_, matching)


def _at(modifier: grammar.AtModifier | None) -> At:
    if modifier is None:
        return None
    if modifier.type == grammar.AtModifierType.Start:
        return "start"
    if modifier.type == grammar.AtModifierType.End:
        return "end"
    if modifier.at is None:
        raise QueryError("`@` needs a time")
    return undisguised_ms(round((modifier.at - _EPOCH) / _MILLISECOND))


def _ms(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / _MILLISECOND)
