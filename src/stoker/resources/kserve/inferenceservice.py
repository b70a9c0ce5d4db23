"""``serving.kserve.io/v1beta1`` InferenceService: what may stand in it.

Types and enumerations are those of KServe 0.20's CRD, with the ``autoScaling.keda`` of its later
samples. What its admission webhook refuses beyond them is in
:mod:`stoker.resources.kserve.validation`. Unknown names are no errors: the CRD that KServe installs
keeps them, and its controllers never look.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from stoker.errors import InputError
from stoker.resources.hpa import HPABehavior
from stoker.resources.kserve import fields
from stoker.resources.kubernetes import ContainerPort, EnvVar, ProbeBlock, Resources
from stoker.resources.metadata import Labels, ObjectMeta
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import Int32, PartialModel, describe

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"


def _quantity(value: Any) -> Any:
    """An integer or a text that is a quantity; the text is kept as it was written."""
    is_text = isinstance(value, int | str) and not isinstance(value, bool)
    try:
        parse_quantity(value if is_text else "")
    except InputError:
        wanted = "a quantity such as `5` or `500m`"
        raise ValueError(f"must be {wanted}, not {describe(value)}") from None
    return str(value)


QuantityText = Annotated[str, BeforeValidator(_quantity)]


class MetricTarget(PartialModel):
    """``target`` of a metric."""

    type: Literal["Utilization", "Value", "AverageValue"] | None = None
    value: QuantityText | None = None
    average_value: QuantityText | None = None
    average_utilization: Int32 | None = None


class ResourceMetricSource(PartialModel):
    """A metric of ``type: Resource``."""

    name: Literal["cpu", "memory"]
    target: MetricTarget


class ExternalMetrics(PartialModel):
    """``metric`` of a metric of ``type: External``."""

    backend: Literal["prometheus", "graphite"] | None = None
    server_address: str = ""
    query: str = ""
    namespace: str = ""


class NamedAuthentication(PartialModel):
    """The TriggerAuthentication by name."""

    name: str


class ExtendedAuthentication(PartialModel):
    """``authenticationRef``: in it there is another ``authenticationRef``."""

    authentication_ref: NamedAuthentication
    auth_modes: str = ""


class ExternalMetricSource(PartialModel):
    """A metric of ``type: External``."""

    metric: ExternalMetrics
    target: MetricTarget
    authentication_ref: ExtendedAuthentication | None = None


class PodMetrics(PartialModel):
    """``metric`` of a metric of ``type: PodMetric``."""

    backend: Literal["opentelemetry"] | None = None
    server_address: str = ""
    metric_names: list[str] | None = None
    query: str = ""
    operation_over_time: str = ""


class PodMetricSource(PartialModel):
    """A metric of ``type: PodMetric``."""

    metric: PodMetrics
    target: MetricTarget


class MetricsSpec(PartialModel):
    """One of ``autoScaling.metrics``."""

    type: Literal["Resource", "External", "PodMetric"] | None = None
    name: str | None = None
    resource: ResourceMetricSource | None = None
    external: ExternalMetricSource | None = None
    podmetric: PodMetricSource | None = None


class KedaSettings(PartialModel):
    """``keda``: fields of the ScaledObject, which are checked there."""

    others: ClassVar = frozenset(
        {
            "advanced",
            "cooldownPeriod",
            "fallback",
            "idleReplicaCount",
            "initialCooldownPeriod",
            "pollingInterval",
        }
    )


class AutoScaling(PartialModel):
    """``autoScaling``."""

    metrics: list[MetricsSpec] | None = None
    behavior: HPABehavior | None = None
    keda: KedaSettings | None = None


class ModelFormat(PartialModel):
    """``modelFormat``."""

    name: Annotated[str, Field(min_length=1)]
    version: str | None = None


class ServedModel(PartialModel):
    """``model``: a model format, where the model is, and fields of the container that serves it."""

    model_format: ModelFormat | None = None
    runtime: str | None = None
    storage_uri: str | None = None
    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[dict[str, Any]] | None = None
    ports: list[ContainerPort] | None = None
    resources: Resources | None = None
    startup_probe: ProbeBlock | None = None
    readiness_probe: ProbeBlock | None = None
    liveness_probe: ProbeBlock | None = None
    others: ClassVar = fields.MODEL


class Predictor(PartialModel):
    """``predictor``: how it scales, what it serves, and fields of its pods."""

    min_replicas: Int32 | None = None
    max_replicas: Int32 | None = None
    scale_target: Int32 | None = None
    scale_metric: Literal["cpu", "memory", "concurrency", "rps"] | None = None
    auto_scaling: AutoScaling | None = None
    model: ServedModel | None = None
    huggingface: ServedModel | None = None
    containers: list[dict[str, Any]] | None = None
    labels: Labels | None = None
    annotations: dict[str, str] | None = None
    termination_grace_period_seconds: Annotated[Int32, Field(ge=0)] | None = None
    others: ClassVar = fields.PREDICTOR


class InferenceServiceSpec(PartialModel):
    """``spec``."""

    predictor: Predictor
    others: ClassVar = frozenset({"canary", "explainer", "transformer"})


class InferenceService(PartialModel):
    """The whole resource."""

    api_version: Literal["serving.kserve.io/v1beta1"]
    kind: Literal["InferenceService"]
    metadata: ObjectMeta
    spec: InferenceServiceSpec
    status: Any = None
