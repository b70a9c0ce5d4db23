"""Rules about what a query computes: rates, quantiles, and units."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as ast

from stoker.checks import metrics
from stoker.checks.base import Finding, Query, Severity, Subject
from stoker.checks.selecting import query_place, selected
from stoker.checks.shapes import grouping, metric_name, selectors, walk
from stoker.metrics.monitors import DEFAULT_INTERVAL

_RATES = {"rate", "irate", "increase"}
_OF_COUNTERS = {*_RATES, "resets"}
_SAMPLES = 4  # of a window that survives a missed scrape: the usual advice of Prometheus
# The unit of a metric's value, and what a threshold in another unit would be.
_RATIOS = {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}
_LONGEST_LATENCY = 600.0  # seconds: a threshold above is one in milliseconds


def short_rate_window(subject: Subject) -> Iterator[Finding]:
    """A rate over fewer samples than it needs."""
    interval, source = _scrape_interval(subject)
    for query in subject.queries:
        for call in _calls(query, _RATES):
            window = _window(call)
            if window is None or window >= _SAMPLES * interval:
                continue
            samples = window / interval
            severity = Severity.WARNING if samples < 2 else Severity.INFO
            what = (
                "most of the time it sees one sample, and the result is empty, which counts as 0"
                if samples < 2
                else "one missed scrape leaves a single sample, and the result empty for a while"
            )
            text = (
                f"{call.func.name}() over {window:g} s, with a sample every {interval:g} s",
                f"A rate needs two samples: {what}. {source}",
                f"a window of {_SAMPLES * interval:g} s or more, or a shorter scrape interval",
            )
            yield subject.finding("short-rate-window", severity, text, query_place(subject, query))


def _scrape_interval(subject: Subject) -> tuple[float, str]:
    """The shortest interval of the files' monitors, and where it comes from."""
    found = [
        endpoint.interval
        for placed in subject.bundle.monitors
        for endpoint in placed.monitor.endpoints
    ]
    if found:
        return min(found), "The interval is that of the monitors in these files"
    return DEFAULT_INTERVAL, "No monitor is in these files; Prometheus' operator scrapes so often"


def _calls(query: Query, names: set[str]) -> Iterator[ast.Call]:
    for node in walk(query.tree) if query.tree else ():
        if isinstance(node, ast.Call) and node.func.name in names:
            yield node


def _window(call: ast.Call) -> float | None:
    """Seconds; None for a subquery, which has samples of its own."""
    argument = call.args[0]
    while isinstance(argument, ast.ParenExpr):
        argument = argument.expr
    is_selector = isinstance(argument, ast.MatrixSelector)
    return float(argument.range.total_seconds()) if is_selector else None


def quantile_without_le(subject: Subject) -> Iterator[Finding]:
    """A quantile of buckets that were summed together."""
    for query in subject.queries:
        for call in _calls(query, {"histogram_quantile"}):
            inner = call.args[-1]
            while isinstance(inner, ast.ParenExpr):
                inner = inner.expr
            if not isinstance(inner, ast.AggregateExpr) or not _is_of_buckets(inner):
                continue
            groups = grouping(inner)
            if groups is None and inner.modifier and "le" not in inner.modifier.labels:
                continue  # without (pod): `le` stays
            if groups is not None and "le" in groups:
                continue
            text = (
                "the buckets lose their label `le` before the quantile is taken",
                "histogram_quantile() finds no buckets and gives nothing, which counts as 0",
                f"{inner.op} by (le) (...)",
            )
            place = query_place(subject, query)
            yield subject.finding("quantile-without-le", Severity.ERROR, text, place)


def _is_of_buckets(expr: ast.Expr) -> bool:
    names = [metric_name(node) for node in selectors(expr)]
    return bool(names) and all(name is not None and name.endswith("_bucket") for name in names)


def rate_of_gauge(subject: Subject) -> Iterator[Finding]:
    """A rate of what goes up and down."""
    for query in subject.queries:
        for call in _calls(query, _OF_COUNTERS):
            names = {metric_name(node) or "" for node in selectors(call)}
            for name in sorted(names & metrics.GAUGES):
                text = (
                    f"{call.func.name}() of `{name}`, which is a gauge",
                    (
                        "It takes every step down for a restart of a counter and adds the whole "
                        "value again: the result is no number of anything"
                    ),
                    f"sum({name}{{...}}), or avg_over_time({name}{{...}}[1m]) to smooth it",
                )
                place = query_place(subject, query)
                yield subject.finding("rate-of-gauge", Severity.ERROR, text, place)


def counter_without_rate(subject: Subject) -> Iterator[Finding]:
    """A counter as it is, which only grows."""
    for query in subject.queries:
        if query.tree is None:
            continue
        for name in sorted(set(_bare_counters(query.tree))):
            text = (
                f"`{name}` is a counter, and it only grows",
                (
                    "The value is all that was counted since the engine started. It passes the "
                    "threshold once and never falls: replicas go to maxReplicaCount and stay"
                ),
                f"sum(rate({name}{{...}}[2m]))",
            )
            place = query_place(subject, query)
            yield subject.finding("counter-without-rate", Severity.ERROR, text, place)


def _bare_counters(tree: ast.Expr) -> Iterator[str]:
    """The counters of *tree* that no function over a range takes."""
    match tree:
        case ast.MatrixSelector() | ast.SubqueryExpr():
            return
        case ast.VectorSelector():
            name = metric_name(tree)
            if name in metrics.COUNTERS and tree.offset is None:
                yield name
        case ast.AggregateExpr() if str(tree.op) in {"count", "group"}:
            return  # asks whether it is there
        case ast.BinaryExpr():
            # a ratio, a difference or a comparison of counters may be meant
            return
        case ast.ParenExpr() | ast.UnaryExpr():
            yield from _bare_counters(tree.expr)
        case ast.AggregateExpr():
            yield from _bare_counters(tree.expr)
        case ast.Call() if tree.func.name not in {"absent", "timestamp"}:
            for argument in tree.args:
                yield from _bare_counters(argument)


def impossible_threshold(subject: Subject) -> Iterator[Finding]:
    """A threshold in another unit than the metric's."""
    for item in selected(subject):
        threshold = _threshold(item.query)
        if threshold is None or any(True for _ in _scaled(item.query)):
            continue
        if item.metric in _RATIOS and threshold > 1 and _is_level(item.query):
            unit, meant = "between 0 and 1, not percent", f'threshold: "{threshold / 100:g}"'
            result = "The value never reaches the threshold: it never asks for a second replica"
        elif item.metric.endswith("_seconds") and threshold > _LONGEST_LATENCY:
            if not any(_calls(item.query, {"histogram_quantile", "histogram_avg"})):
                continue
            unit, meant = "in seconds, not milliseconds", f'threshold: "{threshold / 1000:g}"'
            result = "No request takes that long: it never asks for a second replica"
        else:
            continue
        text = (f"threshold {threshold:g}, but `{item.name}` is {unit}", result, meant)
        place = subject.place("triggers", item.query.trigger.index, "metadata", "threshold")
        yield subject.finding("impossible-threshold", Severity.ERROR, text, place)


def _threshold(query: Query) -> float | None:
    try:
        return float(query.trigger.metadata.get("threshold", ""))
    except ValueError:
        return None


def _is_level(query: Query) -> bool:
    """Whether the query's value has the unit of the metric: a mean or a maximum."""
    tree = query.tree
    while isinstance(tree, ast.ParenExpr):
        tree = tree.expr
    return isinstance(tree, ast.AggregateExpr) and str(tree.op) in {"avg", "max", "min", "quantile"}


def _scaled(query: Query) -> Iterator[ast.BinaryExpr]:
    """Arithmetic, which may change the unit."""
    for node in walk(query.tree) if query.tree else ():
        if isinstance(node, ast.BinaryExpr) and str(node.op) in {"*", "/", "+", "-", "%", "^"}:
            yield node


def router_counted_twice(subject: Subject) -> Iterator[Finding]:
    """A selector that takes the router's series with the engines'."""
    if not _is_of_production_stack(subject):
        return  # nobody else has a router with metrics of these names
    for item in selected(subject):
        if item.metric not in metrics.ENGINE_AND_ROUTER or item.selector.matchers.or_matchers:
            continue
        names = {m.name for m in item.selector.matchers.matchers if m.value} - {"__name__"}
        if not names or names - {"namespace"}:
            continue  # none at all is told as unfiltered-query; others tell engine from router
        text = (
            f"`{item.name}` of a namespace is that of the engines and that of the router",
            (
                "production-stack's router has a metric of the same name, and in that namespace. "
                "Seen with 10 waiting: 20 counted, 4 replicas instead of 2"
            ),
            f'{item.name}{{namespace="...", model_name="{subject.model}"}}',
        )
        place = query_place(subject, item.query)
        yield subject.finding("router-counted-twice", Severity.WARNING, text, place)


def _is_of_production_stack(subject: Subject) -> bool:
    from_chart = subject.application is not None and subject.application.from_chart
    return from_chart or subject.scaling.target.name.endswith("-deployment-vllm")
