"""All rules, and the one function that asks them."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser

from stoker.checks import fallbacks, metrictypes, queries, replicas, triggers
from stoker.checks.base import BundleRule, Finding, Query, Rule, Subject, code_of
from stoker.resources.bundle import Bundle
from stoker.scaling.spec import ScalingSpec, TriggerSpec

RULES: tuple[Rule, ...] = (
    queries.query_syntax,
    queries.query_result_type,
    queries.multi_element_query,
    queries.wrong_label,
    queries.wrong_model_name,
    queries.unfiltered_query,
    queries.renamed_metric,
    queries.unknown_metric,
    metrictypes.ratio_as_average_value,
    metrictypes.total_as_value,
    metrictypes.keepalive_couples_models,
    metrictypes.keepalive_as_value,
    metrictypes.first_request_does_not_wake,
    replicas.scale_to_zero_by_omission,
    replicas.no_wake_from_zero,
    replicas.cooldown_without_zero,
    replicas.cooldown_skips_window,
    replicas.idle_not_zero,
    replicas.replica_count_ignored,
    replicas.no_termination_grace,
    triggers.unbuildable_trigger,
    triggers.metric_type_in_metadata,
    triggers.unknown_metadata,
    triggers.activation_above_threshold,
    fallbacks.fallback_never_engages,
    fallbacks.fallback_flaps_when_cached,
    fallbacks.fallback_is_not_zero,
    fallbacks.fallback_above_maximum,
)

BUNDLE_RULES: tuple[BundleRule, ...] = ()

# What is told without a rule: see :mod:`stoker.checks.refusals`.
_OTHERS = ("unreadable", "refused", "target-not-in-files", "not-read")


def codes() -> tuple[str, ...]:
    """Every code that a finding can have."""
    return (*_OTHERS, *map(code_of, RULES), *map(code_of, BUNDLE_RULES))


def check(bundle: Bundle) -> tuple[Finding, ...]:
    """Everything that the rules find, in the order of places, the worst first at each."""
    findings = {
        finding for subject in _subjects(bundle) for rule in RULES for finding in rule(subject)
    }
    findings |= {finding for bundle_rule in BUNDLE_RULES for finding in bundle_rule(bundle)}
    return tuple(sorted(findings, key=lambda finding: finding.order))


def _subjects(bundle: Bundle) -> Iterator[Subject]:
    """What the rules look at: every ScaledObject."""
    for application in bundle.applications:
        scaling, manifest = application.scaling, application.scaled_object
        if scaling is not None and manifest is not None:
            queries = _queries(scaling)
            yield Subject(application, scaling, manifest, bundle, queries, application.deployment)
    for alone in bundle.unattached:
        queries = _queries(alone.scaling)
        yield Subject(None, alone.scaling, alone.manifest, bundle, queries, alone.deployment)


def _queries(scaling: ScalingSpec) -> tuple[Query, ...]:
    return tuple(
        _query(trigger)
        for trigger in scaling.triggers
        if trigger.type == "prometheus" and trigger.metadata.get("query", "").strip()
    )


def _query(trigger: TriggerSpec) -> Query:
    text = trigger.metadata["query"]
    try:
        return Query(trigger, text, promql_parser.parse(text))
    except ValueError as error:
        return Query(trigger, text, None, str(error).strip())
