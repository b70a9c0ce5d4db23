"""From a Deployment and what scales it to an InferenceService.

The pod is kept as it is, in a predictor with a container of its own. Triggers that
``autoScaling.metrics`` has words for are written there; with others the ScaledObject stays, beside
a service with ``autoscalerClass: external``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.resources.bundle import Application, Bundle
from stoker.resources.kserve import names
from stoker.resources.kserve.inferenceservice import API_VERSION
from stoker.scaling.spec import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    MetricType,
    ScalingSpec,
    TriggerSpec,
)

_PROMETHEUS = frozenset({"serverAddress", "query", "threshold", "namespace", "authModes"})
_NOTHING_LOST = frozenset({"metricName"})  # KEDA takes no notice of it


@dataclass(slots=True)
class Exported:
    """Services with what stands beside them, and what changes: a sentence each."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def inference_services(bundle: Bundle) -> Exported:
    """The InferenceServices of all applications; those of the files stay what they are."""
    done = Exported()
    for application in bundle.applications:
        translation = application.translation
        if translation is not None and translation.source.kind == "InferenceService":
            done.objects.append(dict(translation.source.content))
            continue
        done.objects.extend(_service(application, done.notes))
    for one in bundle.unattached:
        done.notes.append(
            f"ScaledObject {one.scaling.name}: {one.scaling.target} is not in these files"
        )
    return done


def _service(application: Application, notes: list[str]) -> Iterator[dict[str, Any]]:
    deployment = application.deployment.content
    name, scaling = application.workload.name, application.scaling
    metadata = deployment["metadata"]
    pod = dict(deployment["spec"]["template"]["spec"])
    about = f"Deployment {name}"
    notes.append(f"{about}: KServe names it {names.predictor_name(name)}")
    reasons = list(_inexpressible(scaling)) if scaling else []
    annotations = dict(metadata.get("annotations") or {})
    annotations[names.DEPLOYMENT_MODE] = "Standard"
    predictor: dict[str, Any] = {}
    if scaling is None:
        annotations[names.AUTOSCALER_CLASS] = "none"
        predictor["minReplicas"] = application.workload.replicas or 1
    elif reasons:
        annotations[names.AUTOSCALER_CLASS] = "external"
        told = ", ".join(reasons)
        notes.append(f"ScaledObject {scaling.name} stays beside the service: {told}")
    else:
        annotations[names.AUTOSCALER_CLASS] = "keda"
        predictor |= _scaling(scaling)
        notes.extend(f"ScaledObject {scaling.name}: {text}" for text in _changed(scaling))
    predictor["containers"] = _containers(pod, application)
    predictor |= {key: value for key, value in pod.items() if key != "containers"}
    service_metadata: dict[str, Any] = {"name": name}
    if metadata.get("namespace"):
        service_metadata["namespace"] = metadata["namespace"]
    template = deployment["spec"]["template"].get("metadata") or {}
    if template.get("labels"):
        service_metadata["labels"] = template["labels"]
    service_metadata["annotations"] = {**(template.get("annotations") or {}), **annotations}
    yield {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": service_metadata,
        "spec": {"predictor": predictor},
    }
    if reasons and application.scaled_object is not None:
        yield _retargeted(application.scaled_object.content, names.predictor_name(name))


def _containers(pod: Mapping[str, Any], application: Application) -> list[dict[str, Any]]:
    """The model server first, under the name that KServe gives it."""
    containers = [dict(one) for one in pod["containers"]]
    server = next(
        (one for one in containers if one.get("name") == application.workload.container),
        containers[0],
    )
    others = [one for one in containers if one is not server]
    return [{**server, "name": names.CONTAINER}, *others]


def _retargeted(scaled_object: Mapping[str, Any], name: str) -> dict[str, Any]:
    spec = scaled_object["spec"]
    target = {**spec["scaleTargetRef"], "name": name}
    return {**scaled_object, "spec": {**spec, "scaleTargetRef": target}}


def _inexpressible(scaling: ScalingSpec) -> Iterator[str]:
    """What of a ScaledObject ``autoScaling`` has no words for."""
    if scaling.modifiers is not None:
        yield "it has a formula"
    if scaling.fallback is not None:
        yield "it has a fallback"
    if scaling.idle_replica_count is not None:
        yield "it has an idleReplicaCount"
    if scaling.behavior is not None and _has_policies(scaling):
        yield "KServe drops the policies of its behavior"
    for trigger in scaling.triggers:
        yield from _inexpressible_trigger(trigger)


def _has_policies(scaling: ScalingSpec) -> bool:
    """Whether anything but the windows differs from what KServe's ScaledObject gets."""
    behavior = scaling.behavior
    if behavior is None:
        return False
    pairs = ((behavior.scale_up, DEFAULT_SCALE_UP), (behavior.scale_down, DEFAULT_SCALE_DOWN))
    return any(
        (mine.policies, mine.select_policy, mine.tolerance)
        != (default.policies, default.select_policy, default.tolerance)
        for mine, default in pairs
    )


def _inexpressible_trigger(trigger: TriggerSpec) -> Iterator[str]:
    if trigger.type in {"cpu", "memory"}:
        return
    if trigger.type != "prometheus":
        yield f"it has a trigger of type {trigger.type}"
        return
    more = sorted(set(trigger.metadata) - _PROMETHEUS - _NOTHING_LOST)
    if more:
        yield f"its trigger has {', '.join(more)}"
    if trigger.metric_type is not MetricType.AVERAGE_VALUE:
        yield f"KServe ignores the type {trigger.metric_type} of a query's target"


def _changed(scaling: ScalingSpec) -> Iterator[str]:
    """What is otherwise in KServe's ScaledObject than in this one."""
    if scaling.polling_interval != 30:
        yield f"pollingInterval {scaling.polling_interval:g} becomes 30: KServe sets none"
    if scaling.cooldown_period != 300 and scaling.min_replicas == 0:
        yield f"cooldownPeriod {scaling.cooldown_period:g} becomes 300: KServe sets none"
    if scaling.max_replica_count is None:
        yield "maxReplicaCount was left out, which is 100"


def _scaling(scaling: ScalingSpec) -> dict[str, Any]:
    found: dict[str, Any] = {
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "autoScaling": {"metrics": [_metric(trigger) for trigger in scaling.triggers]},
    }
    if scaling.behavior is not None:
        windows = {
            "scaleUp": scaling.behavior.scale_up.stabilization_window_seconds,
            "scaleDown": scaling.behavior.scale_down.stabilization_window_seconds,
        }
        found["autoScaling"]["behavior"] = {
            direction: {"stabilizationWindowSeconds": window}
            for direction, window in windows.items()
            if window is not None
        }
    return found


def _metric(trigger: TriggerSpec) -> dict[str, Any]:
    if trigger.type in {"cpu", "memory"}:
        return {
            "type": "Resource",
            "resource": {"name": trigger.type, "target": _resource_target(trigger)},
        }
    metadata = trigger.metadata
    metric = {
        "backend": "prometheus",
        "serverAddress": metadata.get("serverAddress", ""),
        "query": metadata.get("query", ""),
    }
    if metadata.get("namespace"):
        metric["namespace"] = metadata["namespace"]
    threshold = metadata.get("threshold", "0")
    external: dict[str, Any] = {
        "metric": metric,
        "target": {"type": "AverageValue", "averageValue": threshold, "value": threshold},
    }
    if trigger.authentication_ref is not None:
        reference: dict[str, Any] = {"authenticationRef": {"name": trigger.authentication_ref}}
        if metadata.get("authModes"):
            reference["authModes"] = metadata["authModes"]
        external["authenticationRef"] = reference
    return {"type": "External", "external": external}


def _resource_target(trigger: TriggerSpec) -> dict[str, Any]:
    value = trigger.metadata.get("value", "0")
    kind = trigger.metric_type
    if kind is MetricType.UTILIZATION:
        return {"type": "Utilization", "averageUtilization": int(value)}
    return {"type": "AverageValue", "averageValue": value}
