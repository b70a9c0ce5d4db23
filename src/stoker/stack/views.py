"""From what a run remembers to the records that the control API shows."""

from __future__ import annotations

from stoker.api.hpametrics import RESOURCES
from stoker.api.views import (
    ConditionView,
    DeploymentView,
    HpaView,
    MetricView,
    ScaledObjectView,
    TriggerHealth,
)
from stoker.scaling.decision import Condition
from stoker.scaling.spec import MetricType
from stoker.scaling.state import MetricStatus
from stoker.stack.applications import RunningApplication
from stoker.stack.autoscaling import Autoscaling


def scaled_object_view(autoscaling: Autoscaling) -> ScaledObjectView:
    """The ScaledObject as KEDA would show it."""
    state, spec = autoscaling.controller.state, autoscaling.controller.spec
    names = tuple(m.metric_name for m in autoscaling.metrics if m.metric_name not in RESOURCES)
    return ScaledObjectView(
        spec=spec,
        created_at=state.created_at,
        conditions=tuple(_condition(c) for c in state.conditions),
        external_metric_names=names,
        last_active=state.last_active,
        health={h.metric_name: TriggerHealth(h.number_of_failures, h.status) for h in state.health},
        activity={name: name in state.active_metrics for name in names},
        original_replicas=state.original_replicas,
    )


def hpa_view(autoscaling: Autoscaling) -> HpaView | None:
    """The HPA that KEDA made, None while it has none."""
    hpa = autoscaling.controller.state.hpa
    if hpa is None:
        return None
    return HpaView(
        spec=autoscaling.controller.spec,
        created_at=hpa.created_at,
        metrics=tuple(_metric(m) for m in hpa.current_metrics or autoscaling.metrics),
        conditions=tuple(_condition(c, hpa.transition_of(c.type)) for c in hpa.conditions),
        current_replicas=hpa.current_replicas,
        desired_replicas=hpa.desired_replicas,
        last_scale_time=hpa.last_scale_time,
    )


def deployment_view(application: RunningApplication) -> DeploymentView:
    """The Deployment and its pods."""
    return DeploymentView(
        workload=application.workload,
        created_at=application.created_at,
        replicas=application.deployment.status().spec_replicas,
        pods=application.deployment.pods(),
    )


def _condition(condition: Condition, since: float | None = None) -> ConditionView:
    return ConditionView(
        condition.type, condition.status, condition.reason, condition.message, since
    )


def _metric(metric: MetricStatus) -> MetricView:
    current = metric.current_milli
    return MetricView(
        name=metric.metric_name,
        target=metric.target_milli / 1000,
        type=MetricType(metric.metric_type),
        current=None if current is None else current / 1000,
        utilization=metric.current_utilization,
    )
