"""An Object metric: one number about one object, such as a Service or a Namespace.

*Source*: ``GetObjectMetricReplicas`` and ``GetObjectPerPodMetricReplicas`` in
``replica_calculator.go`` of Kubernetes 1.36. They count as those of External metrics do.
"""

from __future__ import annotations

from stoker.recommenders.hpa.external import external_average, external_value
from stoker.recommenders.hpa.pods import Proposal
from stoker.scaling import numbers
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import CustomMetric, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import MetricType, ScalingSpec
from stoker.scaling.tolerance import Tolerance


def of_object(
    spec: ScalingSpec,
    value: TriggerValue,
    metric: CustomMetric,
    target: TargetStatus,
    tolerance: Tolerance,
    settings: ControllerSettings,
) -> Recommendation:
    """The recommendation for one Object metric, or its error in the controller's words."""
    kind, name = metric.described_object
    by_value = value.metric_type is MetricType.VALUE
    proposal: Proposal | str
    if value.error is not None or not value.milli:
        cause = value.error or "no metrics returned from custom metrics API"
        # the words stand in the controller in this order, as if the object were a folder
        proposal = (
            f"unable to get metric {value.metric_name}: {kind} on {spec.namespace} {name}/"
            f"unable to fetch metrics from custom metrics API: {cause}"
        )
    else:
        milli = numbers.milli_of_target(value.target)
        if by_value:
            proposal = external_value(value.milli, milli, target, tolerance, settings)
        else:
            proposal = external_average(value.milli, milli, target.replicas, tolerance, settings)
    # under AverageValue the controller calls it an external metric
    description = f"{kind} metric {value.metric_name}"
    if not by_value:
        description = f"external metric {value.metric_name}({metric.selector})"
    if isinstance(proposal, str):
        return Recommendation(
            metric_name=value.metric_name,
            replicas=None,
            error=proposal,
            error_reason="FailedGetObjectMetric",
            error_context="failed to get object metric value: ",
            description=description,
        )
    return Recommendation(
        metric_name=value.metric_name,
        replicas=proposal.replicas,
        formula=proposal.formula,
        description=description,
        current_milli=proposal.usage_milli,
    )
