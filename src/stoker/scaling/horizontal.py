"""One sync of the HPA controller.

*Source*: ``reconcileAutoscaler`` and ``computeReplicasForMetrics`` in
``pkg/controller/podautoscaler/horizontal.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.scaling import numbers
from stoker.scaling.annotations import effective_behavior
from stoker.scaling.behavior import Bounds, Normalised, normalise, store_event
from stoker.scaling.cadence import SCALED_TO_ZERO, wakes_by_itself
from stoker.scaling.decision import Condition, Decision, DecisionEvent, Recommendation
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.reasons import SENTENCES, hpa_condition, hpa_event
from stoker.scaling.records import quick, replace
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import HpaState, MetricStatus, PastRecommendation, with_hpa_conditions

_BELOW = "Current number of replicas below Spec.MinReplicas"


@quick
@dataclass(frozen=True, slots=True)
class _Combined:
    """The best of the recommendations. *replicas* None: nothing may be changed."""

    replicas: int | None
    description: str
    winner: str  # the metric that wants the most
    condition: Condition
    events: tuple[DecisionEvent, ...]
    error: str | None


def sync(
    spec: ScalingSpec,
    target: TargetStatus,
    values: tuple[TriggerValue, ...],
    recommendations: tuple[Recommendation, ...],
    hpa: HpaState,
    now: float,
    settings: ControllerSettings,
) -> tuple[HpaState, Decision]:
    """What the HPA does with *recommendations*, one for each of *values*."""
    bounds = Bounds(spec.hpa_min_replicas, spec.max_replicas, target.spec_replicas)
    if hpa.recommendations is None:
        # the current size is the first recommendation: a new HPA holds it for a whole window
        hpa = replace(hpa, recommendations=(PastRecommendation(bounds.current, now),))
    hpa = replace(hpa, last_sync=now)
    if not settings.scale_to_zero and any(c.type == SCALED_TO_ZERO for c in hpa.conditions):
        # the gate was open before
        conditions = tuple(c for c in hpa.conditions if c.type != SCALED_TO_ZERO)
        hpa = replace(hpa, conditions=conditions)
    scale_read = hpa_condition("AbleToScale", "True", "SucceededGetScale")
    if bounds.current == 0:
        if not wakes_by_itself(spec, hpa, settings):
            disabled = hpa_condition("ScalingActive", "False", "ScalingDisabled")
            decision = Decision(0, 0, disabled.reason, disabled.message)
            return _finish(hpa, bounds, decision, (scale_read, disabled), (), now)
    elif not bounds.minimum <= bounds.current <= bounds.maximum:
        return _back_into_bounds(spec, hpa, bounds, now, settings)

    statuses = _statuses(values, recommendations)
    combined = _combine(recommendations, bounds.current)
    if spec.ambiguous:
        combined = _ambiguous(spec.ambiguous)
    if combined.replicas is None:
        conditions = (scale_read, combined.condition)
        decision = Decision(
            bounds.current,
            bounds.current,
            combined.condition.reason,
            combined.condition.message,
            conditions=conditions,
            events=combined.events,
        )
        # the recorded desired count stays what it was before the trouble
        hpa = replace(
            hpa,
            current_replicas=bounds.current,
            current_metrics=statuses,
        )
        return with_hpa_conditions(hpa, conditions, now), decision
    return _scale(spec, hpa, bounds, combined, statuses, now, settings)


def _scale(
    spec: ScalingSpec,
    hpa: HpaState,
    bounds: Bounds,
    combined: _Combined,
    statuses: tuple[MetricStatus, ...],
    now: float,
    settings: ControllerSettings,
) -> tuple[HpaState, Decision]:
    desired = max(combined.replicas or 0, 0)
    behavior = effective_behavior(spec)
    normalised = normalise(desired, bounds, hpa, behavior, settings.downscale_stabilization, now)
    hpa = replace(hpa, recommendations=normalised.recommendations)
    cause = ""
    if desired > bounds.current:
        cause = f"{combined.description} above target"
    elif desired < bounds.current:
        cause = "All metrics below target"
    limited = hpa_condition(
        "ScalingLimited", "True" if normalised.limited else "False", normalised.limited_reason
    )
    if bounds.current == 0 and normalised.replicas < bounds.minimum:
        # minReplicas was raised while the HPA was at its own zero
        normalised = replace(normalised, replicas=bounds.minimum)
        cause = cause or _BELOW
    able = hpa_condition("AbleToScale", "True", normalised.stabilized_reason)
    events = combined.events
    zero: tuple[Condition, ...] = ()
    if normalised.replicas != bounds.current:
        able, zero = (
            _rescaled(normalised.replicas),
            _of_zero(spec, bounds, normalised.replicas, settings),
        )
        events = (*events, _rescale_event(normalised.replicas, cause))
        if behavior is not None:
            hpa = store_event(hpa, bounds.current, normalised.replicas, behavior, now)
    reason, message = _why(normalised, bounds.current, able)
    if len(statuses) > 1 or desired != normalised.replicas:
        message = f"{message}; {combined.winner} wants {desired}"
    decision = Decision(
        normalised.replicas, bounds.current, reason, message, desired=desired, events=events
    )
    conditions = (able, combined.condition, limited, *zero)
    return _finish(hpa, bounds, decision, conditions, statuses, now)


def _of_zero(
    spec: ScalingSpec, bounds: Bounds, replicas: int, settings: ControllerSettings
) -> tuple[Condition, ...]:
    """By this condition the HPA will know at zero whether it has brought the target there."""
    if not settings.scale_to_zero:
        return ()
    if replicas == 0 and bounds.minimum == 0 and spec.has_object_or_external_metric:
        return (hpa_condition(SCALED_TO_ZERO, "True", "ScaledToZero"),)
    return (hpa_condition(SCALED_TO_ZERO, "False", "NotScaledToZero"),)


def _why(normalised: Normalised, current: int, able: Condition) -> tuple[str, str]:
    """The one reason that says most: what held, what limited, or that it was done."""
    if normalised.limited and normalised.limited_reason != "DesiredWithinRange":
        limit = SENTENCES[normalised.limited_reason]
        if normalised.replicas == current:
            return normalised.limited_reason, limit
        return able.reason, f"{able.message}; {limit}"
    return able.reason, able.message


def _back_into_bounds(
    spec: ScalingSpec, hpa: HpaState, bounds: Bounds, now: float, settings: ControllerSettings
) -> tuple[HpaState, Decision]:
    """At once: no metric is read, nothing is stabilised, no policy is asked."""
    if bounds.current > bounds.maximum:
        replicas, cause = bounds.maximum, "Current number of replicas above Spec.MaxReplicas"
    else:
        replicas, cause = bounds.minimum, _BELOW
    behavior = effective_behavior(spec)
    if replicas != bounds.current and behavior is not None:
        hpa = store_event(hpa, bounds.current, replicas, behavior, now)
    able = _rescaled(replicas)
    decision = Decision(
        replicas,
        bounds.current,
        able.reason,
        f"{able.message}: {cause}",
        desired=replicas,
        events=(_rescale_event(replicas, cause),),
    )
    conditions = (able, *_of_zero(spec, bounds, replicas, settings))
    return _finish(hpa, bounds, decision, conditions, (), now)


def _ambiguous(message: str) -> _Combined:
    """Several HPAs control the same pods, so that none of them does anything."""
    reason = "AmbiguousSelector"
    events = (
        hpa_event("Warning", reason, message),
        hpa_event("Warning", "FailedComputeMetricsReplicas", message),
    )
    condition = hpa_condition("ScalingActive", "False", reason, message)
    return _Combined(None, "", "", condition, events, message)


def failed_update(hpa: HpaState, decision: Decision, error: str) -> tuple[HpaState, Decision]:
    """*decision* could not be carried out: the target keeps the size it had."""
    message = f"the HPA controller was unable to update the target scale: {error}"
    able = hpa_condition("AbleToScale", "False", "FailedUpdateScale", message)
    rescaled = next((e.message for e in decision.events if e.reason == "SuccessfulRescale"), "")
    events = tuple(e for e in decision.events if e.reason != "SuccessfulRescale")
    events = (*events, hpa_event("Warning", "FailedRescale", f"{rescaled}; error: {error}"))
    kept = tuple(c for c in decision.conditions if c.type not in {able.type, SCALED_TO_ZERO})
    decided = hpa.created_at if hpa.last_sync is None else hpa.last_sync
    hpa = with_hpa_conditions(replace(hpa, desired_replicas=decision.was), (able,), decided)
    decision = replace(
        decision,
        replicas=decision.was,
        reason=able.reason,
        message=message,
        conditions=(able, *kept),
        events=events,
    )
    return hpa, decision


def _combine(recommendations: tuple[Recommendation, ...], current: int) -> _Combined:
    """The largest wins. Bad metrics forbid scaling down, all bad forbid any change."""
    best: Recommendation | None = None
    bad = [r for r in recommendations if r.replicas is None]
    for r in recommendations:
        if r.replicas is None:
            continue
        if best is None or not best.replicas or r.replicas > best.replicas:
            best = r
    events = tuple(hpa_event("Warning", r.error_reason, r.error or "") for r in bad)
    error = None
    if bad:
        first = f"{bad[0].error_context}{bad[0].error}"
        error = (
            f"invalid metrics ({len(bad)} invalid out of {len(recommendations)}), "
            f"first error is: {first}"
        )
    if best is None or best.replicas is None or (bad and best.replicas < current):
        failed = bad[0] if bad else Recommendation("", None, error="no metrics")
        condition = hpa_condition(
            "ScalingActive",
            "False",
            failed.error_reason,
            f"the HPA was unable to compute the replica count: {failed.error}",
        )
        if error is not None:
            events = (*events, hpa_event("Warning", "FailedComputeMetricsReplicas", error))
        return _Combined(None, "", "", condition, events, error)
    condition = hpa_condition(
        "ScalingActive",
        "True",
        "ValidMetricFound",
        "the HPA was able to successfully calculate a replica count from " + best.description,
    )
    return _Combined(best.replicas, best.description, best.metric_name, condition, events, error)


def _statuses(
    values: tuple[TriggerValue, ...], recommendations: tuple[Recommendation, ...]
) -> tuple[MetricStatus, ...]:
    return tuple(
        MetricStatus(
            value.metric_name,
            value.metric_type,
            numbers.milli_of_target(value.target),
            recommendation.current_milli,
            recommendation.current_utilization,
        )
        for value, recommendation in zip(values, recommendations, strict=True)
    )


def _rescaled(replicas: int) -> Condition:
    message = f"the HPA controller was able to update the target scale to {replicas}"
    return hpa_condition("AbleToScale", "True", "SucceededRescale", message)


def _rescale_event(replicas: int, cause: str) -> DecisionEvent:
    return hpa_event("Normal", "SuccessfulRescale", f"New size: {replicas}; reason: {cause}")


def _finish(
    hpa: HpaState,
    bounds: Bounds,
    decision: Decision,
    conditions: tuple[Condition, ...],
    statuses: tuple[MetricStatus, ...],
    now: float,
) -> tuple[HpaState, Decision]:
    hpa = replace(
        hpa,
        current_replicas=bounds.current,
        desired_replicas=decision.replicas,
        last_scale_time=now if decision.changes else hpa.last_scale_time,
        current_metrics=statuses,
    )
    return with_hpa_conditions(hpa, conditions, now), replace(decision, conditions=conditions)
