"""Resources that are read and checked though nothing here runs by them.

A PodDisruptionBudget guards pods from evictions, which one machine has none of. A ScaledJob makes
Jobs, and what Stoker runs are servers. Both are part of what people write beside those.

*Source*: ``policy/v1`` of Kubernetes 1.36; the CustomResourceDefinition of KEDA 2.20.2.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.horizontalpodautoscaler import LabelSelector
from stoker.resources.metadata import ObjectMeta
from stoker.resources.scaledobject import Count, Positive, ScaleTrigger
from stoker.resources.validation import Model, validate


def _count_or_percent(value: int | str) -> int | str:
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"must be at least 0, not {value}")
    elif not re.fullmatch(r"[0-9]+%", value) or int(value[:-1]) > 100:
        raise ValueError(f'must be a number of pods or a percentage up to 100%, not "{value}"')
    return value


CountOrPercent = Annotated[int | str, AfterValidator(_count_or_percent)]


class PodDisruptionBudgetSpec(Model):
    """``spec``."""

    min_available: CountOrPercent | None = None
    max_unavailable: CountOrPercent | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: Literal["IfHealthyBudget", "AlwaysAllow"] | None = None


class PodDisruptionBudget(Model):
    """The whole resource."""

    api_version: Literal["policy/v1"]
    kind: Literal["PodDisruptionBudget"]
    metadata: ObjectMeta
    spec: PodDisruptionBudgetSpec | None = None
    status: Any = None


class Rollout(Model):
    """``rollout``: whether running Jobs survive an edit."""

    strategy: Literal["gradual", "immediate"] | None = None
    propagation_policy: Literal["foreground", "background"] | None = None


class ScalingStrategy(Model):
    """``scalingStrategy``: how many Jobs a poll makes."""

    strategy: Literal["default", "custom", "accurate", "eager"] | None = None
    custom_scaling_queue_length_deduction: int | None = None
    custom_scaling_running_job_percentage: str | None = None
    pending_pod_conditions: list[str] | None = None
    multiple_scalers_calculation: Literal["min", "avg", "sum", "max"] | None = None


class ScaledJobSpec(Model):
    """``spec``."""

    job_target_ref: dict[str, Any]
    triggers: Annotated[list[ScaleTrigger], Field(min_length=1)]
    polling_interval: Positive | None = None
    successful_jobs_history_limit: Count | None = None
    failed_jobs_history_limit: Count | None = None
    env_source_container_name: str | None = None
    min_replica_count: Count | None = None
    max_replica_count: Positive | None = None
    rollout_strategy: Literal["gradual", "immediate"] | None = None
    rollout: Rollout | None = None
    scaling_strategy: ScalingStrategy | None = None


class ScaledJob(Model):
    """The whole resource."""

    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledJob"]
    metadata: ObjectMeta
    spec: ScaledJobSpec
    status: Any = None


BYSTANDERS: dict[str, tuple[type[BaseModel], str]] = {
    "PodDisruptionBudget": (PodDisruptionBudget, "it has no effect here: nothing evicts pods"),
    "ScaledJob": (ScaledJob, "it makes Jobs, and only servers are run here"),
}


def read_bystander(manifest: Manifest) -> tuple[str, tuple[InputError, ...]]:
    """Why it is not run, and everything that a cluster would refuse in it."""
    model, reason = BYSTANDERS[manifest.kind]
    resource, errors = validate(model, manifest.content, manifest.origin)
    if isinstance(resource, PodDisruptionBudget):
        errors = tuple(_of_budget(resource, manifest))
    elif isinstance(resource, ScaledJob):
        errors = tuple(_of_job(resource, manifest))
    return reason, errors


def _of_budget(budget: PodDisruptionBudget, manifest: Manifest) -> list[InputError]:
    spec = budget.spec
    if spec is None or spec.min_available is None or spec.max_unavailable is None:
        return []
    name = manifest.origin.name(("spec", "maxUnavailable"))
    message = f"`{name}` cannot stand beside minAvailable"
    return [InputError(message, place=manifest.place("spec", "maxUnavailable", key=True))]


def _of_job(job: ScaledJob, manifest: Manifest) -> list[InputError]:
    least, most = job.spec.min_replica_count or 0, job.spec.max_replica_count or 100
    if least <= most:
        return []
    message = f"`{manifest.origin.name(('spec', 'minReplicaCount'))}` is {least}, more than {most}"
    return [InputError(message, place=manifest.place("spec", "minReplicaCount"))]
