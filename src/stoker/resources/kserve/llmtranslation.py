"""The Deployment, the Service and the ScaledObject of an LLMInferenceService on one node.

Source: ``controller/v1alpha2/llmisvc`` of KServe 0.20 and its preset for one node,
``kserve-config-llm-template``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.errors import InputError
from stoker.resources.document import Manifest, Path
from stoker.resources.kserve import merging, names
from stoker.resources.kserve.llminferenceservice import KIND, LLMInferenceService
from stoker.resources.kserve.scaling import KEDA
from stoker.resources.translation import Ignored, Translation, translated

PORT: Final = 8000
_POD: Final[Path] = ("spec", "template", "spec")
_SCALING: Final[Path] = ("spec", "scaling")
_MORE_ARGUMENTS: Final = "VLLM_ADDITIONAL_ARGS"


@dataclass(frozen=True, slots=True)
class LLMService:
    """A service that was read. ``spec`` is merged with the configurations that it refers to."""

    service: LLMInferenceService
    manifest: Manifest
    namespace: str
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``qwen-kserve``: of the Deployment."""
        return f"{self.service.metadata.name}-kserve"

    @property
    def labels(self) -> dict[str, str]:
        """What the pods are selected by."""
        return {
            "app.kubernetes.io/component": "llminferenceservice-workload",
            "app.kubernetes.io/name": self.service.metadata.name,
            "app.kubernetes.io/part-of": "llminferenceservice",
            "kserve.io/component": "workload",
            "llm-d.ai/role": "both",
        }


def translate(service: LLMService) -> Translation:
    """What the controller makes of it."""
    reason = _not_run(service)
    scaled_object = _scaled_object(service)
    notices = tuple(_ignored(service))
    if reason:
        return Translation(
            service.manifest, scaled_object=scaled_object, ignored=notices, skipped=reason
        )
    deployment = _deployment(service)
    others = (_service(service),)
    return Translation(service.manifest, deployment, scaled_object, others=others, ignored=notices)


def problems(service: LLMService) -> Iterator[InputError]:
    """What KServe's webhook refuses."""
    manifest, scaling = service.manifest, service.service.spec.scaling
    if service.spec.get("model") is None:
        yield InputError("`spec.model` is required", place=manifest.place("spec", key=True))
    if scaling is None:
        return
    if service.service.spec.replicas is not None:
        message = "`spec.replicas` and `spec.scaling` exclude each other"
        yield InputError(message, place=manifest.place("spec", "replicas", key=True))
    if (scaling.wva is None) == (scaling.keda is None):
        message = "`spec.scaling` needs one of `keda` and `wva`, and not both"
        yield InputError(message, place=manifest.place(*_SCALING, key=True))
    least = scaling.min_replicas or 1
    if least > scaling.max_replicas:
        message = (
            f"`spec.scaling.minReplicas` must be at most maxReplicas {scaling.max_replicas}, not "
            f"{least}"
        )
        yield InputError(message, place=manifest.place(*_SCALING, "minReplicas"))
    if scaling.keda is None:
        return
    if not scaling.keda.triggers:
        place = manifest.place(*_SCALING, "keda", key=True)
        yield InputError("`spec.scaling.keda.triggers` is required", place=place)
    idle = scaling.keda.idle_replica_count
    if idle is not None and (scaling.min_replicas is None or idle >= scaling.min_replicas):
        message = "`spec.scaling.keda.idleReplicaCount` needs a minReplicas that is more"
        place = manifest.place(*_SCALING, "keda", "idleReplicaCount")
        yield InputError(message, place=place)


def _not_run(service: LLMService) -> str:
    annotations = service.service.metadata.annotations or {}
    if annotations.get(names.STOP, "").lower() == "true":
        return f"it is stopped by the annotation {names.STOP}"
    if service.spec.get("worker") is not None:
        return "a model over several nodes (worker) is not run here"
    return ""


def _ignored(service: LLMService) -> Iterator[Ignored]:
    about = f"{KIND} {service.service.metadata.name}"
    if service.spec.get("prefill") is not None:
        yield Ignored(
            "prefill-not-run",
            "the prefill workload is not run here",
            "In a cluster prefill and decode are two Deployments, each with its own scaling",
            "run it without prefill, or look at the decode side alone",
            service.manifest.place("spec", "prefill", key=True),
            about,
        )
    scaling = service.service.spec.scaling
    if scaling is not None and scaling.wva is not None:
        yield Ignored(
            "wva-not-run",
            "scaling.wva is not run here, the replicas are fixed",
            "llm-d's autoscaler writes wva_desired_replicas, and nothing here does",
            "scaling.keda with triggers of its own",
            service.manifest.place(*_SCALING, "wva", key=True),
            about,
        )


def _deployment(service: LLMService) -> Manifest:
    meta, spec = service.service.metadata, service.spec
    labels = {**(meta.labels or {}), **(spec.get("labels") or {}), **service.labels}
    annotations = {**(spec.get("annotations") or {}), names.SOURCE_URI: spec["model"]["uri"]}
    scaling = service.service.spec.scaling
    replicas: dict[str, Any] = {}
    if scaling is None:
        fixed = service.service.spec.replicas
        replicas = {"replicas": 1 if fixed is None else fixed}
    elif scaling.keda is None:
        replicas = {"replicas": scaling.min_replicas or 1}
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service.name, "namespace": service.namespace, "labels": labels},
        "spec": {
            **replicas,
            "selector": {"matchLabels": service.labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(service),
            },
        },
    }
    table: list[tuple[Path, Path]] = [
        (("metadata", "name"), ("metadata", "name")),
        (_POD, ("spec", "template")),
    ]
    if scaling is None:
        table.append((("spec", "replicas"), ("spec", "replicas")))
    return translated(service.manifest, content, table, ("spec",))


def _pod(service: LLMService) -> dict[str, Any]:
    """The preset of a single node, with what the service's template says."""
    template = service.spec.get("template")
    if not isinstance(template, Mapping):
        template = {}
    own = merging.listed(template.get("containers"))
    main: Mapping[str, Any] = next((one for one in own if _is_main(one)), {})
    others = [one for one in own if not _is_main(one)]
    container = merging.merged(_preset(service, main), main)
    rest = {key: value for key, value in template.items() if key != "containers"}
    return {"containers": [container, *others], "terminationGracePeriodSeconds": 30, **rest}


def _is_main(container: object) -> bool:
    return isinstance(container, Mapping) and container.get("name") == "main"


def _preset(service: LLMService, main: Mapping[str, Any]) -> dict[str, Any]:
    model = service.spec["model"].get("name") or service.service.metadata.name
    words = f"vllm serve {names.MODEL_MOUNT} --served-model-name {model} --port {PORT}"
    variables = [one for one in merging.listed(main.get("env")) if isinstance(one, Mapping)]
    if any(one.get("name") == _MORE_ARGUMENTS for one in variables):
        start = {"command": ["/bin/bash", "-c"], "args": [f"{words} ${{{_MORE_ARGUMENTS}}}"]}
    else:
        command = words.split()
        start = {"command": command[:3], "args": command[3:]}
    return {
        "name": "main",
        "image": "ghcr.io/llm-d/llm-d-cuda:latest",
        "imagePullPolicy": "IfNotPresent",
        **start,
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": {**_probe(10), "initialDelaySeconds": 10, "failureThreshold": 60},
        "livenessProbe": {**_probe(10), "failureThreshold": 3},
        "readinessProbe": {**_probe(5), "failureThreshold": 3},
    }


def _probe(seconds: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": PORT, "scheme": "HTTP"},
        "periodSeconds": seconds,
        "timeoutSeconds": seconds,
    }


def _service(service: LLMService) -> Manifest:
    content = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{service.name}-workload-svc",
            "namespace": service.namespace,
            "labels": service.labels,
        },
        "spec": {
            "selector": service.labels,
            "ports": [{"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    }
    return translated(service.manifest, content, default=("spec",))


def _scaled_object(service: LLMService) -> Manifest | None:
    scaling = service.service.spec.scaling
    if scaling is None or scaling.keda is None:
        return None
    written = service.manifest.content["spec"]["scaling"]["keda"]
    content = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": f"{service.name}-keda",
            "namespace": service.namespace,
            "labels": service.labels,
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
            "minReplicaCount": scaling.min_replicas or 1,
            "maxReplicaCount": scaling.max_replicas,
            **{key: written[key] for key in KEDA if key in written},
            "triggers": written["triggers"] if written.get("triggers") else [],
        },
    }
    table: tuple[tuple[Path, Path], ...] = (
        (("metadata", "name"), ("metadata", "name")),
        (("spec",), (*_SCALING, "keda")),
        (("spec", "minReplicaCount"), (*_SCALING, "minReplicas")),
        (("spec", "maxReplicaCount"), (*_SCALING, "maxReplicas")),
    )
    return translated(service.manifest, content, table, ("spec",))
