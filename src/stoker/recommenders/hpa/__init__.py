"""The HPA's replica calculator: one recommendation a metric.

*Source*: ``pkg/controller/podautoscaler/replica_calculator.go`` of Kubernetes 1.36; older versions
where :class:`ControllerSettings` says so. Nothing is clamped here: limits are the decision's.
"""

from __future__ import annotations

from stoker.recommenders.hpa.external import external_average, external_value, of_external
from stoker.recommenders.hpa.objects import of_object
from stoker.recommenders.hpa.pods import Proposal, of_pods, pods_average
from stoker.recommenders.hpa.resource import of_resource, utilization
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.tolerance import Tolerance

__all__ = [
    "Proposal",
    "external_average",
    "external_value",
    "of_external",
    "of_object",
    "of_pods",
    "of_resource",
    "pods_average",
    "recommend",
    "utilization",
]


def recommend(
    spec: ScalingSpec,
    values: tuple[TriggerValue, ...],
    target: TargetStatus,
    settings: ControllerSettings,
) -> tuple[Recommendation, ...]:
    """One recommendation a metric, in the order of the HPA's metrics."""
    tolerance = Tolerance.of(spec, settings)
    return tuple([_of(spec, value, target, tolerance, settings) for value in values])


def _of(
    spec: ScalingSpec,
    value: TriggerValue,
    target: TargetStatus,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Recommendation:
    if value.resource is not None:
        return of_resource(value, value.resource, target, tolerance, settings)
    if value.per_pod_milli is not None:
        return of_pods(value, target, tolerance)
    if value.custom is not None and value.custom.kind == "Object":
        return of_object(spec, value, value.custom, target, tolerance, settings)
    return of_external(spec, value, target, tolerance, settings)
