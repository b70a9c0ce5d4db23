"""A Pods metric: the mean over pods, with rules for those that are not ready or not measured.

*Source*: ``calcPlainMetricReplicas`` in ``replica_calculator.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.scaling import numbers
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.tolerance import Tolerance


@dataclass(frozen=True, slots=True)
class Proposal:
    """Replicas that one metric would want, and what ``status.currentMetrics`` shows of it."""

    replicas: int
    usage_milli: int
    formula: str


def of_pods(value: TriggerValue, target: TargetStatus, tolerance: Tolerance) -> Recommendation:
    """The recommendation for one Pods metric, or its error in the controller's words."""
    proposal: Proposal | str
    if value.error is not None:
        proposal = (
            f"unable to get metric {value.metric_name}: "
            f"unable to fetch metrics from custom metrics API: {value.error}"
        )
    else:
        metrics = dict(value.per_pod_milli or ())
        target_milli = numbers.milli_of_target(value.target)
        proposal = pods_average(metrics, target_milli, target, tolerance)
    description = f"pods metric {value.metric_name}"
    if isinstance(proposal, str):
        return Recommendation(
            metric_name=value.metric_name,
            replicas=None,
            error=proposal,
            error_reason="FailedGetPodsMetric",
            error_context="failed to get pods metric value: ",
            description=description,
        )
    return Recommendation(
        metric_name=value.metric_name,
        replicas=proposal.replicas,
        formula=proposal.formula,
        description=description,
        current_milli=proposal.usage_milli,
    )


def pods_average(
    metrics: dict[str, int], target_milli: int, target: TargetStatus, tolerance: Tolerance
) -> Proposal | str:
    """The proposal, or why there is none. *metrics*: milli-value a pod."""
    if not target.pods:
        return "no pods returned by selector while calculating replica count"
    ready, unready, missing, ignored = _group(metrics, target)
    measured = {k: v for k, v in metrics.items() if k not in unready and k not in ignored}
    if not measured:
        return "did not receive metrics for targeted pods (pods might be unready)"
    usage = _mean(measured)
    usage_ratio = numbers.ratio(float(usage), float(target_milli))
    current = target.spec_replicas
    shown = f"{numbers.plain(usage / 1000)} / {numbers.plain(target_milli / 1000)}"
    keep = Proposal(current, usage, f"{shown} = {usage_ratio:.3g}, {tolerance}")
    scale_up_with_unready = bool(unready) and usage_ratio > 1.0
    if not scale_up_with_unready and not missing:
        if tolerance.covers(usage_ratio):
            return keep
        replicas = numbers.ceil32(usage_ratio * ready, capped=False)
        return Proposal(replicas, usage, f"ceil({shown} * {ready})")

    measured.update(_assumed(usage_ratio, target_milli, missing, unready))
    new_ratio = numbers.ratio(float(_mean(measured)), float(target_milli))
    replicas = numbers.ceil32(new_ratio * len(measured), capped=False)
    if (
        tolerance.covers(new_ratio)
        or _opposite(usage_ratio, new_ratio)
        or (new_ratio < 1.0 and replicas > current)
        or (new_ratio > 1.0 and replicas < current)
    ):
        return keep
    return Proposal(replicas, usage, f"ceil({new_ratio:.3g} * {len(measured)})")


def _assumed(
    usage_ratio: float, target_milli: int, missing: set[str], unready: set[str]
) -> dict[str, int]:
    """Values for the pods that have none, so that doubt moves less.

    On the way down a pod without a sample counts as exactly at its target, on the way up as idle;
    a pod that is not ready counts as idle on the way up.
    """
    if usage_ratio < 1.0:
        return dict.fromkeys(missing, target_milli)
    if usage_ratio > 1.0:
        return dict.fromkeys(missing | unready, 0)
    return {}


def _group(
    metrics: dict[str, int], target: TargetStatus
) -> tuple[int, set[str], set[str], set[str]]:
    ready = 0
    unready: set[str] = set()
    missing: set[str] = set()
    ignored: set[str] = set()
    for pod in target.pods:
        if pod.terminating or pod.phase == "Failed":
            ignored.add(pod.name)
        elif pod.phase == "Pending":
            unready.add(pod.name)
        elif pod.name not in metrics:
            missing.add(pod.name)
        else:
            ready += 1
    return ready, unready, missing, ignored


def _mean(metrics: dict[str, int]) -> int:
    total = numbers.wrap_int64(sum(metrics.values()))
    # Go's integer division goes toward zero
    return total // len(metrics) if total >= 0 else -(-total // len(metrics))


def _opposite(one: float, other: float) -> bool:
    return (one < 1.0 < other) or (other < 1.0 < one)
