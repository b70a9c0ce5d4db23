"""``keda.sh/v1alpha1`` ScaledObject: its fields, KEDA's rules, and the ScalingSpec it becomes.

Refused is what the API server of a cluster with KEDA 2.20 refuses (schema and CEL), what KEDA's
webhook refuses, and what its operator then cannot build an HPA from. What is accepted there but
does not do what its author meant is a matter for :mod:`stoker.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from stoker.errors import InputError
from stoker.resources.document import Manifest, Path
from stoker.resources.hpa import HPABehavior
from stoker.resources.metadata import ObjectMeta, object_name
from stoker.resources.validation import Int32, Model, validate
from stoker.scaling.spec import (
    Fallback,
    MetricType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingSpec,
    TriggerSpec,
)

API_VERSION = "keda.sh/v1alpha1"
_GO_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_RESOURCE_TRIGGERS = ("cpu", "memory")
_UNCACHED_TRIGGERS = ("cpu", "memory", "cron")


Count = Annotated[Int32, Field(ge=0)]
Positive = Annotated[Int32, Field(ge=1)]


class ScaleTarget(Model):
    """``scaleTargetRef``."""

    name: Annotated[str, Field(min_length=1)]
    api_version: str | None = None
    kind: str | None = None
    env_source_container_name: str | None = None


class FallbackBlock(Model):
    """``fallback``."""

    failure_threshold: Count
    replicas: Count
    behavior: (
        Literal[
            "static",
            "currentReplicas",
            "currentReplicasIfHigher",
            "currentReplicasIfLower",
            "scalingModifiers",
        ]
        | None
    ) = None


class HorizontalPodAutoscalerConfig(Model):
    """``advanced.horizontalPodAutoscalerConfig``."""

    name: (
        Annotated[str, AfterValidator(lambda name: object_name(name) if name else name)] | None
    ) = None
    behavior: HPABehavior | None = None


class Modifiers(Model):
    """``advanced.scalingModifiers``."""

    formula: str | None = None
    target: str | None = None
    activation_target: str | None = None
    metric_type: Literal["AverageValue", "Value"] | None = None


class Advanced(Model):
    """``advanced``."""

    restore_to_original_replica_count: bool | None = None
    horizontal_pod_autoscaler_config: HorizontalPodAutoscalerConfig | None = None
    scaling_modifiers: Modifiers | None = None


class AuthenticationRef(Model):
    """``authenticationRef`` of a trigger."""

    name: str
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] | None = None


class ScaleTrigger(Model):
    """One item of ``triggers``."""

    type: Annotated[str, Field(min_length=1)]
    metadata: dict[str, str]
    name: str | None = None
    use_cached_metrics: bool | None = None
    authentication_ref: AuthenticationRef | None = None
    metric_type: Annotated[
        Literal["AverageValue", "Value", "Utilization"] | None,
        BeforeValidator(lambda value: value or None),  # "" is as good as nothing
    ] = None


class ScaledObjectSpec(Model):
    """``spec``."""

    scale_target_ref: ScaleTarget
    polling_interval: Positive | None = None
    initial_cooldown_period: Count | None = None
    cooldown_period: Count | None = None
    idle_replica_count: Count | None = None
    min_replica_count: Count | None = None
    max_replica_count: Positive | None = None
    fallback: FallbackBlock | None = None
    advanced: Advanced | None = None
    triggers: Annotated[list[ScaleTrigger], Field(min_length=1)]


class ScaledObject(Model):
    """The whole resource."""

    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: ObjectMeta
    spec: ScaledObjectSpec
    status: Any = None


def read_scaled_object(
    manifest: Manifest, namespace: str
) -> tuple[ScalingSpec | None, tuple[InputError, ...]]:
    """The ScalingSpec of a ScaledObject, or everything that KEDA would refuse in it.

    Args:
        manifest: the object.
        namespace: of an object that names none.
    """
    resource, errors = validate(ScaledObject, manifest.content, manifest.origin)
    if resource is None:
        return None, errors
    errors = tuple(
        InputError(message, hint=hint, place=manifest.origin.place(path))
        for rule in _RULES
        for message, hint, path in rule(resource, manifest.origin.name)
    )
    return (None, errors) if errors else (_scaling_spec(resource, namespace), ())


def _scaling_spec(resource: ScaledObject, namespace: str) -> ScalingSpec:
    """With KEDA's defaults."""
    meta, spec = resource.metadata, resource.spec
    advanced = spec.advanced or Advanced()
    config = advanced.horizontal_pod_autoscaler_config or HorizontalPodAutoscalerConfig()
    target = spec.scale_target_ref
    return ScalingSpec(
        name=meta.name,
        namespace=meta.namespace or namespace,
        target=ScaleTargetRef(
            target.name, target.kind or "Deployment", target.api_version or "apps/v1"
        ),
        triggers=tuple(_trigger_spec(index, item) for index, item in enumerate(spec.triggers)),
        polling_interval=float(_default(spec.polling_interval, 30)),
        cooldown_period=float(_default(spec.cooldown_period, 300)),
        initial_cooldown_period=float(_default(spec.initial_cooldown_period, 0)),
        min_replica_count=spec.min_replica_count,
        max_replica_count=spec.max_replica_count,
        idle_replica_count=spec.idle_replica_count,
        fallback=_fallback(spec.fallback),
        behavior=config.behavior.behavior() if config.behavior else None,
        modifiers=_modifiers(advanced.scaling_modifiers),
        restore_to_original_replica_count=advanced.restore_to_original_replica_count or False,
        horizontal_pod_autoscaler_name=config.name or None,
        labels=MappingProxyType(dict(meta.labels or {})),
        annotations=MappingProxyType(dict(meta.annotations or {})),
    )


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def _trigger_spec(index: int, trigger: ScaleTrigger) -> TriggerSpec:
    reference = trigger.authentication_ref
    return TriggerSpec(
        index=index,
        type=trigger.type,
        metadata=MappingProxyType(dict(trigger.metadata)),
        name=trigger.name or "",
        metric_type=MetricType(trigger.metric_type or MetricType.AVERAGE_VALUE),
        use_cached_metrics=trigger.use_cached_metrics or False,
        authentication_ref=reference.name if reference else None,
        authentication_kind=(reference.kind if reference else None) or "TriggerAuthentication",
    )


def _fallback(block: FallbackBlock | None) -> Fallback | None:
    if block is None:
        return None
    return Fallback(block.failure_threshold, block.replicas, block.behavior or "static")


def _modifiers(block: Modifiers | None) -> ScalingModifiers | None:
    if block is None or not block.formula or not block.target:
        return None
    activation = block.activation_target or ""
    return ScalingModifiers(
        formula=block.formula,
        target=float(block.target),
        activation_target=float(activation) if _GO_FLOAT.fullmatch(activation) else 0.0,
        metric_type=MetricType(block.metric_type or MetricType.AVERAGE_VALUE),
        target_text=block.target,
    )


# What KEDA's webhook and operator check beyond the schema. A rule yields the message, a hint and
# the path of what is wrong.
_Problem = tuple[str, str | None, Path]
_NameOf = Callable[[Path], str]


def _replica_bounds(resource: ScaledObject, name: _NameOf) -> Iterator[_Problem]:
    spec = resource.spec
    least, most, idle = spec.min_replica_count, spec.max_replica_count, spec.idle_replica_count
    least_path, idle_path = ("spec", "minReplicaCount"), ("spec", "idleReplicaCount")
    limit = _default(most, 100)
    if (least or 0) > limit:
        default = " (its default)" if most is None else ""
        most_name = name(("spec", "maxReplicaCount"))
        message = f"`{name(least_path)}` is {least}, more than `{most_name}` {limit}{default}"
        yield message, None, least_path
    # an explicit 0 counts as 1 here, as in the webhook
    floor = 0 if least is None else max(least, 1)
    if idle is not None and idle >= floor:
        message = f"`{name(idle_path)}` is {idle}, it must be less than minReplicaCount {floor}"
        hint = "minReplicaCount is left out, which is 0" if least is None else None
        yield message, hint, idle_path


def _names(resource: ScaledObject, _name: _NameOf) -> Iterator[_Problem]:
    own = resource.metadata.name
    advanced = resource.spec.advanced or Advanced()
    config = advanced.horizontal_pod_autoscaler_config
    path: Path = ("metadata", "name")
    hpa = f"keda-hpa-{own}"
    if config is not None and config.name:
        hpa, path = config.name, ("spec", "advanced", "horizontalPodAutoscalerConfig", "name")
    if len(own) > 63:
        yield f'the ScaledObject\'s name "{own}" is longer than 63 characters', None, path
    elif len(hpa) > 63:
        hint = "shorten the name, or set advanced.horizontalPodAutoscalerConfig.name"
        yield f'the HPA\'s name "{hpa}" is longer than 63 characters', hint, path


def _triggers(resource: ScaledObject, name: _NameOf) -> Iterator[_Problem]:
    first: dict[str, int] = {}
    for index, trigger in enumerate(resource.spec.triggers):
        path: Path = ("spec", "triggers", index)
        if trigger.name and first.setdefault(trigger.name, index) != index:
            other = name(("spec", "triggers", first[trigger.name]))
            message = f'two triggers have the name "{trigger.name}", the other is `{other}`'
            yield message, None, (*path, "name")
        if trigger.use_cached_metrics and trigger.type in _UNCACHED_TRIGGERS:
            message = f"a {trigger.type} trigger cannot use cached metrics"
            yield message, None, (*path, "useCachedMetrics")
        resource_trigger = trigger.type in _RESOURCE_TRIGGERS
        if trigger.metric_type == "Utilization" and not resource_trigger:
            message = f"metricType Utilization is for cpu and memory, not for {trigger.type}"
            yield message, "`AverageValue` or `Value`", (*path, "metricType")


def _only_resource_triggers(resource: ScaledObject, name: _NameOf) -> Iterator[_Problem]:
    spec = resource.spec
    if not all(trigger.type in _RESOURCE_TRIGGERS for trigger in spec.triggers):
        return
    if not spec.min_replica_count:
        path: Path = ("spec", "triggers")
        message = f"`{name(path)}` has only cpu and memory, which cannot wake from zero"
        yield message, "set minReplicaCount to 1 or more", path
    if spec.fallback is not None and _formula(resource) is None:
        message = "a fallback needs a trigger that is not cpu or memory"
        yield message, None, ("spec", "fallback")


def _formula(resource: ScaledObject) -> str | None:
    advanced = resource.spec.advanced
    modifiers = advanced.scaling_modifiers if advanced else None
    return (modifiers.formula or None) if modifiers else None


def _scaling_modifiers(resource: ScaledObject, name: _NameOf) -> Iterator[_Problem]:
    spec = resource.spec
    path: Path = ("spec", "advanced", "scalingModifiers")
    modifiers = spec.advanced.scaling_modifiers if spec.advanced else None
    if spec.fallback and spec.fallback.behavior == "scalingModifiers" and not _formula(resource):
        message = "fallback behavior scalingModifiers needs a formula"
        yield message, "set advanced.scalingModifiers.formula", ("spec", "fallback", "behavior")
    if modifiers is None:
        return
    target = modifiers.target
    if modifiers.formula and not target:
        yield f"`{name(path)}` has a formula but no target", None, path
    elif target and not modifiers.formula:
        yield f"`{name(path)}` has a target but no formula", None, path
    elif target and not (_GO_FLOAT.fullmatch(target) and 0.0005 <= float(target) < 9.2e15):
        message = f'`{name((*path, "target"))}` must be a number above 0, not "{target}"'
        yield message, None, (*path, "target")


_RULES = (_replica_bounds, _names, _triggers, _only_resource_triggers, _scaling_modifiers)
