"""The container of an engine, as production-stack's chart 0.1.12 renders it.

The order of arguments and variables is that of the chart's template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.resources.helmvalues import ModelSpec, SecretRef, ServingEngineSpec, VllmConfig


@dataclass(frozen=True, slots=True)
class EngineRelease:
    """One model of a release: what the templates see.

    ``written`` and ``engine_written`` are the values as mappings, for what is passed through as is.
    """

    name: str  # of the release
    namespace: str
    engine: ServingEngineSpec
    model: ModelSpec
    index: int  # in modelSpec
    written: Mapping[str, Any]
    engine_written: Mapping[str, Any]

    @property
    def lmcache(self) -> Mapping[str, Any]:
        """``lmcacheConfig``, empty when absent."""
        value = self.written.get("lmcacheConfig")
        return value if isinstance(value, dict) else {}


def render_container(release: EngineRelease) -> dict[str, Any]:
    """The container ``vllm``."""
    engine, model = release.engine, release.model
    container: dict[str, Any] = {
        "name": "vllm",
        "image": f"{model.repository}:{model.tag}",
        "command": _command(release),
        "imagePullPolicy": release.engine_written.get("imagePullPolicy") or "Always",
        "env": _env(release),
    }
    env_from: list[dict[str, Any]] = []
    if engine.configs:
        env_from.append({"configMapRef": {"name": f"{release.name}-configs"}})
    if model.env_from_secret and model.env_from_secret.name:
        env_from.append({"secretRef": {"name": model.env_from_secret.name}})
    if env_from:
        container["envFrom"] = env_from
    container["ports"] = [
        {"name": "container-port", "containerPort": engine.container_port or 8000},
        {"name": "zmq-port", "containerPort": 55555},
        {"name": "ucx-port", "containerPort": 9999},
    ]
    for key, probe in (
        ("startupProbe", engine.startup_probe),
        ("livenessProbe", engine.liveness_probe),
        ("readinessProbe", engine.readiness_probe),
    ):
        if probe is not None:
            container[key] = _probe(probe.model_dump(by_alias=True, exclude_none=True))
    container["resources"] = _resources(model)
    mounts = _has_shm(model) * [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    mounts += release.written.get("extraVolumeMounts") or []
    return container | ({"volumeMounts": mounts} if mounts else {})


def render_volumes(release: EngineRelease) -> list[Any]:
    """``/dev/shm`` for tensor parallelism, and the user's own."""
    size = release.written.get("shmSize") or "20Gi"
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    return [*(_has_shm(release.model) * [shm]), *(release.written.get("extraVolumes") or [])]


def _has_shm(model: ModelSpec) -> bool:
    return model.vllm_config is not None and model.vllm_config.tensor_parallel_size is not None


def _command(release: EngineRelease) -> list[str]:
    engine, model, lmcache = release.engine, release.model, release.lmcache
    is_lmcache_image = model.repository == "lmcache/vllm-openai"
    command = ["/opt/venv/bin/vllm" if is_lmcache_image else "vllm", "serve", model.model_url]
    command += ["--host", "0.0.0.0", "--port", str(engine.container_port or 8000)]
    if model.enable_lora:
        command.append("--enable-lora")
    if model.enable_tool:
        command.append("--enable-auto-tool-choice")
    if model.tool_call_parser:
        command += ["--tool-call-parser", model.tool_call_parser]
    if model.vllm_config is not None and model.vllm_config.model_fields_set:
        command += _vllm_arguments(model.vllm_config)
    if model.model_revision:
        command += ["--revision", model.model_revision]
    if lmcache.get("enabled"):
        command += ["--kv-transfer-config", _kv_transfer(model, lmcache)]
    if model.chat_template:
        command += ["--chat-template", f"/templates/{model.chat_template}"]
    return command


def _vllm_arguments(config: VllmConfig) -> list[str]:
    """The arguments of ``vllmConfig``. Without ``enablePrefixCaching`` the cache is turned off."""
    arguments = []
    if config.enable_chunked_prefill is not None:
        no = "" if config.enable_chunked_prefill else "no-"
        arguments.append(f"--{no}enable-chunked-prefill")
    no = "" if config.enable_prefix_caching else "no-"
    arguments.append(f"--{no}enable-prefix-caching")
    for name, value in (
        ("--max-model-len", config.max_model_len),
        ("--dtype", config.dtype),
        ("--tensor-parallel-size", config.tensor_parallel_size),
        ("--max-num-seqs", config.max_num_seqs),
        ("--gpu_memory_utilization", config.gpu_memory_utilization),
        ("--max_loras", config.max_loras),
        ("--runner", config.runner),
        ("--convert", config.convert),
    ):
        if value is not None:
            arguments += [name, value]
    return arguments + (config.extra_args or [])


def _uses_v0(model: ModelSpec) -> bool:
    return model.vllm_config is not None and model.vllm_config.v0 == "1"


def _kv_transfer(model: ModelSpec, lmcache: Mapping[str, Any]) -> str:
    connector = "LMCacheConnectorV1"
    if _uses_v0(model) and "enablePD" not in lmcache:
        connector = "LMCacheConnector"
    config: dict[str, Any] = {
        "kv_connector": connector,
        "kv_role": lmcache.get("kvRole") or "kv_both",
    }
    if "enablePD" in lmcache:
        config["kv_connector_extra_config"] = {
            "discard_partial_chunks": False,
            "lmcache_rpc_port": str(lmcache.get("rpcPort") or lmcache.get("nixlRole") or ""),
        }
    return json.dumps(config, separators=(",", ":"))


def _env(release: EngineRelease) -> list[dict[str, Any]]:
    engine, model = release.engine, release.model
    env: list[dict[str, Any]] = [
        {"name": "PYTHONHASHSEED", "value": "123"},
        {"name": "HF_HOME", "value": "/data" if model.pvc_storage is not None else "/tmp"},  # noqa: S108
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    if model.vllm_config is not None and model.vllm_config.model_fields_set:
        directory = model.vllm_config.prometheus_multiproc_dir or "/tmp"  # noqa: S108
        env.append(
            {"name": "VLLM_USE_V1", "value": "0"}
            if _uses_v0(model)
            else {"name": "PROMETHEUS_MULTIPROC_DIR", "value": directory}
        )
    env += _secret_env("HF_TOKEN", model.hf_token, release, f"hf_token_{model.name}")
    env += _secret_env("VLLM_API_KEY", engine.vllm_api_key, release, "vllmApiKey")
    own = {variable.name for variable in model.env or ()}
    shared = [variable for variable in engine.env or () if variable.name not in own]
    for variable in (*shared, *(model.env or ())):
        env.append(variable.model_dump(by_alias=True, exclude_none=True))
    return env + _lmcache_env(release.lmcache)


def _secret_env(name: str, secret: Any, release: EngineRelease, key: str) -> list[dict[str, Any]]:
    if not secret:
        return []
    reference = {"name": f"{release.name}-secrets", "key": key}
    if isinstance(secret, SecretRef):
        if not secret.secret_name:
            return []
        reference = {"name": secret.secret_name, "key": secret.secret_key}
    return [{"name": name, "valueFrom": {"secretKeyRef": reference}}]


def _lmcache_env(lmcache: Mapping[str, Any]) -> list[dict[str, Any]]:
    env: dict[str, str] = {}
    if lmcache.get("enabled"):
        env["LMCACHE_LOG_LEVEL"] = str(lmcache.get("logLevel") or "INFO")
        env["LMCACHE_USE_EXPERIMENTAL"] = "True"
        env["VLLM_RPC_TIMEOUT"] = "1000000"
    if "cudaVisibleDevices" in lmcache:
        env["CUDA_VISIBLE_DEVICES"] = str(lmcache["cudaVisibleDevices"])
    size = str(lmcache.get("cpuOffloadingBufferSize") or "")
    if size not in {"", "0"}:
        env["LMCACHE_LOCAL_CPU"] = "True"
        env["LMCACHE_MAX_LOCAL_CPU_SIZE"] = size
    if "diskOffloadingBufferSize" in lmcache:
        env["LMCACHE_MAX_LOCAL_DISK_SIZE"] = str(lmcache["diskOffloadingBufferSize"])
    return [{"name": name, "value": value} for name, value in env.items()]


def _probe(probe: dict[str, Any]) -> dict[str, Any]:
    """As the template writes it: its ``default`` takes 0 for absent; one handler is kept."""
    rendered = {
        "initialDelaySeconds": probe.get("initialDelaySeconds") or 15,
        "periodSeconds": probe.get("periodSeconds") or 10,
        "failureThreshold": probe.get("failureThreshold") or 3,
    }
    for key in ("timeoutSeconds", "successThreshold"):
        if probe.get(key):
            rendered[key] = probe[key]
    for handler in ("exec", "tcpSocket", "grpc"):
        if probe.get(handler):
            return {**rendered, handler: probe[handler]}
    http = probe.get("httpGet") or {}
    others = {key: http[key] for key in ("httpHeaders", "host", "scheme") if http.get(key)}
    path, port = http.get("path") or "/health", http.get("port") or 8000
    return {**rendered, "httpGet": {"path": path, "port": port, **others}}


def _resources(model: ModelSpec) -> dict[str, Any]:
    if model.resources is not None and (model.resources.requests or model.resources.limits):
        return model.resources.model_dump(by_alias=True, exclude_none=True)
    requests = {"memory": model.request_memory, "cpu": model.request_cpu}
    gpu = {}
    if model.request_gpu and int(float(model.request_gpu)) > 0:
        gpu = {model.request_gpu_type or "nvidia.com/gpu": model.request_gpu}
    limits = {"memory": model.limit_memory, "cpu": model.limit_cpu, **gpu}
    limits = {name: value for name, value in limits.items() if value is not None}
    return {"requests": {**requests, **gpu}, **({"limits": limits} if limits else {})}
