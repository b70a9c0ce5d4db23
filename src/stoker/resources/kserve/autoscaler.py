"""The HorizontalPodAutoscaler of an InferenceService with ``autoscalerClass: hpa``, the default.

Source: ``hpa_reconciler.go`` of KServe 0.20: cpu and memory alone, never zero, an empty behavior.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stoker.resources.document import Manifest, Path
from stoker.resources.kserve.inferenceservice import Predictor
from stoker.resources.kserve.podtemplate import Component
from stoker.resources.kserve.scaling import DEFAULT_CPU, least_replicas, metrics_of
from stoker.resources.translation import translated

_PREDICTOR: Final[Path] = ("spec", "predictor")
_SCALING: Final[Path] = (*_PREDICTOR, "autoScaling")


def render_autoscaler(component: Component) -> Manifest:
    """The HorizontalPodAutoscaler of ``autoscalerClass: hpa``, on cpu or memory alone."""
    predictor = component.predictor
    least = max(least_replicas(predictor), 1)
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": component.name},
        "minReplicas": least,
        "maxReplicas": max(predictor.max_replicas or 0, least),
        "metrics": list(_resource_metrics(predictor)),
        "behavior": {},
    }
    content = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": component.metadata(),
        "spec": spec,
    }
    table: tuple[tuple[Path, Path], ...] = (
        (("metadata", "name"), ("metadata", "name")),
        (("metadata", "labels"), ("metadata", "labels")),
        (("metadata", "annotations"), ("metadata", "annotations")),
        (("spec", "minReplicas"), (*_PREDICTOR, "minReplicas")),
        (("spec", "maxReplicas"), (*_PREDICTOR, "maxReplicas")),
        (("spec", "metrics"), (*_SCALING, "metrics")),
        (("spec", "behavior"), (*_SCALING, "behavior")),
    )
    return translated(component.manifest, content, table, _PREDICTOR)


def _resource_metrics(predictor: Predictor) -> Iterator[dict[str, Any]]:
    if predictor.auto_scaling is None:
        name, target = predictor.scale_metric or "cpu", predictor.scale_target
        if name == "cpu" or target is not None:
            percent = DEFAULT_CPU if target is None else target
            yield _resource(name, {"type": "Utilization", "averageUtilization": percent})
        return
    for item in metrics_of(predictor):
        if item.resource is None:
            continue
        wanted = item.resource.target
        if wanted.type == "AverageValue" and item.resource.name == "memory":
            yield _resource(
                "memory", {"type": "AverageValue", "averageValue": wanted.average_value}
            )
        else:
            percent = wanted.average_utilization or DEFAULT_CPU
            yield _resource(
                item.resource.name, {"type": "Utilization", "averageUtilization": percent}
            )


def _resource(name: str, target: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "target": target}}
