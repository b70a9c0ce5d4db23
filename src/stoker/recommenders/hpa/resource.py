"""cpu and memory: percent of what pods request, or an average, over pods that can be judged.

A pod that starts burns cpu for nothing the autoscaler should answer, so a sample of cpu counts only
once its pod is ready, and was taken wholly after that.

*Source*: ``GetResourceReplicas`` and ``groupPods`` in ``replica_calculator.go``, and
``GetResourceUtilizationRatio`` in ``metrics/utilization.go``, of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.recommenders.hpa.pods import (
    GroupedPods,
    Proposal,
    group_pods,
    pods_average,
    replicas_with_doubt,
)
from stoker.scaling import numbers
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import (
    PodStatus,
    PodUsage,
    ResourceUsage,
    TargetStatus,
    TriggerValue,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import MetricType
from stoker.scaling.tolerance import Tolerance


@dataclass(frozen=True, slots=True)
class Utilization:
    """Replicas that percent of the requests would want; the mean usage beside it."""

    replicas: int
    percent: int
    usage_milli: int
    formula: str


def of_resource(
    value: TriggerValue,
    usage: ResourceUsage,
    target: TargetStatus,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Recommendation:
    """The recommendation for cpu or memory, or its error in the controller's words."""
    name = usage.resource
    by_percent = value.metric_type is MetricType.UTILIZATION
    proposal: Utilization | Proposal | str
    if value.error is not None or not usage.pods:
        cause = value.error or "no metrics returned from resource metrics API"
        proposal = f"unable to get metrics for resource {name}: {cause}"
    elif by_percent:
        proposal = utilization(usage, round(value.target), target, tolerance, settings)
    else:
        proposal = pods_average(
            {pod.pod: pod.milli for pod in usage.pods},
            numbers.milli_of_target(value.target),
            target,
            tolerance,
            immature_pods(usage, target, settings),
        )
    if isinstance(proposal, str):
        return _failed(value, usage, proposal)
    kind = f"{name} container resource" if usage.container else f"{name} resource"
    return Recommendation(
        metric_name=value.metric_name,
        replicas=proposal.replicas,
        formula=proposal.formula,
        description=f"{kind} utilization (percentage of request)"
        if by_percent
        else f"{name} resource",
        current_milli=proposal.usage_milli,
        current_utilization=proposal.percent if isinstance(proposal, Utilization) else None,
    )


def utilization(
    usage: ResourceUsage,
    target_percent: int,
    target: TargetStatus,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Utilization | str:
    """The proposal for percent of the requests, or why there is none."""
    metrics = {pod.pod: pod.milli for pod in usage.pods}
    pods = group_pods(metrics, target, immature_pods(usage, target, settings))
    if isinstance(pods, str):
        return pods
    requests = dict(usage.requests)
    unlimited = [pod.name for pod in target.pods if pod.name not in requests]
    if unlimited:
        where = f"container {usage.container} of Pod" if usage.container else "Pod"
        return f"missing request for {usage.resource} in {where} {unlimited[0]}"
    percent = _percent(pods.measured, requests)
    if percent is None:
        return "no metrics returned matched known pods"
    mean = _mean_of_known(pods.measured, requests)
    return _judged(pods, requests, (percent, target_percent, mean), target.spec_replicas, tolerance)


def _judged(
    pods: GroupedPods,
    requests: Mapping[str, int],
    figures: tuple[int, int, int],
    current: int,
    tolerance: Tolerance,
) -> Utilization:
    """The proposal from *figures*: percent in use, percent wanted, mean usage."""
    percent, target_percent, mean = figures
    ratio = numbers.ratio(float(percent), float(target_percent))
    shown = f"{percent} % / {target_percent} %"
    keep = Utilization(current, percent, mean, f"{shown} = {ratio:.3g}, {tolerance}")
    if not pods.missing and not (pods.unready and ratio > 1.0):
        if tolerance.covers(ratio):
            return keep
        replicas = numbers.ceil32(ratio * pods.ready, capped=False)
        return Utilization(replicas, percent, mean, f"ceil({shown} * {pods.ready})")

    measured = pods.measured | _assumed(ratio, target_percent, pods, requests)
    new_ratio = numbers.ratio(float(_percent(measured, requests) or 0), float(target_percent))
    moved = replicas_with_doubt(ratio, new_ratio, len(measured), current, tolerance)
    if moved is None:
        return keep
    return Utilization(moved, percent, mean, f"ceil({new_ratio:.3g} * {len(measured)})")


def immature_pods(
    usage: ResourceUsage, target: TargetStatus, settings: ControllerSettings
) -> frozenset[str]:
    """Pods whose sample of cpu does not count yet. Memory always counts."""
    if usage.resource != "cpu":
        return frozenset()
    statuses = {pod.name: pod for pod in target.pods}
    return frozenset(
        sample.pod
        for sample in usage.pods
        if sample.pod in statuses and _immature(statuses[sample.pod], sample, usage, settings)
    )


def _immature(
    pod: PodStatus, sample: PodUsage, usage: ResourceUsage, settings: ControllerSettings
) -> bool:
    if pod.started_at is None or pod.ready_changed_at is None:
        return True
    if pod.started_at + settings.cpu_initialization_period > usage.read_at:
        # a whole window has to lie after the last change of readiness
        return not pod.ready or sample.at < pod.ready_changed_at + sample.window
    # long after the start only a pod that has never been ready is left out
    return not pod.ready and (
        pod.started_at + settings.initial_readiness_delay > pod.ready_changed_at
    )


def _assumed(
    ratio: float, target_percent: int, pods: GroupedPods, requests: Mapping[str, int]
) -> dict[str, int]:
    """Usages for pods that have none, so that doubt moves less.

    On the way down a pod without a sample uses all of its request, or the target where that is
    more; on the way up nothing, and neither does one that is not ready.
    """
    if ratio < 1.0:
        full = max(100, target_percent)
        return {pod: numbers.quotient(requests[pod] * full, 100) for pod in pods.missing}
    if ratio > 1.0:
        return dict.fromkeys(pods.missing | pods.unready, 0)
    return {}


def _percent(metrics: Mapping[str, int], requests: Mapping[str, int]) -> int | None:
    """Usage in whole percent of the requests, cut; None: nothing is requested."""
    total = numbers.wrap_int64(sum(milli for pod, milli in metrics.items() if pod in requests))
    requested = numbers.wrap_int64(sum(requests[pod] for pod in metrics if pod in requests))
    if requested == 0:
        return None
    return numbers.wrap_int32(numbers.quotient(numbers.wrap_int64(total * 100), requested))


def _mean_of_known(metrics: Mapping[str, int], requests: Mapping[str, int]) -> int:
    known = [milli for pod, milli in metrics.items() if pod in requests]
    return numbers.quotient(numbers.wrap_int64(sum(known)), len(known))


def _failed(value: TriggerValue, usage: ResourceUsage, error: str) -> Recommendation:
    of = "utilization" if value.metric_type is MetricType.UTILIZATION else "usage"
    kind = "container" if usage.container else "resource"
    return Recommendation(
        metric_name=value.metric_name,
        replicas=None,
        error=f"failed to get {usage.resource} {of}: {error}",
        error_reason=f"FailedGet{usage.kind}Metric",
        error_context=f"failed to get {usage.resource} {kind} metric value: ",
        description=f"{usage.resource} resource",
    )
