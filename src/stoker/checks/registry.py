"""All rules, and the one function that asks them."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.checks import (
    fallbacks,
    metrictypes,
    queries,
    rates,
    replicas,
    surroundings,
    triggers,
    workloads,
)
from stoker.checks.base import BundleRule, Finding, Query, Rule, Subject, Versions, code_of
from stoker.checks.refusals import IGNORED
from stoker.errors import QueryError
from stoker.promql.parsing import syntax_tree
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
    triggers.unknown_time_zone,
    triggers.activation_above_threshold,
    fallbacks.activation_target_unread,
    fallbacks.fallback_never_engages,
    fallbacks.fallback_flaps_when_cached,
    fallbacks.fallback_is_not_zero,
    fallbacks.fallback_above_maximum,
    rates.short_rate_window,
    rates.quantile_without_le,
    rates.rate_of_gauge,
    rates.counter_without_rate,
    rates.impossible_threshold,
    rates.router_counted_twice,
    workloads.maximum_by_omission,
    workloads.more_replicas_than_gpus,
    workloads.no_readiness_probe,
    workloads.start_longer_than_probes,
    workloads.shutdown_longer_than_grace,
    workloads.surge_needs_gpus,
    workloads.no_disruption_budget,
    workloads.value_while_starting,
    workloads.zero_before_started,
    surroundings.takes_over_autoscaler,
    surroundings.missing_authentication,
    surroundings.authentication_without_mode,
    surroundings.polling_not_used,
    surroundings.double_slash,
    surroundings.paused,
    surroundings.needs_newer_keda,
    surroundings.needs_newer_kubernetes,
)

BUNDLE_RULES: tuple[BundleRule, ...] = (
    surroundings.monitor_selects_nothing,
    surroundings.sticky_service,
)

# What is told without a rule: see :mod:`stoker.checks.refusals` and :mod:`stoker.checks.live`.
LIVE = (
    "live-query-fails", "live-empty-result", "live-several-elements", "live-not-a-number",
    "live-stale", "live-value-cannot-be-meant",
)  # fmt: skip
_OTHERS = (
    "unreadable", "refused", "webhook-refuses",
    "operator-fails", *IGNORED, "target-not-in-files", "not-read",
)  # fmt: skip


def codes() -> tuple[str, ...]:
    """Every code that a finding can have."""
    return (*_OTHERS, *map(code_of, RULES), *map(code_of, BUNDLE_RULES), *LIVE)


def check(bundle: Bundle, versions: Versions | None = None) -> tuple[Finding, ...]:
    """Everything that the rules find, in the order of places, the worst first at each."""
    found = subjects(bundle, versions)
    findings = {finding for subject in found for rule in RULES for finding in rule(subject)}
    findings |= {finding for bundle_rule in BUNDLE_RULES for finding in bundle_rule(bundle)}
    return tuple(sorted(findings, key=lambda finding: finding.order))


def subjects(bundle: Bundle, versions: Versions | None = None) -> Iterator[Subject]:
    """What the rules look at: every ScaledObject."""
    versions = versions or Versions()
    for application in bundle.applications:
        scaling, manifest = application.scaling, application.scaled_object
        if scaling is not None and manifest is not None:
            queries = _queries(scaling)
            deployment = application.deployment
            yield Subject(application, scaling, manifest, bundle, queries, deployment, versions)
    for alone in bundle.unattached:
        queries = _queries(alone.scaling)
        yield Subject(
            None, alone.scaling, alone.manifest, bundle, queries, alone.deployment, versions
        )


def _queries(scaling: ScalingSpec) -> tuple[Query, ...]:
    return tuple(
        _query(trigger)
        for trigger in scaling.triggers
        if trigger.type == "prometheus" and trigger.metadata.get("query", "").strip()
    )


def _query(trigger: TriggerSpec) -> Query:
    text = trigger.metadata["query"]
    try:
        return Query(trigger, text, syntax_tree(text))
    except QueryError as error:
        return Query(trigger, text, None, error.message.removeprefix("parse error: ").strip())
