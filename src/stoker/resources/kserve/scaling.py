"""The ScaledObject of an InferenceService with ``autoscalerClass: keda``.

Source: ``keda_reconciler.go`` of KServe 0.20. It takes no notice of ``target.type`` of a query and
of everything in ``behavior`` but the windows. Here they count, unless KServe is to be reproduced;
what is ignored in a cluster is told by :mod:`stoker.resources.kserve.notices`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.resources.document import Manifest, Path
from stoker.resources.kserve.config import KServeConfig
from stoker.resources.kserve.inferenceservice import MetricsSpec, MetricTarget, Predictor
from stoker.resources.kserve.podtemplate import Component
from stoker.resources.translation import translated

DEFAULT_CPU: Final = 80  # percent
KEDA: Final = (
    "pollingInterval",
    "cooldownPeriod",
    "initialCooldownPeriod",
    "idleReplicaCount",
    "fallback",
    "advanced",
)
_PREDICTOR: Final[Path] = ("spec", "predictor")
_SCALING: Final[Path] = (*_PREDICTOR, "autoScaling")
_BEHAVIOR: Final[Path] = (*_SCALING, "behavior")


@dataclass(frozen=True, slots=True)
class Reconciler:
    """How faithfully, and with which configuration, KServe is followed."""

    config: KServeConfig
    as_kserve: bool = False  # ignore what it ignores


def least_replicas(predictor: Predictor) -> int:
    """``minReplicas``, 1 when it was left out."""
    return 1 if predictor.min_replicas is None else predictor.min_replicas


def most_replicas(predictor: Predictor) -> int:
    """``maxReplicas``, never below the minimum; left out it is the minimum."""
    return max(predictor.max_replicas or 0, least_replicas(predictor))


def render_scaled_object(component: Component, how: Reconciler) -> Manifest:
    """The ScaledObject of ``autoscalerClass: keda``."""
    predictor = component.predictor
    spec = {
        "scaleTargetRef": {"name": component.name},
        "minReplicaCount": least_replicas(predictor),
        "maxReplicaCount": most_replicas(predictor),
        **_settings(component, how),
        "triggers": [_trigger(item, component, how) for item in metrics_of(predictor)],
    }
    content = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": component.metadata(),
        "spec": spec,
    }
    return translated(component.manifest, content, _table(component), _PREDICTOR)


def metrics_of(predictor: Predictor) -> list[MetricsSpec]:
    """``autoScaling.metrics``, empty when it was left out."""
    scaling = predictor.auto_scaling
    return list(scaling.metrics or ()) if scaling else []


def _settings(component: Component, how: Reconciler) -> dict[str, Any]:
    """``autoScaling.keda``, and ``behavior`` where that does not say it."""
    scaling = component.written.get("autoScaling") or {}
    written = {key: value for key, value in (scaling.get("keda") or {}).items() if key in KEDA}
    own = written.get("advanced")
    advanced = dict(own) if isinstance(own, Mapping) else {}
    config = advanced.get("horizontalPodAutoscalerConfig")
    merged = dict(config) if isinstance(config, Mapping) else {}
    merged.setdefault("behavior", _behavior(component, how))
    advanced["horizontalPodAutoscalerConfig"] = merged
    return {**written, "advanced": advanced}


def _behavior(component: Component, how: Reconciler) -> dict[str, Any]:
    """Both directions have a window: KServe's configuration has one for those that have none."""
    scaling = component.written.get("autoScaling") or {}
    written = scaling.get("behavior") or {}
    result: dict[str, Any] = {}
    for direction, default in (
        ("scaleDown", how.config.scale_down_window),
        ("scaleUp", how.config.scale_up_window),
    ):
        rules = written.get(direction) or {}
        window = rules.get("stabilizationWindowSeconds")
        kept = {} if how.as_kserve else {key: value for key, value in rules.items() if value}
        result[direction] = {
            **kept,
            "stabilizationWindowSeconds": default if window is None else window,
        }
    return result


def _trigger(item: MetricsSpec, component: Component, how: Reconciler) -> dict[str, Any]:
    if item.type == "Resource" and item.resource is not None:
        return _resource_trigger(item)
    if item.type == "External" and item.external is not None:
        return _query_trigger(item, how)
    return _pod_trigger(item, component, how)


def _resource_trigger(item: MetricsSpec) -> dict[str, Any]:
    assert item.resource is not None  # noqa: S101 - the caller has looked
    name, target = item.resource.name, item.resource.target
    value = target.value
    if target.type == "AverageValue":
        value = target.average_value
    elif target.type == "Utilization":
        percent = target.average_utilization
        if percent is None and name == "cpu":
            percent = DEFAULT_CPU
        value = None if percent is None else str(percent)
    metric_type = {"metricType": target.type} if target.type else {}
    return {"type": name, **_name(item), **metric_type, "metadata": {"value": value or "0"}}


def _name(item: MetricsSpec) -> dict[str, str]:
    return {"name": item.name} if item.name else {}


def _query_trigger(item: MetricsSpec, how: Reconciler) -> dict[str, Any]:
    assert item.external is not None  # noqa: S101 - the caller has looked
    metric, reference = item.external.metric, item.external.authentication_ref
    metric_type, threshold = _target(item.external.target, how)
    metadata = {
        "serverAddress": metric.server_address,
        "query": metric.query,
        "threshold": threshold,
    }
    if metric.namespace and metric.backend == "prometheus":
        metadata["namespace"] = metric.namespace
    backend = metric.backend or ""
    trigger = {"type": backend, **_name(item), **metric_type, "metadata": metadata}
    if reference is not None:
        if reference.auth_modes:
            metadata["authModes"] = reference.auth_modes
        if reference.authentication_ref.name:
            trigger["authenticationRef"] = {"name": reference.authentication_ref.name}
    return trigger


def _pod_trigger(item: MetricsSpec, component: Component, how: Reconciler) -> dict[str, Any]:
    """An external scaler: the add-on that collectors push to."""
    assert item.podmetric is not None  # noqa: S101 - what is not Resource or External
    metric = item.podmetric.metric
    metric_type, target = _target(item.podmetric.target, how)
    labels = f'namespace="{component.namespace}", deployment="{component.name}"'
    metadata = {
        "scalerAddress": metric.server_address or how.config.metric_scaler,
        "metricQuery": f"sum({metric.query}{{{labels}}})",
        "targetValue": target,
    }
    if metric.operation_over_time:
        metadata["operationOverTime"] = metric.operation_over_time
    return {"type": "external", **_name(item), **metric_type, "metadata": metadata}


def _target(target: MetricTarget, how: Reconciler) -> tuple[dict[str, str], str]:
    """``metricType``, and the threshold of a query. KServe takes ``value`` and no type."""
    value = target.value or "0"
    if how.as_kserve or target.type is None or target.type == "Utilization":
        return {}, value
    if target.type == "AverageValue":
        value = target.average_value or value
    return {"metricType": target.type}, value


def _has_own_behavior(component: Component) -> bool:
    keda = (component.written.get("autoScaling") or {}).get("keda") or {}
    config = (keda.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    return "behavior" in config


def _table(component: Component) -> list[tuple[Path, Path]]:
    """Where in the InferenceService the parts of the ScaledObject come from."""
    predictor = component.predictor
    table: list[tuple[Path, Path]] = [
        (("metadata", "name"), ("metadata", "name")),
        (("metadata", "labels"), ("metadata", "labels")),
        (("metadata", "annotations"), ("metadata", "annotations")),
        (("spec", "minReplicaCount"), (*_PREDICTOR, "minReplicas")),
        (("spec", "maxReplicaCount"), (*_PREDICTOR, "maxReplicas")),
        (("spec", "triggers"), (*_SCALING, "metrics")),
        (("spec", "advanced"), (*_SCALING, "keda", "advanced")),
        *(((("spec", key), (*_SCALING, "keda", key))) for key in KEDA if key != "advanced"),
    ]
    if not _has_own_behavior(component):
        behavior: Path = ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior")
        table.append((behavior, _BEHAVIOR))
    for index, item in enumerate(metrics_of(predictor)):
        trigger: Path = ("spec", "triggers", index)
        metric: Path = (*_SCALING, "metrics", index)
        if item.resource is not None:
            source: Path = (*metric, "resource")
            of_target = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}
            target: Path = (
                *source,
                "target",
                of_target.get(item.resource.target.type or "", "value"),
            )
            rest: tuple[tuple[Path, Path], ...] = (
                (("type",), (*source, "name")),
                (("metadata", "value"), target),
            )
        else:
            source = (*metric, "external" if item.external else "podmetric")
            rest = (
                (("type",), (*source, "metric", "backend")),
                (("metadata",), (*source, "metric")),
                (("metadata", "threshold"), (*source, "target", "value")),
                (("metadata", "targetValue"), (*source, "target", "value")),
                (("metadata", "metricQuery"), (*source, "metric", "query")),
                (("metadata", "scalerAddress"), (*source, "metric", "serverAddress")),
                (("metadata", "authModes"), (*source, "authenticationRef", "authModes")),
                (
                    ("authenticationRef",),
                    (*source, "authenticationRef", "authenticationRef"),
                ),
            )
        table += [(trigger, source), ((*trigger, "metricType"), (*source, "target", "type"))]
        table += [((*trigger, *path), written) for path, written in rest]
    return table
