"""From Stoker's records to objects in Kubernetes form: ScaledObject and HPA.

Keys and their values are those that kube-apiserver 1.36 and KEDA 2.20 store for the same intent.
Deployments, pods and events are in :mod:`stoker.api.workloads`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from stoker.api.hpametrics import spec_metrics, status_metrics
from stoker.api.kinds import HPA, SCALED_OBJECT, Kind
from stoker.api.quantities import quantity
from stoker.api.views import ConditionView, HpaView, ScaledObjectView
from stoker.clock import rfc3339
from stoker.scaling.annotations import effective_behavior
from stoker.scaling.spec import (
    Behavior,
    MetricType,
    ScaleTargetRef,
    ScalingRules,
    ScalingSpec,
    TriggerSpec,
)

JsonObject = dict[str, Any]
_UIDS = uuid.UUID("8f5a1f0e-6f0c-4d1a-9a54-0c8e2f1b7d11")
_SCALED_OBJECT_LABEL = "scaledobject.keda.sh/name"
KEDA_VERSION = "2.20.2"  # whose behaviour and labels these objects show


def uid(kind: Kind, namespace: str, name: str, created_at: float) -> str:
    """A UID that is the same on every look at the same object."""
    return str(uuid.uuid5(_UIDS, f"{kind.resource}/{namespace}/{name}/{created_at:.6f}"))


def metadata(
    kind: Kind,
    namespace: str,
    name: str,
    created_at: float,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **more: Any,
) -> JsonObject:
    """``metadata`` with what is not empty, its keys in order."""
    found: JsonObject = {
        "name": name,
        "namespace": namespace,
        "uid": uid(kind, namespace, name, created_at),
        "creationTimestamp": rfc3339(created_at),
        "labels": dict(sorted((labels or {}).items())),
        "annotations": dict(sorted((annotations or {}).items())),
        **more,
    }
    return {key: found[key] for key in sorted(found) if found[key] not in ({}, None, "")}


def scaled_object(view: ScaledObjectView) -> JsonObject:
    """``keda.sh/v1alpha1`` ScaledObject."""
    spec = view.spec
    annotations = spec.annotations if view.annotations is None else view.annotations
    return {
        "apiVersion": SCALED_OBJECT.api_version,
        "kind": SCALED_OBJECT.kind,
        "metadata": metadata(
            SCALED_OBJECT,
            spec.namespace,
            spec.name,
            view.created_at,
            labels={**spec.labels, _SCALED_OBJECT_LABEL: spec.name},
            annotations=annotations,
            finalizers=["finalizer.keda.sh"],
            generation=view.generation,
        ),
        "spec": _scaled_object_spec(spec),
        "status": _scaled_object_status(view),
    }


def _scaled_object_spec(spec: ScalingSpec) -> JsonObject:
    fallback = spec.fallback
    return _given(
        advanced=_advanced(spec) or None,
        cooldownPeriod=_number(spec.cooldown_period),
        fallback=None
        if fallback is None
        else {
            "behavior": fallback.behavior,
            "failureThreshold": fallback.failure_threshold,
            "replicas": fallback.replicas,
        },
        idleReplicaCount=spec.idle_replica_count,
        initialCooldownPeriod=_number(spec.initial_cooldown_period) or None,
        maxReplicaCount=spec.max_replica_count,
        minReplicaCount=spec.min_replica_count,
        pollingInterval=_number(spec.polling_interval),
        scaleTargetRef=_target_ref(spec.target),
        triggers=[_trigger(trigger) for trigger in spec.triggers],
    )


def _advanced(spec: ScalingSpec) -> JsonObject:
    modifiers = spec.modifiers
    hpa_config = _given(name=spec.horizontal_pod_autoscaler_name, behavior=_behavior(spec.behavior))
    return _given(
        horizontalPodAutoscalerConfig=hpa_config or None,
        restoreToOriginalReplicaCount=spec.restore_to_original_replica_count or None,
        scalingModifiers=None
        if modifiers is None
        else _given(
            activationTarget=_text(modifiers.activation_target)
            if modifiers.activation_target
            else None,
            formula=modifiers.formula,
            metricType=str(modifiers.metric_type),
            target=modifiers.target_text or _text(modifiers.target),
        ),
    )


def _target_ref(target: ScaleTargetRef) -> JsonObject:
    """``scaleTargetRef`` as most people write it: a Deployment is left out."""
    if (target.api_version, target.kind) == ("apps/v1", "Deployment"):
        return {"name": target.name}
    return {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}


def _trigger(trigger: TriggerSpec) -> JsonObject:
    reference = None
    if trigger.authentication_ref is not None:
        kind = trigger.authentication_kind
        reference = _given(
            kind=None if kind == "TriggerAuthentication" else kind, name=trigger.authentication_ref
        )
    average = trigger.metric_type is MetricType.AVERAGE_VALUE
    return _given(
        authenticationRef=reference,
        metadata=dict(sorted(trigger.metadata.items())),
        metricType=None if average else str(trigger.metric_type),
        name=trigger.name or None,
        type=trigger.type,
        useCachedMetrics=trigger.use_cached_metrics or None,
    )


def _scaled_object_status(view: ScaledObjectView) -> JsonObject:
    spec = view.spec
    group, _, version = spec.target.api_version.rpartition("/")
    authentications = {t.authentication_ref for t in spec.triggers if t.authentication_ref}
    return _given(
        authenticationsTypes=",".join(sorted(authentications)),
        compositeScalerName="composite-metric" if spec.modifiers else None,
        conditions=[_condition(condition) for condition in view.conditions],
        externalMetricNames=list(view.external_metric_names),
        health={
            name: {"numberOfFailures": health.failures, "status": health.status}
            for name, health in sorted(view.health.items())
        }
        or None,
        hpaName=spec.hpa_name,
        lastActiveTime=None if view.last_active is None else rfc3339(view.last_active),
        originalReplicaCount=view.original_replicas,
        scaleTargetGVKR={
            "group": group,
            "kind": spec.target.kind,
            "resource": f"{spec.target.kind.lower()}s",
            "version": version,
        },
        scaleTargetKind=f"{spec.target.api_version}.{spec.target.kind}",
        triggersActivity={
            name: {"isActive": active} for name, active in sorted(view.activity.items())
        }
        or None,
        triggersTypes=",".join(_unique(trigger.type for trigger in spec.triggers)),
    )


def _condition(condition: ConditionView) -> JsonObject:
    transition = condition.last_transition
    return _given(
        lastTransitionTime=None if transition is None else rfc3339(transition),
        message=condition.message or None,
        reason=condition.reason or None,
        status=condition.status,
        type=condition.type,
    )


def horizontal_pod_autoscaler(view: HpaView) -> JsonObject:
    """``autoscaling/v2`` HorizontalPodAutoscaler, as KEDA makes it or as a user wrote it."""
    spec, name = view.spec, view.spec.hpa_name
    annotations = spec.annotations if view.annotations is None else view.annotations
    labels = (
        {**spec.labels}
        if spec.is_hpa
        else {
            **spec.labels,
            "app.kubernetes.io/managed-by": "keda-operator",
            "app.kubernetes.io/name": name[:63],
            "app.kubernetes.io/part-of": spec.name,
            "app.kubernetes.io/version": KEDA_VERSION,
            _SCALED_OBJECT_LABEL: spec.name,
        }
    )
    return {
        "apiVersion": HPA.api_version,
        "kind": HPA.kind,
        "metadata": metadata(
            HPA, spec.namespace, name, view.created_at, labels=labels, annotations=annotations
        ),
        "spec": _given(
            behavior=_behavior(effective_behavior(spec)),
            maxReplicas=spec.max_replicas,
            metrics=spec_metrics(spec, view.metrics),
            minReplicas=spec.hpa_min_replicas,
            scaleTargetRef={
                "apiVersion": spec.target.api_version,
                "kind": spec.target.kind,
                "name": spec.target.name,
            },
        ),
        "status": _hpa_status(view),
    }


def _hpa_status(view: HpaView) -> JsonObject:
    status = _given(
        conditions=[_condition(condition) for condition in view.conditions] or None,
        currentReplicas=view.current_replicas,
        desiredReplicas=view.desired_replicas,
        lastScaleTime=None if view.last_scale_time is None else rfc3339(view.last_scale_time),
    )
    status["currentMetrics"] = status_metrics(view.spec, view.metrics) or None
    return dict(sorted(status.items()))


def _behavior(behavior: Behavior | None) -> JsonObject | None:
    if behavior is None:
        return None
    return {"scaleDown": _rules(behavior.scale_down), "scaleUp": _rules(behavior.scale_up)}


def _rules(rules: ScalingRules) -> JsonObject:
    return _given(
        policies=[
            {"periodSeconds": p.period_seconds, "type": str(p.type), "value": p.value}
            for p in rules.policies
        ],
        selectPolicy=str(rules.select_policy),
        stabilizationWindowSeconds=rules.stabilization_window_seconds,
        tolerance=None if rules.tolerance is None else quantity(rules.tolerance),
    )


def _given(**fields: Any) -> JsonObject:
    """The fields that are not None: the API leaves out what is not set."""
    return {key: value for key, value in fields.items() if value is not None}


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _text(value: float) -> str:
    return f"{value:g}"


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
