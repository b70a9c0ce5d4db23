"""What the selectors of a query ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as ast

from stoker.checks import metrics
from stoker.checks.base import Query, Subject
from stoker.checks.shapes import metric_name, selectors
from stoker.errors import Place


@dataclass(frozen=True, slots=True)
class Selected:
    """A ``vllm:`` metric in a query."""

    query: Query
    selector: ast.VectorSelector
    name: str  # as written
    metric: str  # without the suffix of a histogram's series

    @property
    def label(self) -> str:
        """The label that names the model."""
        return "model" if self.metric in metrics.WITH_MODEL_LABEL else "model_name"


def selected(subject: Subject) -> Iterator[Selected]:
    """Every ``vllm:`` metric in the queries of *subject*."""
    for query in subject.queries:
        yield from selected_by(query)


def selected_by(query: Query) -> Iterator[Selected]:
    """Every ``vllm:`` metric in *query*."""
    for selector in selectors(query.tree) if query.tree else ():
        name = metric_name(selector)
        if name is not None and name.startswith(metrics.PREFIX):
            yield Selected(query, selector, name, metrics.base(name))


def matchers(selector: ast.VectorSelector, label: str) -> list[ast.Matcher]:
    """The conditions on *label*, those of ``or`` left out."""
    return [item for item in selector.matchers.matchers if item.name == label]


def accepts(matcher: ast.Matcher, value: str) -> bool:
    """Whether a series whose label has *value* is selected."""
    if matcher.op == ast.MatchOp.Equal:
        return bool(matcher.value == value)
    if matcher.op == ast.MatchOp.NotEqual:
        return bool(matcher.value != value)
    try:
        found = re.fullmatch(matcher.value, value) is not None
    except re.error:  # RE2 has syntax that Python has not: no judgement
        return True
    return found if matcher.op == ast.MatchOp.Re else not found


def query_place(subject: Subject, query: Query) -> Place:
    """Where the query stands."""
    return subject.place("triggers", query.trigger.index, "metadata", "query")


def trigger_place(subject: Subject, query: Query, *path: str) -> Place:
    """Where something of the query's trigger stands, or the trigger itself."""
    return subject.place("triggers", query.trigger.index, *path)
