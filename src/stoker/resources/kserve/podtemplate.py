"""From a runtime and a predictor to the Deployment that KServe creates in Standard mode.

Source: ``predictor.go`` and ``deployment_reconciler.go`` of KServe 0.20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.resources.document import Manifest, Path
from stoker.resources.kserve import fields, merging, names
from stoker.resources.kserve.inferenceservice import InferenceService, Predictor
from stoker.resources.kserve.runtimes import Runtime
from stoker.resources.translation import translated

_PREDICTOR: Final[Path] = ("spec", "predictor")
_POD: Final[Path] = ("spec", "template", "spec")


@dataclass(frozen=True, slots=True)
class Component:
    """The predictor of a service: what all objects made of it have in common."""

    service: InferenceService
    manifest: Manifest
    namespace: str
    runtime: Runtime | None  # None: the predictor brings its own containers

    @property
    def predictor(self) -> Predictor:
        """``spec.predictor``."""
        return self.service.spec.predictor

    @property
    def written(self) -> Mapping[str, Any]:
        """``spec.predictor`` as it was written."""
        found: Mapping[str, Any] = self.manifest.content["spec"]["predictor"]
        return found

    @property
    def model_key(self) -> str | None:
        """Under which key the model stands, None if there is none."""
        return next((key for key in ("model", "huggingface") if self.written.get(key)), None)

    @property
    def model(self) -> Mapping[str, Any]:
        """The model as it was written, empty if there is none."""
        found: Mapping[str, Any] = self.written[self.model_key] if self.model_key else {}
        return found

    @property
    def name(self) -> str:
        """``huggingface-qwen-predictor``."""
        return names.predictor_name(self.service.metadata.name)

    @property
    def autoscaler_class(self) -> str:
        """``hpa``, ``keda``, ``external`` or ``none``."""
        return self.annotations.get(names.AUTOSCALER_CLASS, "hpa")

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of the service and of its predictor."""
        return {**(self.service.metadata.annotations or {}), **(self.predictor.annotations or {})}

    def metadata(self) -> dict[str, Any]:
        """``metadata`` of the Deployment, the ScaledObject and the Service alike."""
        service, runtime = self.service.metadata, self.runtime
        labels = {
            **(runtime.labels if runtime else {}),
            **(service.labels or {}),
            **(self.predictor.labels or {}),
            f"{names.GROUP}/inferenceservice": service.name,
            "component": "predictor",
            "app": names.app_label(self.name),
        }
        annotations = {
            **(runtime.annotations if runtime else {}),
            **names.passed_on(service.annotations or {}),
        }
        storage = self.model.get("storageUri")
        if storage:
            annotations[names.SOURCE_URI] = str(storage)
        annotations |= names.passed_on(self.predictor.annotations or {})
        return {
            "name": self.name,
            "namespace": self.namespace,
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
        }


def render_deployment(component: Component) -> Manifest:
    """The Deployment. It has replicas of its own only where nothing scales it."""
    metadata = component.metadata()
    spec: dict[str, Any] = {}
    least = component.predictor.min_replicas
    if component.autoscaler_class == "none" and least is not None:
        spec["replicas"] = least
    template_metadata = {key: metadata[key] for key in ("labels", "annotations") if key in metadata}
    spec |= {
        "selector": {"matchLabels": {"app": metadata["labels"]["app"]}},
        "strategy": component.written.get("deploymentStrategy") or _strategy(),
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "template": {"metadata": template_metadata, "spec": _pod_spec(component)},
    }
    content = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    return translated(component.manifest, content, _table(component), _PREDICTOR)


def _strategy() -> dict[str, Any]:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }


def _pod_spec(component: Component) -> dict[str, Any]:
    predictor = {key: value for key, value in component.written.items() if key in fields.OF_PODS}
    runtime = component.runtime
    of_runtime = runtime.pod if runtime else {}
    base = {key: value for key, value in of_runtime.items() if key != "containers"}
    containers = [_finished(one, component) for one in _containers(component)]
    pod = merging.merged(base, predictor)
    pod.setdefault("dnsPolicy", "ClusterFirst")
    pod.setdefault("restartPolicy", "Always")
    pod.setdefault("terminationGracePeriodSeconds", 30)
    pod.setdefault("securityContext", {})
    pod.setdefault("schedulerName", "default-scheduler")
    return {"containers": containers, **pod}


def _containers(component: Component) -> list[dict[str, Any]]:
    """The model server first, then what else the runtime and the predictor have."""
    own = [dict(one) for one in component.written.get("containers") or []]
    runtime = component.runtime
    if runtime is None:
        if own and not own[0].get("name"):
            own[0] = {"name": names.CONTAINER, **own[0]}
        return own
    patch = {key: value for key, value in component.model.items() if key in fields.OF_CONTAINER}
    first = merging.merged_container(runtime.server, patch)
    metadata = component.manifest.content["metadata"]
    first = merging.filled(first, {**metadata, "namespace": component.namespace})
    beside = [dict(one) for one in runtime.pod["containers"] if one is not runtime.server]
    return [first, *beside, *own]


def _finished(container: Mapping[str, Any], component: Component) -> dict[str, Any]:
    """With the defaults that KServe writes, so that its next look finds no difference."""
    done = dict(container)
    service = component.service.metadata.name
    variable = {"name": "INFERENCE_SERVICE_NAME", "value": service}
    env = merging.listed(done.get("env"))
    done["env"] = [*(one for one in env if _name(one) != variable["name"]), variable]
    done.setdefault("terminationMessagePath", "/dev/termination-log")
    done.setdefault("terminationMessagePolicy", "File")
    done.setdefault("imagePullPolicy", "IfNotPresent")
    if done.get("name") == names.CONTAINER and not done.get("readinessProbe"):
        done["readinessProbe"] = {
            "tcpSocket": {"port": _first_port(done.get("ports"))},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
    return done


def _name(item: object) -> object:
    return item.get("name") if isinstance(item, Mapping) else None


def _first_port(ports: object) -> Any:
    first = next(iter(merging.listed(ports)), None)
    found = first.get("containerPort") if isinstance(first, Mapping) else None
    return names.HTTP_PORT if found is None else found


def _table(component: Component) -> list[tuple[Path, Path]]:
    """Where in the InferenceService the parts of the Deployment come from."""
    table: list[tuple[Path, Path]] = [
        (("metadata", "name"), ("metadata", "name")),
        (("metadata", "labels"), ("metadata", "labels")),
        (("metadata", "annotations"), ("metadata", "annotations")),
        (("spec", "template", "metadata", "labels"), ("metadata", "labels")),
        (("spec", "template", "metadata", "annotations"), ("metadata", "annotations")),
        (("spec", "strategy"), (*_PREDICTOR, "deploymentStrategy")),
        (_POD, _PREDICTOR),
    ]
    if component.autoscaler_class == "none":
        table.append((("spec", "replicas"), (*_PREDICTOR, "minReplicas")))
    if component.runtime is None or component.model_key is None:
        return table
    model = (*_PREDICTOR, component.model_key)
    table.append(((*_POD, "containers", 0), model))
    before = len(component.runtime.server.get("args") or ())
    own = range(len(component.model.get("args") or ()))
    arguments = (*_POD, "containers", 0, "args")
    return [*table, *(((*arguments, before + index), (*model, "args", index)) for index in own)]
