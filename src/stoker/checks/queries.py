"""Rules about what a query selects: one element, of the right model, from a metric that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import assert_never

import promql_parser as ast

from stoker.checks import metrics
from stoker.checks.base import Finding, Query, Severity, Subject
from stoker.checks.edits import Edit
from stoker.checks.selecting import Selected, accepts, matchers, query_place, selected
from stoker.checks.shapes import Kind, metric_name, shape

_MODEL_LABELS = {"model", "model_name"}
# Labels by which series of one model can be told from those of another.
_TELLING = {*_MODEL_LABELS, "job", "pod", "service", "namespace", "deployment", "instance"}


def query_syntax(subject: Subject) -> Iterator[Finding]:
    """PromQL that cannot be parsed."""
    for query in subject.queries:
        if query.tree is None:
            text = (
                f"the query cannot be parsed: {query.error}",
                (
                    "Prometheus answers with status 400 at every poll, so the trigger never has a "
                    "value: no HPA scales on it and nothing goes to zero"
                ),
                "try the query in Prometheus first",
            )
            yield subject.finding("query-syntax", Severity.ERROR, text, query_place(subject, query))


def query_result_type(subject: Subject) -> Iterator[Finding]:
    """A query whose result is not an instant vector."""
    for query in subject.queries:
        kind = shape(query.tree).kind if query.tree else Kind.VECTOR
        if kind is Kind.VECTOR:
            continue
        if kind is Kind.MATRIX:
            why = "KEDA finds no value in a range vector and takes it for 0: it scales down"
            fix = "take a rate or an average of it: `sum(rate(...[1m]))`"
        elif kind is Kind.SCALAR:
            why = "KEDA cannot read a scalar, the trigger always fails and replicas stand still"
            fix = "leave out `scalar()`, or write `vector(...)` around a number"
        elif kind is Kind.STRING:
            why = "KEDA cannot read a string, the trigger always fails and replicas stand still"
            fix = "select a metric"
        else:
            assert_never(kind)
        text = (f"the query gives a {kind}, not one number", why, fix)
        yield subject.finding(
            "query-result-type", Severity.ERROR, text, query_place(subject, query)
        )


def multi_element_query(subject: Subject) -> Iterator[Finding]:
    """A query with an element for each replica."""
    for query in subject.queries:
        if query.tree is None:
            continue
        result = shape(query.tree)
        if result.kind is not Kind.VECTOR or result.is_single:
            continue
        text = (
            "the query has one element for each replica, and KEDA takes only one",
            'As soon as two replicas are scraped KEDA says "returned multiple elements" and the '
            "metric is lost. " + _consequence(subject),
            f"query: {_one_element(query, subject)}",
        )
        written = _one_element(query, subject)
        if subject.application is None:  # the hint names a model that nobody knows
            written = f"sum({query.text.strip()})"
        path = ("triggers", query.trigger.index, "metadata", "query")
        edits = subject.edit(*path, value=written)
        place = query_place(subject, query)
        yield subject.finding("multi-element-query", Severity.ERROR, text, place, edits)


def _consequence(subject: Subject) -> str:
    """What was seen on KEDA 2.20 with such a query at a load for four replicas, then none."""
    if subject.scaling.fallback is not None:
        replicas = subject.scaling.fallback.replicas
        return f"The fallback then holds {replicas} replicas for ever, and Ready stays True"
    if len(subject.scaling.triggers) > 1:
        return "The other triggers can still scale up, but nothing scales down any more"
    end = ", and it never returns to zero" if subject.scales_to_zero else ""
    return (
        f"Replicas stay where that found them, at 2 or more, whatever the load{end}. Seen on KEDA "
        "2.20: 2 at a load for 4 and at no load; with sum() 2, 4, 1"
    )


def _one_element(query: Query, subject: Subject) -> str:
    """The query in ``sum()``; a bare selector of one label also gets the model's name."""
    text, tree = query.text.strip(), query.tree
    if isinstance(tree, ast.VectorSelector) and metric_name(tree) in metrics.ENGINE:
        others = [item for item in tree.matchers.matchers if item.name not in _MODEL_LABELS]
        if not others and not tree.matchers.or_matchers and tree.name:
            text = f'{tree.name}{{model_name="{subject.model}"}}'
    return f"sum({text})"


def wrong_label(subject: Subject) -> Iterator[Finding]:
    """A label that the metric does not have."""
    for item in selected(subject):
        wrong = "model" if item.label == "model_name" else "model_name"
        if item.metric not in metrics.ENGINE | metrics.WITH_MODEL_LABEL:
            continue
        if not any(matcher.value for matcher in matchers(item.selector, wrong)):
            continue
        text = (
            f"`{item.name}` has no label `{wrong}`",
            (
                "Nothing matches, unless a relabelling adds it, and an empty result is a good 0 to "
                f"KEDA, not an error. {_empty_result(subject)}"
            ),
            f'{item.label}="{subject.model}"',
        )
        place = query_place(subject, item.query)
        yield subject.finding("wrong-label", Severity.ERROR, text, place)


def wrong_model_name(subject: Subject) -> Iterator[Finding]:
    """A model name that no engine of these files serves."""
    if subject.application is None:
        return  # nothing is known about what it serves
    workloads = [application.workload for application in subject.bundle.applications]
    reported = [workload.model for workload in workloads]
    requested = [name for workload in workloads for name in (workload.model, *workload.aliases)]
    own = subject.model
    for item in selected(subject):
        names = requested if item.label == "model" else reported
        for matcher in matchers(item.selector, item.label):
            if any(accepts(matcher, name) for name in names):
                continue
            text = (
                f'no engine reports {item.label}="{matcher.value}"',
                (
                    "vLLM reports the first name it serves a model under, which is the model's "
                    f"path unless --served-model-name says otherwise: here {own}. "
                    f"{_empty_result(subject)}"
                ),
                f'{item.label}="{own}"',
            )
            place = query_place(subject, item.query)
            yield subject.finding("wrong-model-name", Severity.ERROR, text, place)


def _empty_result(subject: Subject) -> str:
    """What an empty result does."""
    if subject.scales_to_zero:
        return (
            "It never scales up, and goes to zero even under load: at the first poll, about 1 s "
            "after it is created, for cooldownPeriod only counts from the last activity"
        )
    return "It never scales up, with Ready=True and no sign of trouble; a fallback does not help"


def unfiltered_query(subject: Subject) -> Iterator[Finding]:
    """A metric of all models together."""
    own = subject.model
    severity = Severity.WARNING if len(subject.bundle.applications) > 1 else Severity.INFO
    for item in selected(subject):
        if item.metric not in metrics.ENGINE - metrics.WITHOUT_MODEL_NAME:
            continue
        if _is_limited(item.selector):
            continue
        both = item.metric in metrics.ENGINE_AND_ROUTER
        more = "; the router's series of that name are added to the engines'" if both else ""
        text = (
            f"`{item.name}` is not limited to one model",
            f"The load of every model that Prometheus scrapes scales this one{more}",
            f'{item.name}{{model_name="{own}"}}',
        )
        yield subject.finding("unfiltered-query", severity, text, query_place(subject, item.query))


def _is_limited(selector: ast.VectorSelector) -> bool:
    """Whether something tells models apart: a name, or labels that a PodMonitor adds."""
    if selector.matchers.or_matchers:
        return True
    return any(item.name in _TELLING and item.value for item in selector.matchers.matchers)


def renamed_metric(subject: Subject) -> Iterator[Finding]:
    """A metric that vLLM no longer has."""
    for item in selected(subject):
        old = item.name if item.name in metrics.RENAMED else item.metric
        if old not in metrics.RENAMED:
            continue
        text = (
            f"vLLM has no metric `{item.name}` any more",
            f"It is gone since vLLM 0.12 or 0.15, the result is empty. {_empty_result(subject)}",
            metrics.RENAMED[old] or "`vllm:num_requests_waiting` or `vllm:kv_cache_usage_perc`",
        )
        place = query_place(subject, item.query)
        edits = _renaming(subject, item, old)
        yield subject.finding("renamed-metric", Severity.ERROR, text, place, edits)


def _renaming(subject: Subject, item: Selected, old: str) -> tuple[Edit, ...]:
    """The new name in place of the old one, where it means the same."""
    new = metrics.RENAMED[old]
    if new is None or not new.startswith(metrics.PREFIX):
        return ()
    path = ("triggers", item.query.trigger.index, "metadata", "query")
    written = re.sub(
        rf"(?<![\w:]){re.escape(old)}(?=_bucket|_sum|_count|\W|$)", new, item.query.text
    )
    return subject.edit(*path, value=written)


def unknown_metric(subject: Subject) -> Iterator[Finding]:
    """A ``vllm:`` metric that neither engine nor router exports."""
    for item in selected(subject):
        if metrics.is_known(item.name) or {item.name, item.metric} & metrics.RENAMED.keys():
            continue
        text = (
            f"neither vLLM 0.32 nor the router exports `{item.name}`",
            f"If nothing else does, the result is empty. {_empty_result(subject)}",
            metrics.near(item.name) or "look for the metric in the `/metrics` of an engine",
        )
        place = query_place(subject, item.query)
        yield subject.finding("unknown-metric", Severity.WARNING, text, place)
