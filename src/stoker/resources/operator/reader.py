"""Reading VLLMRuntimes, with what the operator refuses when it reconciles them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.operator.rendering import (
    Runtime,
    render_deployment,
    render_scaled_object,
    render_service,
)
from stoker.resources.operator.vllmruntime import API_VERSION, KIND, VLLMRuntime
from stoker.resources.translation import Translation, unknown_field
from stoker.resources.validation import sift

_PRUNED = "The operator's CRD does not have it, so the API server drops it, with a warning"


@dataclass(slots=True)
class RuntimeReader:
    """Collects VLLMRuntimes, and translates them in the end."""

    namespace: str
    errors: list[InputError] = field(default_factory=list)
    _runtimes: list[Manifest] = field(default_factory=list)

    def read(self, manifest: Manifest) -> bool:
        """One document. False: it is no VLLMRuntime."""
        if manifest.kind != KIND or manifest.api_version != API_VERSION:
            return False
        self._runtimes.append(manifest)
        return True

    def translations(self) -> Iterator[Translation]:
        """What the operator makes of each; what is wrong is in ``errors``."""
        for manifest in self._runtimes:
            resource, errors, unknown = sift(VLLMRuntime, manifest.content, manifest.origin)
            self.errors.extend(errors)
            if resource is None:
                continue
            wrong = tuple(_limits(resource, manifest))
            self.errors.extend(wrong)
            if wrong:
                continue
            namespace = resource.metadata.namespace or self.namespace
            runtime = Runtime(resource, manifest, namespace)
            about = f"{KIND} {runtime.name}"
            yield Translation(
                manifest,
                render_deployment(runtime),
                render_scaled_object(runtime),
                others=(render_service(runtime),),
                ignored=tuple(unknown_field(one, _PRUNED, about) for one in unknown),
            )


def _limits(resource: VLLMRuntime, manifest: Manifest) -> Iterator[InputError]:
    """The operator ends its reconciliation with an error, and makes no ScaledObject."""
    config = resource.spec.autoscaling_config
    if config is None or not config.enabled:
        return
    path = ("spec", "autoscalingConfig")
    if config.min_replicas > config.max_replicas:
        name = manifest.origin.name((*path, "minReplicas"))
        message = f"`{name}` must be at most maxReplicas {config.max_replicas}, not "
        message += str(config.min_replicas)
        yield InputError(message, place=manifest.place(*path, "minReplicas"))
    replicas = resource.spec.deployment_config.replicas
    if config.max_replicas < replicas:
        name = manifest.origin.name((*path, "maxReplicas"))
        message = f"`{name}` must be at least deploymentConfig.replicas {replicas}, not "
        message += str(config.max_replicas)
        yield InputError(message, place=manifest.place(*path, "maxReplicas"))
