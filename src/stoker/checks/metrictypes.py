"""Rules about ``metricType``: is a value the total that replicas share, or the same at any N."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as ast

from stoker.checks import metrics
from stoker.checks.base import Finding, Query, Severity, Subject
from stoker.checks.selecting import Selected, query_place, selected_by, trigger_place
from stoker.checks.shapes import Kind, shape
from stoker.scaling.spec import MetricType

_LEVELS = {"avg", "max", "min", "quantile"}  # the same value from one replica as from ten
_TOTALS = {"sum", "count"}
_PASSING = {"abs", "ceil", "floor", "round", "clamp", "clamp_min", "clamp_max", "sort", "sort_desc"}


def ratio_as_average_value(subject: Subject) -> Iterator[Finding]:
    """A mean, a percentile or a ratio that is divided by the number of replicas."""
    for query in subject.queries:
        if query.trigger.metric_type is not MetricType.AVERAGE_VALUE or not _is_level(query.tree):
            continue
        text = (
            "the value does not grow with the number of replicas, but AverageValue divides by it",
            (
                "The HPA asks for ceil(value / threshold) replicas whatever there are: 0.9 of a "
                "threshold of 0.7 is 2 replicas at 1, 4 or 6, however full they are"
            ),
            _fix_of_level(query),
        )
        place = query_place(subject, query)
        yield subject.finding("ratio-as-average-value", Severity.WARNING, text, place)


def _fix_of_level(query: Query) -> str:
    tree = query.tree
    if isinstance(tree, ast.AggregateExpr) and str(tree.op) == "avg":
        return f"sum({tree.expr}): AverageValue then takes the mean itself"
    return "metricType: Value beside `metadata`, with a scaleUp policy that limits each step"


def total_as_value(subject: Subject) -> Iterator[Finding]:
    """A total under ``metricType: Value``, which multiplies instead of dividing."""
    for query in subject.queries:
        if query.trigger.metric_type is not MetricType.VALUE or not _is_total(query.tree):
            continue
        if _is_router_traffic(query):
            continue
        text = (
            "the value is the total of all replicas, and Value takes it for each of them",
            (
                "The HPA multiplies the ready replicas by value / threshold at every sync: twice "
                "the threshold doubles them every 15 s up to maxReplicaCount, for the total does "
                "not fall with more replicas"
            ),
            "leave out metricType, or write AverageValue",
        )
        place = trigger_place(subject, query, "metricType")
        yield subject.finding("total-as-value", Severity.WARNING, text, place)


def keepalive_couples_models(subject: Subject) -> Iterator[Finding]:
    """Router traffic without a model: the traffic of others keeps this one awake."""
    for query in subject.queries:
        if not any(_is_unfiltered_traffic(item.selector) for item in _traffic(query)):
            continue
        model = subject.model
        text = (
            "the traffic of every model keeps this one awake, and scales it",
            (
                "The value is the number of models, times routers, that have traffic: three busy "
                "models hold 3 replicas of an idle one"
            ),
            f'vllm:num_incoming_requests_total{{model="{model}"}}',
        )
        place = query_place(subject, query)
        yield subject.finding("keepalive-couples-models", Severity.WARNING, text, place)


def keepalive_as_value(subject: Subject) -> Iterator[Finding]:
    """Router traffic under ``metricType: Value``."""
    for query in subject.queries:
        if query.trigger.metric_type is not MetricType.VALUE or not _is_router_traffic(query):
            continue
        text = (
            "a keepalive with metricType Value holds or doubles the replicas",
            (
                "A value of 1 for a target of 1 means as many replicas as there are: nothing "
                "scales down while there is any traffic. With two routers it is 2, and replicas "
                "double at every sync: 1, 2, 4, 8 in 45 s with an empty queue"
            ),
            "leave out metricType: AverageValue asks for one replica",
        )
        place = trigger_place(subject, query, "metricType")
        yield subject.finding("keepalive-as-value", Severity.ERROR, text, place)


def first_request_does_not_wake(subject: Subject) -> Iterator[Finding]:
    """The rate of a counter that appears with the first request."""
    if not subject.scales_to_zero:
        return
    for query in subject.queries:
        if not _is_router_traffic(query):
            continue
        text = (
            "the first request after a start of the router does not wake a model",
            (
                "The counter appears with the value 1, and the rate of one sample is empty; the "
                "second request wakes it. The chart scrapes every 30 s, so that [1m] sees two "
                "samples at best"
            ),
            "send one request to each model after installing, and scrape the router more often",
        )
        place = query_place(subject, query)
        yield subject.finding("first-request-does-not-wake", Severity.INFO, text, place)


def _traffic(query: Query) -> list[Selected]:
    return [item for item in selected_by(query) if item.metric in metrics.ROUTER_TRAFFIC]


def _is_router_traffic(query: Query) -> bool:
    return bool(_traffic(query))


def _is_unfiltered_traffic(selector: ast.VectorSelector) -> bool:
    return not any(item.name == "model" and item.value for item in selector.matchers.matchers)


def _core(tree: ast.Expr) -> ast.Expr:
    """What decides how the value grows: without brackets, constants, rounding and fallbacks."""
    while True:
        match tree:
            case ast.ParenExpr() | ast.UnaryExpr():
                tree = tree.expr
            case ast.Call() if tree.func.name in _PASSING:
                tree = tree.args[0]
            case ast.BinaryExpr() if str(tree.op) in {"or", "and", "unless"}:
                tree = tree.lhs
            case ast.BinaryExpr() if shape(tree.rhs).kind is Kind.SCALAR:
                tree = tree.lhs
            case ast.BinaryExpr() if shape(tree.lhs).kind is Kind.SCALAR and str(tree.op) == "*":
                tree = tree.rhs
            case _:
                return tree


def _is_level(tree: ast.Expr | None) -> bool:
    """Whether the value stays the same when the same load is spread over more replicas."""
    if tree is None:
        return False
    match core := _core(tree):
        case ast.AggregateExpr():
            return str(core.op) in _LEVELS
        case ast.Call():
            return core.func.name in {"histogram_quantile", "histogram_avg"}
        case ast.BinaryExpr():
            return str(core.op) == "/" and _is_total(core.lhs) and _is_total(core.rhs)
        case _:
            return False


def _is_total(tree: ast.Expr | None) -> bool:
    """Whether the value is the whole load, whatever the number of replicas."""
    core = _core(tree) if tree else None
    return isinstance(core, ast.AggregateExpr) and str(core.op) in _TOTALS
