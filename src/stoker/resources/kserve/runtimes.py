"""ServingRuntime and ClusterServingRuntime: which program serves a model format.

Those of the files are read; for the formats of language models there are built-in ones, with the
names, ports and resources of the runtimes that KServe installs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.kserve import fields, names
from stoker.resources.kserve.inferenceservice import ServedModel
from stoker.resources.kubernetes import Container
from stoker.resources.validation import sift

KINDS: Final = ("ServingRuntime", "ClusterServingRuntime")
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Format:
    """One of ``supportedModelFormats``."""

    name: str
    version: str | None = None  # None: any
    auto_select: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Runtime:
    """A way to serve models. ``namespace`` None: of the whole cluster."""

    name: str
    formats: tuple[Format, ...]
    pod: Mapping[str, Any]  # containers and volumes of a pod template
    namespace: str | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    disabled: bool = False

    @property
    def server(self) -> Mapping[str, Any]:
        """The container that serves the model."""
        containers: list[Mapping[str, Any]] = self.pod["containers"]
        named = (one for one in containers if one.get("name") == names.CONTAINER)
        return next(named, containers[0])

    def supports(self, name: str, version: str | None) -> Format | None:
        """The format that matches, None if there is none."""
        for one in self.formats:
            same_version = version is None or one.version is None or one.version == version
            if one.name == name and same_version:
                return one
        return None


def read_runtime(manifest: Manifest, namespace: str) -> Runtime:
    """A document of kind ServingRuntime or ClusterServingRuntime.

    Raises:
        InputError: it has no containers, or something in it has the wrong type: the first of them.
    """
    spec = manifest.content.get("spec")
    if not isinstance(spec, Mapping):
        raise InputError("`spec` is required", place=manifest.place())
    containers = spec.get("containers")
    listed = containers if isinstance(containers, list) else []
    if not listed or not all(isinstance(one, Mapping) for one in listed):
        message = "`spec.containers` must be a list of containers, and not empty"
        raise InputError(message, place=manifest.place("spec", "containers"))
    for index, container in enumerate(listed):
        path = ("spec", "containers", index)
        _, errors, _ = sift(Container, container, manifest.origin, path)
        for error in errors:
            raise error
    metadata = manifest.content.get("metadata")
    own = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return Runtime(
        manifest.name,
        tuple(_formats(spec, manifest)),
        {key: value for key, value in spec.items() if key not in fields.NOT_OF_RUNTIME_PODS},
        None if manifest.kind == "ClusterServingRuntime" else str(own or namespace),
        _texts(spec, "annotations", manifest),
        _texts(spec, "labels", manifest),
        spec.get("disabled") is True,
    )


def _formats(spec: Mapping[str, Any], manifest: Manifest) -> Iterator[Format]:
    listed = spec.get("supportedModelFormats") or []
    if not isinstance(listed, list):
        place = manifest.place("spec", "supportedModelFormats")
        raise InputError("`spec.supportedModelFormats` must be a list", place=place)
    for index, item in enumerate(listed):
        name = item.get("name") if isinstance(item, Mapping) else None
        if not name:
            place = manifest.place("spec", "supportedModelFormats", index)
            message = f"`spec.supportedModelFormats[{index}].name` is required"
            raise InputError(message, place=place)
        version, priority = item.get("version"), item.get("priority")
        yield Format(
            str(name),
            None if version is None else str(version),
            item.get("autoSelect") is True,
            priority if isinstance(priority, int) else 0,
        )


def _texts(spec: Mapping[str, Any], key: str, manifest: Manifest) -> Mapping[str, str]:
    found = spec.get(key) or {}
    if not isinstance(found, Mapping):
        raise InputError(f"`spec.{key}` must be a mapping", place=manifest.place("spec", key))
    return {str(name): str(text) for name, text in found.items()}


def choose(model: ServedModel, namespace: str, known: Iterable[Runtime]) -> Runtime | None:
    """The runtime of a model: the one it names, or the first that serves its format of itself.

    As KServe looks: runtimes of the namespace before those of the cluster, a higher priority first.
    None: there is none, or the one it names is not known here.
    """
    here = [one for one in known if one.namespace in {None, namespace} and not one.disabled]
    own = {one.name for one in here}
    candidates = [*here, *(one for one in BUILT_IN if one.name not in own)]
    candidates.sort(key=lambda one: one.namespace is None)  # stable: files before built-in ones
    if model.runtime is not None:
        return next((one for one in candidates if one.name == model.runtime), None)
    if model.model_format is None:
        return None
    wanted = model.model_format
    fitting = [
        (found, one)
        for one in candidates
        if (found := one.supports(wanted.name, wanted.version)) is not None and found.auto_select
    ]
    fitting.sort(key=lambda pair: (pair[1].namespace is None, -pair[0].priority))
    return fitting[0][1] if fitting else None


def _built_in(
    name: str, formats: tuple[str, ...], container: Mapping[str, Any], port: int
) -> Runtime:
    resources = {"cpu": "1", "memory": "2Gi"}
    memory = {"name": "devshm", "mountPath": "/dev/shm"}  # noqa: S108 - a path in the container
    pod = {
        "containers": [
            {
                "name": names.CONTAINER,
                **container,
                "resources": {"requests": resources, "limits": resources},
                "volumeMounts": [memory],
            }
        ],
        "volumes": [{"name": "devshm", "emptyDir": {"medium": "Memory"}}],
    }
    annotations = {names.RUNTIME_PORT: str(port), "prometheus.kserve.io/path": "/metrics"}
    supported = tuple(Format(one, "1", auto_select=True, priority=1) for one in formats)
    return Runtime(name, supported, pod, annotations=annotations)


def _vllm() -> Mapping[str, Any]:
    probe = {"httpGet": {"path": "/health", "port": 8000}, "timeoutSeconds": 15}
    return {
        "image": "vllm/vllm-openai:latest",
        "command": ["vllm", "serve"],
        "args": [
            names.MODEL_MOUNT,
            "--host=0.0.0.0",
            "--port=8000",
            "--served-model-name={{.Name}}",
        ],
        "livenessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 2},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 2},
        "startupProbe": {
            **probe,
            "initialDelaySeconds": 60,
            "periodSeconds": 30,
            "failureThreshold": 40,
        },
    }


BUILT_IN: Final = (
    _built_in(
        "kserve-huggingfaceserver",
        ("huggingface",),
        {"image": "kserve/huggingfaceserver:latest", "args": ["--model_name={{.Name}}"]},
        names.HTTP_PORT,
    ),
    _built_in("kserve-vllmserver", ("vllm", "vLLM"), _vllm(), 8000),
)
