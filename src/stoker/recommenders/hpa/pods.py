"""A mean over pods, with rules for those that are not ready or not measured.

What a Pods metric and an AverageValue of cpu or memory have in common.

*Source*: ``calcPlainMetricReplicas`` in ``replica_calculator.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.scaling import numbers
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.records import quick
from stoker.scaling.tolerance import Tolerance


@quick
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
    metrics: Mapping[str, int],
    target_milli: int,
    target: TargetStatus,
    tolerance: Tolerance,
    immature: frozenset[str] = frozenset(),
) -> Proposal | str:
    """The proposal, or why there is none. *metrics*: milli-value a pod.

    *immature* pods have a sample that does not tell anything yet: they count as not ready.
    """
    pods = group_pods(metrics, target, immature)
    if isinstance(pods, str):
        return pods
    ready, unready, missing, measured = pods.ready, pods.unready, pods.missing, pods.measured
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
    moved = replicas_with_doubt(usage_ratio, new_ratio, len(measured), current, tolerance)
    if moved is None:
        return keep
    return Proposal(moved, usage, f"ceil({new_ratio:.3g} * {len(measured)})")


def replicas_with_doubt(
    ratio: float, new_ratio: float, pods: int, current: int, tolerance: Tolerance
) -> int | None:
    """Replicas once pods without a sample have been given one; None: too much doubt to move.

    *ratio* is that of the measured pods alone, *new_ratio* that of all of them.
    """
    if tolerance.covers(new_ratio) or (ratio < 1.0 < new_ratio) or (new_ratio < 1.0 < ratio):
        return None
    replicas = numbers.ceil32(new_ratio * pods, capped=False)
    if (new_ratio < 1.0 and replicas > current) or (new_ratio > 1.0 and replicas < current):
        return None
    return replicas


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


@quick
@dataclass(frozen=True, slots=True)
class GroupedPods:
    """The pods of a target by what is known of them. ``measured``: milli-values that count."""

    ready: int
    unready: set[str]
    missing: set[str]
    measured: dict[str, int]


def group_pods(
    metrics: Mapping[str, int], target: TargetStatus, immature: frozenset[str] = frozenset()
) -> GroupedPods | str:
    """Sort the pods, or say why there is nothing to count with."""
    if not target.pods:
        return "no pods returned by selector while calculating replica count"
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
        elif pod.name in immature:
            unready.add(pod.name)
        else:
            ready += 1
    measured = {k: v for k, v in metrics.items() if k not in unready and k not in ignored}
    if not measured:
        return "did not receive metrics for targeted pods (pods might be unready)"
    return GroupedPods(ready, unready, missing, measured)


def _mean(metrics: dict[str, int]) -> int:
    total = numbers.wrap_int64(sum(metrics.values()))
    return numbers.quotient(total, len(metrics))
