"""``values.yaml`` of vLLM's production-stack chart: what may stand in it.

:mod:`stoker.resources.chart` renders it. Types are what the templates can use: where a template
writes a value without quotes, ``"3"`` is as good as 3.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from stoker.errors import InputError
from stoker.resources import knownfields
from stoker.resources.kubernetes import EnvVar, ProbeBlock, Resources
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import (
    Model,
    PartialModel,
    RenderedInt,
    Text,
    describe,
    go_text,
)

# Of the chart's own values.yaml, what the rendering of an engine uses.
DEFAULTS: dict[str, Any] = {
    "servingEngineSpec": {
        "enableEngine": True,
        "labels": {"environment": "test", "release": "test"},
        "containerPort": 8000,
        "servicePort": 80,
        "startupProbe": {
            "initialDelaySeconds": 15,
            "periodSeconds": 10,
            "failureThreshold": 60,
            "httpGet": {"path": "/health", "port": 8000},
        },
        "livenessProbe": {
            "initialDelaySeconds": 15,
            "failureThreshold": 3,
            "periodSeconds": 10,
            "httpGet": {"path": "/health", "port": 8000},
        },
        "readinessProbe": {
            "initialDelaySeconds": 15,
            "failureThreshold": 3,
            "periodSeconds": 5,
            "httpGet": {"path": "/health", "port": 8000},
        },
        "imagePullPolicy": "Always",
        "runtimeClassName": "nvidia",
    },
}


def with_defaults(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """As Helm merges: mappings are merged, lists and scalars replaced, and null removes a key."""
    merged = {key: value for key, value in defaults.items() if key not in values}
    for key, value in values.items():
        default = defaults.get(key)
        if value is None and key in defaults:
            continue
        if isinstance(value, dict) and isinstance(default, dict):
            merged[key] = with_defaults(value, default)
        else:
            merged[key] = value
    return merged


def _quantity(value: str) -> str:
    try:
        parse_quantity(value)
    except InputError as error:
        raise ValueError(f"must be a quantity such as `2`, `500m` or `64Gi`: {error}") from None
    return value


def _gpu_count(value: Any) -> Any:
    text = go_text(value)
    try:
        number = float(text) if isinstance(text, str) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise ValueError(f"must be a number of GPUs, not {describe(value)}")
    return text


Quantity = Annotated[Text, AfterValidator(_quantity)]
GPUs = Annotated[str, BeforeValidator(_gpu_count)]


class SecretRef(Model):
    """A key of a Secret that exists in the cluster."""

    secret_name: str = ""
    secret_key: str = ""


def _secret(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and set(value) <= {"secretName", "secretKey"}:
        name, key = value.get("secretName"), value.get("secretKey")
        return SecretRef(secret_name=name or "", secret_key=key or "")
    raise ValueError(f"must be text or a secretName and secretKey, not {describe(value)}")


Secret = Annotated[Any, BeforeValidator(_secret)]  # str, SecretRef or None


class KedaAdvanced(PartialModel):
    """``keda.advanced``: only these are forwarded."""

    restore_to_original_replica_count: Any = None
    horizontal_pod_autoscaler_config: Any = None
    scaling_modifiers: Any = None


class Keda(PartialModel):
    """``keda`` of a model. The values are checked where they end up, in the ScaledObject."""

    enabled: bool = False
    min_replica_count: Any = None
    max_replica_count: Any = None
    polling_interval: Any = None
    cooldown_period: Any = None
    idle_replica_count: Any = None
    initial_cooldown_period: Any = None
    fallback: Any = None
    advanced: KedaAdvanced | None = None
    triggers: Any = None


class VllmConfig(PartialModel):
    """``vllmConfig`` of a model."""

    v0: Text | None = None
    enable_prefix_caching: bool = False
    enable_chunked_prefill: bool | None = None
    max_model_len: Text | None = None
    dtype: Text | None = None
    tensor_parallel_size: Text | None = None
    max_num_seqs: Text | None = None
    max_loras: Text | None = None
    gpu_memory_utilization: Text | None = None
    runner: str | None = None
    convert: str | None = None
    prometheus_multiproc_dir: str | None = None
    extra_args: list[Text] | None = None
    others: ClassVar = knownfields.VLLM_CONFIG


class RaySpec(PartialModel):
    """``raySpec`` of a model."""

    enabled: bool = False
    others: ClassVar = frozenset({"headNode"})


class NamedRef(PartialModel):
    """``envFromSecret``."""

    name: str | None = None


class ModelSpec(PartialModel):
    """One model of ``servingEngineSpec.modelSpec``."""

    name: Annotated[Text, Field(min_length=1)]
    repository: Annotated[str, Field(min_length=1)]
    tag: Annotated[Text, Field(min_length=1)]
    model_url: Annotated[str, Field(min_length=1, alias="modelURL")]
    model_revision: Text | None = None
    enabled: bool = True
    replica_count: RenderedInt | None = None
    resources: Resources | None = None
    request_cpu: Annotated[Quantity | None, Field(alias="requestCPU")] = None
    request_memory: Quantity | None = None
    request_gpu: Annotated[GPUs | None, Field(alias="requestGPU")] = None
    request_gpu_type: Annotated[str | None, Field(alias="requestGPUType")] = None
    limit_cpu: Annotated[Quantity | None, Field(alias="limitCPU")] = None
    limit_memory: Quantity | None = None
    enable_lora: Annotated[bool, Field(alias="enableLoRA")] = False
    enable_tool: bool = False
    tool_call_parser: str | None = None
    chat_template: str | None = None
    vllm_config: VllmConfig | None = None
    hf_token: Annotated[Secret, Field(alias="hf_token")] = None
    env: list[EnvVar] | None = None
    env_from_secret: NamedRef | None = None
    pvc_storage: Any = None
    keda: Keda | None = None
    ray_spec: RaySpec | None = None
    others: ClassVar = knownfields.MODEL_SPEC


class ServingEngineSpec(PartialModel):
    """``servingEngineSpec``."""

    enable_engine: bool = True
    labels: dict[str, Text] | None = None
    vllm_api_key: Secret = None
    container_port: RenderedInt = 8000
    configs: dict[str, Text] | None = None
    env: list[EnvVar] | None = None
    startup_probe: ProbeBlock | None = None
    liveness_probe: ProbeBlock | None = None
    readiness_probe: ProbeBlock | None = None
    model_spec: list[Any] | None = None  # each a ModelSpec, read on its own
    others: ClassVar = knownfields.SERVING_ENGINE_SPEC


class RouterSpec(PartialModel):
    """``routerSpec``: its place is taken by the gateway."""

    others: ClassVar = knownfields.ROUTER_SPEC


class Values(PartialModel):
    """The whole file."""

    serving_engine_spec: ServingEngineSpec = ServingEngineSpec()
    router_spec: RouterSpec | None = None
    others: ClassVar = knownfields.CHART


def looks_like_values(content: dict[str, Any]) -> bool:
    """Whether a document without a ``kind`` has any name that the chart knows."""
    return any(key in {"servingEngineSpec", "routerSpec", *knownfields.CHART} for key in content)
