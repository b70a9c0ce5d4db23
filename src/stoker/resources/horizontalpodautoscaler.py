"""The fields of a HorizontalPodAutoscaler, ``autoscaling/v2`` and ``autoscaling/v1``.

What they must satisfy is in :mod:`stoker.resources.horizontalrules`, what becomes of them in
:mod:`stoker.resources.horizontalreading`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stoker.errors import InputError
from stoker.resources.hpa import HPABehavior
from stoker.resources.metadata import ObjectMeta
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import Int32, Model, describe

API_VERSION = "autoscaling/v2"


def _quantity(value: Any) -> Any:
    """A quantity as text. Numbers are taken as they are, as the API server does."""
    if value is None:
        return None
    is_scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        parse_quantity(value if is_scalar else "")
    except InputError:
        message = f"must be a quantity such as `5` or `500m`, not {describe(value)}"
        raise ValueError(message) from None
    return value if isinstance(value, str) else repr(value)


Quantity = Annotated[str | None, BeforeValidator(_quantity)]


class Reference(Model):
    """``scaleTargetRef`` and ``describedObject``."""

    kind: str | None = None
    name: str | None = None
    api_version: str | None = None


class LabelRequirement(Model):
    """One item of ``matchExpressions``."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Model):
    """``selector`` of a metric."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[LabelRequirement] | None = None


class MetricIdentifier(Model):
    """``metric``."""

    name: str | None = None
    selector: LabelSelector | None = None


class MetricTarget(Model):
    """``target``. What counts is which value is given; ``type`` is only checked."""

    type: str | None = None
    value: Quantity = None
    average_value: Quantity = None
    average_utilization: Int32 | None = None


class ResourceSource(Model):
    """``resource``."""

    name: str | None = None
    target: MetricTarget | None = None


class ContainerResourceSource(Model):
    """``containerResource``."""

    name: str | None = None
    container: str | None = None
    target: MetricTarget | None = None


class PodsSource(Model):
    """``pods``."""

    metric: MetricIdentifier | None = None
    target: MetricTarget | None = None


class ObjectSource(Model):
    """``object``."""

    described_object: Reference | None = None
    metric: MetricIdentifier | None = None
    target: MetricTarget | None = None


class ExternalSource(Model):
    """``external``."""

    metric: MetricIdentifier | None = None
    target: MetricTarget | None = None


class MetricSpec(Model):
    """One item of ``metrics``."""

    type: str | None = None
    resource: ResourceSource | None = None
    container_resource: ContainerResourceSource | None = None
    pods: PodsSource | None = None
    object: ObjectSource | None = None
    external: ExternalSource | None = None


class HorizontalPodAutoscalerSpec(Model):
    """``spec``."""

    scale_target_ref: Reference | None = None
    min_replicas: Int32 | None = None
    max_replicas: Int32 | None = None
    metrics: list[MetricSpec] | None = None
    behavior: HPABehavior | None = None


class HorizontalPodAutoscaler(Model):
    """The whole resource."""

    api_version: Literal["autoscaling/v2"]
    kind: Literal["HorizontalPodAutoscaler"]
    metadata: ObjectMeta
    spec: HorizontalPodAutoscalerSpec | None = None
    status: Any = None


class HorizontalPodAutoscalerSpecV1(Model):
    """``spec`` of the first version, which knows cpu only."""

    scale_target_ref: Reference | None = None
    min_replicas: Int32 | None = None
    max_replicas: Int32 | None = None
    target_cpu_utilization_percentage: Annotated[
        Int32 | None, Field(alias="targetCPUUtilizationPercentage")
    ] = None


class HorizontalPodAutoscalerV1(Model):
    """The whole resource in its first version."""

    api_version: Literal["autoscaling/v1"]
    kind: Literal["HorizontalPodAutoscaler"]
    metadata: ObjectMeta
    spec: HorizontalPodAutoscalerSpecV1 | None = None
    status: Any = None
