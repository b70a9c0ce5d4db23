"""The Deployment, the Service and the ScaledObject of a VLLMRuntime.

Source: ``vllmruntime_controller.go`` of production-stack's operator. The ScaledObject scales the
VLLMRuntime itself, through its scale subresource; the Deployment follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.resources.document import Manifest, Path
from stoker.resources.operator.vllmruntime import API_VERSION, KIND, VLLMRuntime
from stoker.resources.translation import translated

_SPEC: Final[Path] = ("spec",)
_CONTAINER: Final[Path] = ("spec", "template", "spec", "containers", 0)
_SERVED_NAME: Final = "--served-model-name="


@dataclass(frozen=True, slots=True)
class Runtime:
    """A VLLMRuntime that was read."""

    resource: VLLMRuntime
    manifest: Manifest
    namespace: str

    @property
    def name(self) -> str:
        """Of the resource, of its Deployment and of its Service."""
        return self.resource.metadata.name

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the pods."""
        return {"app": self.name, **(self.resource.metadata.labels or {})}

    @property
    def served_name(self) -> str:
        """The label ``model`` of the router's counter, as the operator finds it."""
        spec = self.resource.spec
        named = (one for one in spec.vllm_config.extra_args or () if one.startswith(_SERVED_NAME))
        return next(named, spec.model.model_url).removeprefix(_SERVED_NAME)


def render_deployment(runtime: Runtime) -> Manifest:
    """The Deployment. Where it is scaled, KEDA writes the replicas into the VLLMRuntime."""
    config = runtime.resource.spec.deployment_config
    written = runtime.manifest.content["spec"]["deploymentConfig"]
    annotations = written.get("podAnnotations")
    metadata = {"labels": runtime.labels, **({"annotations": annotations} if annotations else {})}
    autoscaling = runtime.resource.spec.autoscaling_config
    is_scaled = autoscaling is not None and autoscaling.enabled
    spec = {
        **({} if is_scaled else {"replicas": config.replicas}),
        "strategy": {"type": config.deployment_strategy},
        "selector": {"matchLabels": runtime.labels},
        "template": {"metadata": metadata, "spec": _pod(runtime, written)},
    }
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": runtime.name, "namespace": runtime.namespace},
        "spec": spec,
    }
    deployment: Path = (*_SPEC, "deploymentConfig")
    table: tuple[tuple[Path, Path], ...] = (
        (("metadata", "name"), ("metadata", "name")),
        ((*_CONTAINER, "resources"), (*deployment, "resources")),
        ((*_CONTAINER, "image"), (*deployment, "image")),
        ((*_CONTAINER, "env"), (*_SPEC, "vllmConfig", "env")),
        ((*_CONTAINER, "args"), (*_SPEC, "vllmConfig", "extraArgs")),
    )
    return translated(runtime.manifest, content, table, _SPEC)


def _pod(runtime: Runtime, written: Mapping[str, Any]) -> dict[str, Any]:
    spec = runtime.resource.spec
    image = spec.deployment_config.image
    port = spec.vllm_config.port
    container: dict[str, Any] = {
        "name": "vllm",
        "image": f"{image.registry}/{image.name}",
        "imagePullPolicy": image.pull_policy or "IfNotPresent",
        "command": ["/opt/venv/bin/vllm", "serve"],
        "args": _arguments(runtime),
        "env": _env(runtime),
        "ports": [{"name": "http", "containerPort": port}],
        "resources": _resources(runtime),
        "readinessProbe": _probe(port, delay=10, timeout=5, failures=10),
        "startupProbe": _probe(port, delay=120, timeout=3, failures=100),
        "livenessProbe": _probe(port, delay=10, timeout=3, failures=10),
    }
    terms = written.get("nodeSelectorTerms")
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    pod = {
        "runtimeClassName": written.get("runtimeClass"),
        "affinity": {"nodeAffinity": required} if terms else None,
        "tolerations": written.get("toleration"),
        "imagePullSecrets": [{"name": image.pull_secret_name}] if image.pull_secret_name else None,
    }
    return {"containers": [container], **{key: value for key, value in pod.items() if value}}


def _probe(port: int, *, delay: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": port, "scheme": "HTTP"},
        "initialDelaySeconds": delay,
        "periodSeconds": 20,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _arguments(runtime: Runtime) -> list[str]:
    """In the order of the controller."""
    model, config = runtime.resource.spec.model, runtime.resource.spec.vllm_config
    arguments = [model.model_url, "--host", "0.0.0.0", "--port", str(config.port)]
    if model.enable_lora:
        arguments.append("--enable-lora")
    if model.enable_tool:
        arguments.append("--enable-auto-tool-choice")
    if model.tool_call_parser:
        arguments += ["--tool-call-parser", model.tool_call_parser]
    for name, is_on in (
        ("chunked-prefill", config.enable_chunked_prefill),
        ("prefix-caching", config.enable_prefix_caching),
    ):
        arguments.append(f"--enable-{name}" if is_on else f"--no-enable-{name}")
    for flag, value in (
        ("--max-model-len", model.max_model_len),
        ("--dtype", model.dtype),
        ("--tensor-parallel-size", config.tensor_parallel_size),
        ("--max-num-seqs", model.max_num_seqs),
        ("--gpu_memory_utilization", config.gpu_memory_utilization),
        ("--max_loras", config.max_loras),
    ):
        if value:
            arguments += [flag, str(value)]
    arguments += config.extra_args or []
    if model.chat_template:
        arguments += ["--chat-template", "/etc/chat-template.json"]
    cache = _cache(runtime)
    if cache.get("enabled") is True:
        connector = "LMCacheConnectorV1" if config.v1 else "LMCacheConnector"
        transfer = f'{{"kv_connector":"{connector}","kv_role":"kv_both"}}'
        arguments += ["--kv-transfer-config", transfer]
    return arguments


def _cache(runtime: Runtime) -> Mapping[str, Any]:
    found = runtime.manifest.content["spec"].get("lmCacheConfig")
    return found if isinstance(found, Mapping) else {}


def _env(runtime: Runtime) -> list[dict[str, Any]]:
    model, config = runtime.resource.spec.model, runtime.resource.spec.vllm_config
    values = {"VLLM_USE_V1": "1" if config.v1 else "0"}
    if model.enable_lora:
        values["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    cache = _cache(runtime)
    if cache.get("enabled") is True:
        values |= {
            "LMCACHE_LOG_LEVEL": "DEBUG",
            "LMCACHE_USE_EXPERIMENTAL": "True",
            "VLLM_RPC_TIMEOUT": "1000000",
        }
        for key, switch, size in (
            ("cpuOffloadingBufferSize", "LMCACHE_LOCAL_CPU", "LMCACHE_MAX_LOCAL_CPU_SIZE"),
            ("diskOffloadingBufferSize", "LMCACHE_LOCAL_DISK", "LMCACHE_MAX_LOCAL_DISK_SIZE"),
        ):
            if cache.get(key):
                values |= {switch: "True", size: str(cache[key])}
        if cache.get("remoteUrl"):
            values["LMCACHE_REMOTE_URL"] = str(cache["remoteUrl"])
            values["LMCACHE_REMOTE_SERDE"] = str(cache.get("remoteSerde", ""))
    env: list[dict[str, Any]] = [{"name": key, "value": text} for key, text in values.items()]
    env += [{"name": one.name, "value": one.value} for one in config.env or ()]
    secret = model.hf_token_secret
    if secret.hf_token_secret_name:
        reference = {"name": secret.hf_token_secret_name, "key": secret.hf_token_key_name}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return env


def _resources(runtime: Runtime) -> dict[str, Any]:
    wanted = runtime.resource.spec.deployment_config.resources
    gpu = wanted.gpu_type or "nvidia.com/gpu"
    amounts = {"cpu": wanted.cpu, "memory": wanted.memory, gpu: wanted.gpu}
    given = {name: text for name, text in amounts.items() if text}
    return {"requests": given, "limits": given}


def render_service(runtime: Runtime) -> Manifest:
    """The Service, whose name is the label ``job`` in the queries of the operator."""
    port = runtime.resource.spec.vllm_config.port
    content = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": runtime.name, "namespace": runtime.namespace},
        "spec": {
            "type": "ClusterIP",
            "selector": runtime.labels,
            "ports": [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}],
        },
    }
    return translated(runtime.manifest, content, default=_SPEC)


def render_scaled_object(runtime: Runtime) -> Manifest | None:
    """The ScaledObject, None without autoscaling."""
    config = runtime.resource.spec.autoscaling_config
    if config is None or not config.enabled:
        return None
    up, down = config.scale_up_policy, config.scale_down_policy
    behavior = {
        direction: {
            "stabilizationWindowSeconds": policy.stabilization_window_seconds,
            "policies": [
                {
                    "type": "Pods",
                    "value": policy.pod_value,
                    "periodSeconds": policy.period_seconds,
                }
            ],
        }
        for direction, policy in (("scaleUp", up), ("scaleDown", down))
    }
    content = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": f"{runtime.name}-scaledobject", "namespace": runtime.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": API_VERSION, "kind": KIND, "name": runtime.name},
            "minReplicaCount": config.min_replicas,
            "maxReplicaCount": config.max_replicas,
            "pollingInterval": config.polling_interval,
            "cooldownPeriod": down.scale_to_zero_delay_seconds,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": _triggers(runtime),
        },
    }
    return translated(runtime.manifest, content, _scaling_table(), _SPEC)


def _triggers(runtime: Runtime) -> list[dict[str, Any]]:
    config = runtime.resource.spec.autoscaling_config
    assert config is not None  # noqa: S101 - the caller has looked
    wanted, job = config.triggers, f'{{job="{runtime.name}"}}'

    def trigger(name: str, query: str, threshold: int, **more: str) -> dict[str, Any]:
        metadata = {
            "serverAddress": wanted.prometheus_address,
            "metricName": name,
            "query": query,
            "threshold": str(threshold),
        }
        return {"type": "prometheus", **more, "metadata": metadata}

    counter = (
        f'vllm:num_incoming_requests_total{{namespace="{runtime.namespace}", '
        f'model="{runtime.served_name}"}}'
    )
    return [
        trigger(
            "vllm_incoming_keepalive",
            f"sum(rate({counter}[2m]) > bool 0)",
            1,
            metricType="Value",
        ),
        trigger(
            "vllm_requests_running",
            f"sum(vllm:num_requests_running{job})",
            wanted.requests_running_threshold,
        ),
        trigger(
            "vllm_generation_tokens_rate",
            f"sum(rate(vllm:generation_tokens_total{job}[1m]))",
            wanted.generation_tokens_threshold,
        ),
        trigger(
            "vllm_prompt_tokens_rate",
            f"sum(rate(vllm:prompt_tokens_total{job}[1m]))",
            wanted.prompt_tokens_threshold,
        ),
    ]


def _scaling_table() -> tuple[tuple[Path, Path], ...]:
    config: Path = (*_SPEC, "autoscalingConfig")
    behavior: Path = ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior")
    window = "stabilizationWindowSeconds"
    thresholds = (
        (1, "requestsRunningThreshold"),
        (2, "generationTokensThreshold"),
        (3, "promptTokensThreshold"),
    )
    return (
        (("metadata", "name"), ("metadata", "name")),
        (("spec", "minReplicaCount"), (*config, "minReplicas")),
        (("spec", "maxReplicaCount"), (*config, "maxReplicas")),
        (("spec", "pollingInterval"), (*config, "pollingInterval")),
        (("spec", "cooldownPeriod"), (*config, "scaleDownPolicy", "scaleToZeroDelaySeconds")),
        ((*behavior, "scaleUp"), (*config, "scaleUpPolicy")),
        ((*behavior, "scaleDown"), (*config, "scaleDownPolicy")),
        ((*behavior, "scaleUp", window), (*config, "scaleUpPolicy", window)),
        ((*behavior, "scaleDown", window), (*config, "scaleDownPolicy", window)),
        (("spec", "triggers"), (*config, "triggers")),
        *(
            (("spec", "triggers", index, "metadata", "threshold"), (*config, "triggers", key))
            for index, key in thresholds
        ),
        *((("spec", "triggers", index), (*config, "triggers")) for index in range(4)),
        *(
            (
                ("spec", "triggers", index, "metadata", "serverAddress"),
                (*config, "triggers", "prometheusAddress"),
            )
            for index in range(4)
        ),
    )
