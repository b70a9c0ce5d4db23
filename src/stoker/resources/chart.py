"""The production-stack chart 0.1.12: from values to the objects that Helm would send to a cluster.

Only what serves and scales is rendered: a Deployment and a ScaledObject for each model. The order
of fields is that of the chart's templates, so that it can be compared with ``helm template``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stoker.resources.chartcontainer import EngineRelease, render_container, render_volumes
from stoker.resources.document import Document, Manifest, Origin, Path
from stoker.resources.environment import Sources
from stoker.resources.helmvalues import Keda

CHART = "vllm-stack"
MODELS: Path = ("servingEngineSpec", "modelSpec")
_CONTAINER: Path = ("spec", "template", "spec", "containers", 0)
_STRATEGY: Mapping[str, Any] = {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
_KEDA_NUMBERS = (
    "minReplicaCount",
    "maxReplicaCount",
    "pollingInterval",
    "cooldownPeriod",
    "idleReplicaCount",
    "initialCooldownPeriod",
)


def render_deployment(release: EngineRelease, document: Document) -> Manifest:
    """The Deployment of a model. KEDA owns the number of replicas where it is enabled."""
    model, written = release.model, release.written
    metadata: dict[str, Any] = {
        "name": deployment_name(release.name, release.model.name),
        "namespace": release.namespace,
    }
    if written.get("annotations"):
        metadata["annotations"] = written["annotations"]
    metadata["labels"] = labels(release)
    spec: dict[str, Any] = {}
    is_scaled = model.keda is not None and model.keda.enabled
    if not is_scaled and model.replica_count is not None:
        spec["replicas"] = model.replica_count
    spec["strategy"] = release.engine_written.get("strategy") or _STRATEGY
    spec["selector"] = {
        "matchLabels": {
            "model": model.name,
            "helm-release-name": release.name,
            **(release.engine.labels or {}),
        }
    }
    spec["progressDeadlineSeconds"] = 1200
    spec["template"] = {"metadata": _pod_metadata(release), "spec": _pod_spec(release)}
    content = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    return Manifest(content, Origin(document, _written_deployment(release.index)))


def render_scaled_object(release: EngineRelease, document: Document) -> Manifest | None:
    """The ScaledObject of a model, None without KEDA or with a ``raySpec``, whatever is in it."""
    model = release.model
    if not (model.keda and model.keda.enabled) or "ray_spec" in model.model_fields_set:
        return None
    written = release.written["keda"]
    content = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": f"{release.name}-{model.name}-scaledobject",
            "namespace": release.namespace,
            "labels": labels(release),
        },
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment_name(release.name, release.model.name),
            },
            **_scaling(written, model.keda),
            "triggers": written["triggers"] if "triggers" in written else _default(model.name),
        },
    }
    return Manifest(content, Origin(document, _written_scaled_object(release.index)))


def chart_sources(release: EngineRelease) -> Sources:
    """The values of the Secret and the ConfigMap that the chart makes, as far as a model asks."""
    values = {}
    if isinstance(release.model.hf_token, str):
        values[f"hf_token_{release.model.name}"] = release.model.hf_token
    if isinstance(release.engine.vllm_api_key, str):
        values["vllmApiKey"] = release.engine.vllm_api_key
    return {
        ("Secret", f"{release.name}-secrets"): values,
        ("ConfigMap", f"{release.name}-configs"): release.engine.configs or {},
    }


def deployment_name(release: str, model: str) -> str:
    """``vllm-llama3-deployment-vllm``."""
    return f"{release}-{model}-deployment-vllm"


def labels(release: EngineRelease) -> dict[str, str]:
    """Of the Deployment, its pods and its ScaledObject."""
    return {
        "model": release.model.name,
        "helm-release-name": release.name,
        "app.kubernetes.io/name": release.model.name,
        "app.kubernetes.io/instance": release.name,
        "app.kubernetes.io/component": "serving-engine",
        "app.kubernetes.io/part-of": CHART,
        "app.kubernetes.io/managed-by": "helm",
        **(release.engine.labels or {}),
    }


def _pod_metadata(release: EngineRelease) -> dict[str, Any]:
    annotations = release.written.get("podAnnotations")
    return {**({"annotations": annotations} if annotations else {}), "labels": labels(release)}


def _pod_spec(release: EngineRelease) -> dict[str, Any]:
    engine, written = release.engine_written, release.written
    tolerations = list(written.get("tolerations") or [])
    if written.get("tolerationsPolicy") != "override":
        tolerations = [*(engine.get("tolerations") or []), *tolerations]
    secret = written.get("imagePullSecret")
    spec = {
        "priorityClassName": written.get("priorityClassName"),
        "securityContext": engine.get("securityContext"),
        "serviceAccountName": written.get("serviceAccountName"),
        "containers": [render_container(release)],
        "imagePullSecrets": [{"name": secret}] if secret else None,
        "volumes": render_volumes(release),
        "tolerations": tolerations,
        "runtimeClassName": written.get("runtimeClassName", engine.get("runtimeClassName")),
        "schedulerName": engine.get("schedulerName"),
        "nodeName": written.get("nodeName"),
        "affinity": _affinity(written),
    }
    return {key: value for key, value in spec.items() if value}


def _affinity(written: Mapping[str, Any]) -> Any:
    terms = written.get("nodeSelectorTerms")
    if written.get("affinity") or not terms or written.get("nodeName"):
        return written.get("affinity")
    required = {"nodeSelectorTerms": terms}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _scaling(written: Mapping[str, Any], keda: Keda) -> dict[str, Any]:
    """What stands in ``keda``, in the template's order. An absent key stays absent."""
    spec = {key: _unquoted(written[key]) for key in _KEDA_NUMBERS if key in written}
    if "fallback" in written:
        spec["fallback"] = written["fallback"]
    if keda.advanced is not None:
        spec["advanced"] = keda.advanced.model_dump(by_alias=True, exclude_unset=True)
    return spec


def _unquoted(value: Any) -> Any:
    """The template writes numbers without quotes: ``"3"`` arrives as 3."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _default(model: str) -> list[dict[str, Any]]:
    """The chart's own trigger. Its label ``model`` is on no series of vLLM."""
    metadata = {
        "serverAddress": "http://prometheus-operated.monitoring.svc:9090",
        "metricName": "vllm:num_requests_waiting",
        "query": f'vllm:num_requests_waiting{{model="{model}"}}',
        "threshold": "5",
    }
    return [{"type": "prometheus", "metadata": metadata}]


# Where the user wrote what stands in a rendered object, the longest beginning first.
_DEPLOYMENT_PATHS: tuple[tuple[Path, Path], ...] = (
    ((*_CONTAINER, "resources", "requests", "cpu"), ("requestCPU",)),
    ((*_CONTAINER, "resources", "requests", "memory"), ("requestMemory",)),
    ((*_CONTAINER, "resources"), ("resources",)),
    ((*_CONTAINER, "command"), ("modelURL",)),
    ((*_CONTAINER, "env"), ("env",)),
    ((*_CONTAINER, "image"), ("repository",)),
    (("spec", "replicas"), ("replicaCount",)),
    (("metadata", "name"), ("name",)),
)


def _written_deployment(index: int) -> Callable[[Path], Path]:
    return lambda path: _translate(path, _DEPLOYMENT_PATHS, (*MODELS, index), keep_rest=False)


def _written_scaled_object(index: int) -> Callable[[Path], Path]:
    paths: tuple[tuple[Path, Path], ...] = ((("metadata",), ("name",)), (("spec",), ("keda",)))
    return lambda path: _translate(path, paths, (*MODELS, index), keep_rest=path[:1] == ("spec",))


def _translate(
    path: Path, table: tuple[tuple[Path, Path], ...], model: Path, *, keep_rest: bool
) -> Path:
    for beginning, written in table:
        if path[: len(beginning)] == beginning:
            return (*model, *written, *(path[len(beginning) :] if keep_rest else ()))
    return model
