"""An External metric: a sum of samples against a target, shared out or as it is."""

from __future__ import annotations

from stoker.recommenders.hpa.pods import Proposal
from stoker.scaling import numbers
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import MetricType, ScalingSpec
from stoker.scaling.tolerance import Tolerance


def of_external(
    spec: ScalingSpec,
    value: TriggerValue,
    target: TargetStatus,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Recommendation:
    """The recommendation for one External metric, or its error in the controller's words."""
    selector = label_selector(spec) if value.custom is None else value.custom.selector
    description = f"external metric {value.metric_name}({selector})"
    if value.error is not None or not value.milli:
        cause = value.error or "no metrics returned from external metrics API"
        return _failed(
            value,
            f"unable to get external metric {spec.namespace}/{value.metric_name}/{selector}: "
            f"unable to fetch metrics from external metrics API: {cause}",
            description,
        )
    target_milli = numbers.milli_of_target(value.target)
    proposal: Proposal | str
    if value.metric_type is MetricType.VALUE:
        proposal = external_value(value.milli, target_milli, target, tolerance, settings)
        if isinstance(proposal, str):
            return _failed(value, f"unable to calculate ready pods: {proposal}", description)
    else:
        proposal = external_average(value.milli, target_milli, target.replicas, tolerance, settings)
    return Recommendation(
        metric_name=value.metric_name,
        replicas=proposal.replicas,
        formula=proposal.formula,
        description=description,
        current_milli=proposal.usage_milli,
    )


def external_average(
    milli: tuple[int, ...],
    target_milli: int,
    status_replicas: int,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Proposal:
    """External AverageValue: the sum shared out among the replicas of the *status*."""
    usage = 0
    for sample in milli:
        usage = numbers.wrap_int64(usage + sample)
        if usage < 0 and settings.negative_sum_overflows:
            usage = numbers.MAX_INT64
            break
    shown = f"{numbers.plain(usage / 1000)} / {numbers.plain(target_milli / 1000)}"
    per_replica = numbers.ratio(float(usage), float(target_milli) * float(status_replicas))
    average = numbers.ceil64(numbers.ratio(float(usage), float(status_replicas)))
    if settings.negative_sum_overflows and float(usage) >= 2.0**63:
        average = numbers.MAX_INT64  # not shared out any more
    if tolerance.covers(per_replica):
        formula = f"{shown} / {status_replicas} replicas = {per_replica:.3g}, {tolerance}"
        return Proposal(status_replicas, average, formula)
    replicas = numbers.ceil32(
        numbers.ratio(float(usage), float(target_milli)), capped=settings.negative_sum_overflows
    )
    return Proposal(replicas, average, f"ceil({shown})")


def external_value(
    milli: tuple[int, ...],
    target_milli: int,
    target: TargetStatus,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Proposal | str:
    """External Value: the ratio to the target, times the pods that are *ready*. Or its error."""
    usage = _sum_up(milli, capped=settings.caps_value_proposals)
    shown = f"{numbers.plain(usage / 1000)} / {numbers.plain(target_milli / 1000)}"
    usage_ratio = numbers.ratio(float(usage), float(target_milli))
    capped = settings.caps_value_proposals
    if target.spec_replicas == 0:
        return Proposal(numbers.ceil32(usage_ratio, capped=capped), usage, f"ceil({shown})")
    if tolerance.covers(usage_ratio):
        return Proposal(target.spec_replicas, usage, f"{shown} = {usage_ratio:.3g}, {tolerance}")
    if not target.pods:
        return "no pods returned by selector while calculating replica count"
    ready = target.ready_pods
    replicas = numbers.ceil32(usage_ratio * ready, capped=capped)
    return Proposal(replicas, usage, f"ceil({shown} * {ready} ready)")


def _sum_up(milli: tuple[int, ...], *, capped: bool) -> int:
    total = 0
    for sample in milli:
        total += sample
        if capped and total > numbers.MAX_INT64:
            return numbers.MAX_INT64
        total = numbers.wrap_int64(total)
    return total


def label_selector(spec: ScalingSpec) -> str:
    """The selector that KEDA puts on its metrics, as Go prints it into conditions and events."""
    return (
        "&LabelSelector{MatchLabels:map[string]string{scaledobject.keda.sh/name: "
        f"{spec.name},}},MatchExpressions:[]LabelSelectorRequirement{{}},}}"
    )


def _failed(value: TriggerValue, error: str, description: str) -> Recommendation:
    name = value.metric_name
    what = (
        f"external metric {name}"
        if value.metric_type is MetricType.VALUE
        else f"{name} external metric"
    )
    return Recommendation(
        metric_name=name,
        replicas=None,
        error=error,
        error_context=f"failed to get {name} external metric value: failed to get {what}: ",
        description=description,
    )
