"""All rules, and the one function that asks them."""

from __future__ import annotations

import promql_parser

from stoker.checks import fallbacks, metrictypes, queries, replicas, triggers
from stoker.checks.base import Finding, Query, Rule, Severity, Subject
from stoker.resources.bundle import Application, Bundle
from stoker.scaling.spec import TriggerSpec

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

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def check(bundle: Bundle) -> tuple[Finding, ...]:
    """Everything that the rules find, in the order of places, the worst first at each."""
    findings = {
        finding
        for application in bundle.applications
        if (subject := _subject(application, bundle)) is not None
        for rule in RULES
        for finding in rule(subject)
    }
    return tuple(sorted(findings, key=_key))


def _key(finding: Finding) -> tuple[str, int, int, int, str, str]:
    place = finding.place
    order = _ORDER[finding.severity]
    return place.file, place.line or 0, place.column or 0, order, finding.rule, finding.message


def _subject(application: Application, bundle: Bundle) -> Subject | None:
    """What the rules look at, None where nothing scales the application."""
    scaling, manifest = application.scaling, application.scaled_object
    if scaling is None or manifest is None:
        return None
    queries = tuple(
        _query(trigger)
        for trigger in scaling.triggers
        if trigger.type == "prometheus" and trigger.metadata.get("query", "").strip()
    )
    return Subject(application, scaling, manifest, bundle, queries)


def _query(trigger: TriggerSpec) -> Query:
    text = trigger.metadata["query"]
    try:
        return Query(trigger, text, promql_parser.parse(text))
    except ValueError as error:
        return Query(trigger, text, None, str(error).strip())
