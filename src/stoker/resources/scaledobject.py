"""``keda.sh/v1alpha1`` ScaledObject: its fields, KEDA's rules, and the ScalingSpec it becomes.

Refused is what the API server of a cluster with KEDA 2.20 refuses (schema and CEL), what KEDA's
webhook refuses, and what its operator then cannot build an HPA from. What is accepted there but
does not do what its author meant is a matter for :mod:`stoker.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from stoker.errors import InputError
from stoker.resources.document import Manifest, Origin, Path
from stoker.resources.hpa import HPABehavior, HPAScalingRules, Tolerance
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
from stoker.scaling.validation import NameOf, Problem, problems

API_VERSION = "keda.sh/v1alpha1"
_GO_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


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


def _integer_or_text(value: Any) -> Any:
    """KEDA's schema has ``tolerance`` as an integer or a text; an HPA takes any number."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f'must be a text, not the number {value}: write "{value}"')
    return value


class ScalingRulesBlock(HPAScalingRules):
    """One direction of ``behavior``."""

    tolerance: Annotated[Tolerance, BeforeValidator(_integer_or_text)] = None


class BehaviorBlock(HPABehavior):
    """``advanced.horizontalPodAutoscalerConfig.behavior``."""

    scale_up: ScalingRulesBlock | None = None
    scale_down: ScalingRulesBlock | None = None


class HorizontalPodAutoscalerConfig(Model):
    """``advanced.horizontalPodAutoscalerConfig``."""

    name: (
        Annotated[str, AfterValidator(lambda name: object_name(name) if name else name)] | None
    ) = None
    behavior: BehaviorBlock | None = None


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
        BeforeValidator(lambda value: None if value == "" else value),  # as good as nothing
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
    origin = manifest.origin
    resource, errors = validate(ScaledObject, manifest.content, origin)
    if resource is None:
        return None, errors
    spec = _scaling_spec(resource, namespace)
    halves = tuple(_modifier_problems(resource, origin.name))
    found = problems(spec, origin.name)
    if halves:  # then there are modifiers in the file, though not in the spec
        found = tuple(p for p in found if p.path != ("spec", "fallback", "behavior"))
    errors = tuple(_error(problem, origin) for problem in (*halves, *found))
    return (None, errors) if errors else (spec, ())


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
    """None: there are none, or none that could work."""
    if block is None or not block.formula or not block.target or not _is_target(block.target):
        return None
    activation = block.activation_target or ""
    return ScalingModifiers(
        formula=block.formula,
        target=float(block.target),
        activation_target=float(activation) if _GO_FLOAT.fullmatch(activation) else 0.0,
        metric_type=MetricType(block.metric_type or MetricType.AVERAGE_VALUE),
        target_text=block.target,
    )


# What the ScalingSpec has no place for; all other rules are in stoker.scaling.validation.
def _modifier_problems(resource: ScaledObject, name: NameOf) -> Iterator[Problem]:
    path: Path = ("spec", "advanced", "scalingModifiers")
    advanced = resource.spec.advanced
    modifiers = advanced.scaling_modifiers if advanced else None
    if modifiers is None:
        return
    target = modifiers.target
    if modifiers.formula and not target:
        yield Problem(f"`{name(path)}` has a formula but no target", path)
    elif target and not modifiers.formula:
        yield Problem(f"`{name(path)}` has a target but no formula", path, operator=False)
    elif target and not _is_target(target):
        message = f'`{name((*path, "target"))}` must be a number above 0, not "{target}"'
        yield Problem(message, (*path, "target"))


def _is_target(text: str) -> bool:
    return bool(_GO_FLOAT.fullmatch(text)) and 0.0005 <= float(text) < 9.2e15


def _error(problem: Problem, origin: Origin) -> InputError:
    place = origin.place(problem.path)
    if problem.column is not None:
        place = origin.place_in_text(problem.path, problem.column)
    return InputError(problem.message, hint=problem.hint, place=place)
