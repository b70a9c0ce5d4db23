"""``production-stack.vllm.ai/v1alpha1`` VLLMRuntime: what may stand in it.

Types, defaults and limits are those of the operator's CRD. Names that it does not know are no
error: the API server prunes them, and the controller never sees them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from stoker.errors import InputError
from stoker.resources.metadata import ObjectMeta
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import Int32, PartialModel

API_VERSION = "production-stack.vllm.ai/v1alpha1"
KIND = "VLLMRuntime"
PROMETHEUS = "http://kube-prom-stack-kube-prome-prometheus.monitoring.svc:9090"


def _quantity(value: str) -> str:
    if value:
        try:
            parse_quantity(value)
        except InputError as error:
            raise ValueError(f"must be a quantity such as `2` or `64Gi`: {error}") from None
    return value


Quantity = Annotated[str, AfterValidator(_quantity)]
Positive = Annotated[Int32, Field(ge=1)]


class TokenSecret(PartialModel):
    """``hfTokenSecret``."""

    hf_token_secret_name: str = ""
    hf_token_key_name: str = "token"  # noqa: S105 - a name, not a password


class RuntimeModel(PartialModel):
    """``model``."""

    model_url: Annotated[str, Field(alias="modelURL")]
    hf_token_secret: TokenSecret = TokenSecret()
    enable_lora: Annotated[bool, Field(alias="enableLoRA")] = False
    enable_tool: bool = False
    tool_call_parser: str = ""
    max_model_len: Int32 = 0
    dtype: str = ""
    max_num_seqs: Int32 = 0
    chat_template: str = ""


class RuntimeVariable(PartialModel):
    """One of ``env``: a plain value."""

    name: str
    value: str


class RuntimeConfig(PartialModel):
    """``vllmConfig``."""

    enable_chunked_prefill: bool = False
    enable_prefix_caching: bool = False
    tensor_parallel_size: Int32 = 0
    gpu_memory_utilization: str = ""
    max_loras: Int32 = 0
    extra_args: list[str] | None = None
    v1: bool = False
    port: Int32 = 8000
    env: list[RuntimeVariable] | None = None


class RuntimeResources(PartialModel):
    """``resources``."""

    cpu: Quantity = ""
    memory: Quantity = ""
    gpu: Quantity = ""
    gpu_type: str = ""


class RuntimeImage(PartialModel):
    """``image``."""

    registry: str = ""
    name: str = ""
    pull_policy: str = ""
    pull_secret_name: str = ""


class RuntimeDeployment(PartialModel):
    """``deploymentConfig``."""

    replicas: Annotated[Int32, Field(ge=0)] = 1
    deployment_strategy: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    resources: RuntimeResources
    image: RuntimeImage
    others: ClassVar = frozenset(
        {"nodeSelectorTerms", "podAnnotations", "runtimeClass", "sidecarConfig", "toleration"}
    )


class ScaleUpPolicy(PartialModel):
    """``scaleUpPolicy``."""

    stabilization_window_seconds: Int32 = 0
    pod_value: Positive = 1
    period_seconds: Positive = 60


class ScaleDownPolicy(PartialModel):
    """``scaleDownPolicy``."""

    stabilization_window_seconds: Int32 = 300
    pod_value: Positive = 1
    period_seconds: Positive = 60
    scale_to_zero_delay_seconds: Int32 = 1800


class RuntimeTriggers(PartialModel):
    """``triggers``."""

    prometheus_address: str = PROMETHEUS
    requests_running_threshold: Positive = 5
    generation_tokens_threshold: Positive = 100
    prompt_tokens_threshold: Positive = 100


class AutoscalingConfig(PartialModel):
    """``autoscalingConfig``."""

    enabled: bool = False
    min_replicas: Annotated[Int32, Field(ge=0)] = 1
    max_replicas: Positive
    polling_interval: Int32 = 15
    scale_up_policy: ScaleUpPolicy = ScaleUpPolicy()
    scale_down_policy: ScaleDownPolicy = ScaleDownPolicy()
    triggers: RuntimeTriggers = RuntimeTriggers()


class VLLMRuntimeSpec(PartialModel):
    """``spec``."""

    model: RuntimeModel
    vllm_config: RuntimeConfig
    deployment_config: RuntimeDeployment
    autoscaling_config: AutoscalingConfig | None = None
    others: ClassVar = frozenset({"lmCacheConfig", "storageConfig"})


class VLLMRuntime(PartialModel):
    """The whole resource."""

    api_version: Literal["production-stack.vllm.ai/v1alpha1"]
    kind: Literal["VLLMRuntime"]
    metadata: ObjectMeta
    spec: VLLMRuntimeSpec
    status: Any = None
