"""The metrics of an HPA in Kubernetes form: ``spec.metrics`` and ``status.currentMetrics``."""

from __future__ import annotations

from typing import Any

from stoker.api.quantities import binary_quantity, quantity
from stoker.api.views import MetricView
from stoker.scaling.spec import HpaMetric, MetricType, ScalingSpec

JsonObject = dict[str, Any]
RESOURCES = ("cpu", "memory")  # KEDA names their metrics so; all others begin with s0-, s1-
_SCALED_OBJECT_LABEL = "scaledobject.keda.sh/name"
_KEYS = {
    MetricType.AVERAGE_VALUE: "averageValue",
    MetricType.VALUE: "value",
    MetricType.UTILIZATION: "averageUtilization",
}


def spec_metrics(spec: ScalingSpec, metrics: tuple[MetricView, ...]) -> list[JsonObject]:
    """``spec.metrics``, in their order."""
    if spec.is_hpa:
        return [_item(t.metric, _wanted(t.metric), "target") for t in spec.triggers if t.metric]
    return [_of_keda(spec, metric, "target") for metric in metrics]


def status_metrics(spec: ScalingSpec, metrics: tuple[MetricView, ...]) -> list[JsonObject]:
    """``status.currentMetrics``: those that have a value."""
    if not spec.is_hpa:
        return [_of_keda(spec, m, "current") for m in metrics if m.current is not None]
    own = (trigger.metric for trigger in spec.triggers)
    return [
        _item(metric, _current(metric, view), "current")
        for metric, view in zip(own, metrics, strict=False)
        if metric is not None and view.current is not None
    ]


def _item(metric: HpaMetric, number: JsonObject, side: str) -> JsonObject:
    """One metric of an HPA that a user wrote."""
    key = metric.type[:1].lower() + metric.type[1:]
    source: JsonObject = {side: number}
    if metric.type in {"Resource", "ContainerResource"}:
        source["name"] = metric.name
        if metric.container:
            source["container"] = metric.container
    else:
        source["metric"] = _identifier(metric)
    if metric.described_object is not None:
        about = metric.described_object
        source["describedObject"] = {"kind": about.kind, "name": about.name}
        if about.api_version:
            source["describedObject"]["apiVersion"] = about.api_version
    return {key: dict(sorted(source.items())), "type": metric.type}


def _identifier(metric: HpaMetric) -> JsonObject:
    found: JsonObject = {"name": metric.name}
    if metric.match_labels is not None:
        selector: JsonObject = {}
        if metric.match_expressions:
            selector["matchExpressions"] = [
                {"key": key, "operator": operator, "values": list(values)}
                for key, operator, values in metric.match_expressions
            ]
        if metric.match_labels:
            selector["matchLabels"] = dict(sorted(metric.match_labels.items()))
        found["selector"] = selector
    return found


def _wanted(metric: HpaMetric) -> JsonObject:
    key = _KEYS[metric.target_type]
    number: str | int = metric.target_text
    if metric.target_type is MetricType.UTILIZATION:
        number = int(metric.target_text)
    return {key: number, "type": str(metric.target_type)}


def _current(metric: HpaMetric, view: MetricView) -> JsonObject:
    value = quantity(view.current or 0.0)
    if metric.target_type is not MetricType.UTILIZATION:
        return {_KEYS[metric.target_type]: value}
    percent = {} if view.utilization is None else {"averageUtilization": view.utilization}
    return {**percent, "averageValue": value}


def _of_keda(spec: ScalingSpec, metric: MetricView, side: str) -> JsonObject:
    """A metric of the HPA that KEDA makes: its ``target`` or its ``current`` value."""
    if metric.name in RESOURCES:
        return _resource_metric(metric, side)
    key = "averageValue" if metric.type is MetricType.AVERAGE_VALUE else "value"
    value = metric.target if side == "target" else (metric.current or 0.0)
    number: JsonObject = {key: quantity(value)}
    if side == "target":
        number["type"] = str(metric.type)
    selector = {"matchLabels": {_SCALED_OBJECT_LABEL: spec.name}}
    return {
        "external": {side: number, "metric": {"name": metric.name, "selector": selector}},
        "type": "External",
    }


def _resource_metric(metric: MetricView, side: str) -> JsonObject:
    number: JsonObject
    if metric.type is not MetricType.UTILIZATION:
        if side == "current":
            text = quantity(metric.current or 0.0)
        else:
            text = (
                binary_quantity(metric.target)
                if metric.name == "memory"
                else quantity(metric.target)
            )
        number = {"averageValue": text}
    elif side == "target":
        number = {"averageUtilization": int(metric.target)}
    else:
        used = None if metric.current is None else quantity(metric.current)
        both = {"averageUtilization": metric.utilization, "averageValue": used}
        number = {key: value for key, value in both.items() if value is not None}
    if side == "target":
        number["type"] = str(metric.type)
    return {"resource": {side: number, "name": metric.name}, "type": "Resource"}
