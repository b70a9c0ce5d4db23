"""The kinds that Stoker serves, and all the names that people call them by."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from stoker.errors import StokerError


class ServerError(StokerError):
    """An answer of the control API that says no, in the words of a Kubernetes API server.

    ``reason`` is empty where kubectl itself, not the server, finds the fault.
    """

    def __init__(
        self, message: str, *, reason: str = "", code: int = 400, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object and its names."""

    kind: str
    plural: str
    group: str  # "" for the core group
    version: str
    short: tuple[str, ...]

    @property
    def api_version(self) -> str:
        """As written in ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """``scaledobject``."""
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """``scaledobjects.keda.sh``, as error messages say it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def prefix(self) -> str:
        """``scaledobject.keda.sh``, the part before ``/`` in ``-o name``."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `get` takes, in lower case."""
        names = [self.plural, self.singular, *self.short]
        if self.group:
            versioned = f"{self.version}.{self.group}"
            names += [self.resource, self.prefix]
            names += [f"{self.plural}.{versioned}", f"{self.singular}.{versioned}"]
        return tuple(names)

    def not_found(self, name: str) -> ServerError:
        """What the server says when there is no object of that name."""
        return ServerError(f'{self.resource} "{name}" not found', reason="NotFound", code=404)


SCALED_OBJECT = Kind("ScaledObject", "scaledobjects", "keda.sh", "v1alpha1", ("so",))
HPA = Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2", ("hpa",))
DEPLOYMENT = Kind("Deployment", "deployments", "apps", "v1", ("deploy",))
INFERENCE_SERVICE = Kind(
    "InferenceService", "inferenceservices", "serving.kserve.io", "v1beta1", ("isvc",)
)
LLM_INFERENCE_SERVICE = Kind(
    "LLMInferenceService", "llminferenceservices", "serving.kserve.io", "v1alpha2", ("llmisvc",)
)
VLLM_RUNTIME = Kind("VLLMRuntime", "vllmruntimes", "production-stack.vllm.ai", "v1alpha1", ("vr",))
CUSTOM = (INFERENCE_SERVICE, LLM_INFERENCE_SERVICE, VLLM_RUNTIME)
POD = Kind("Pod", "pods", "", "v1", ("po",))
EVENT = Kind("Event", "events", "", "v1", ("ev",))
TRIGGER = Kind("Trigger", "triggers", "stoker", "v1", ())  # what no cluster has
TRIGGER_AUTHENTICATION = Kind(
    "TriggerAuthentication", "triggerauthentications", "keda.sh", "v1alpha1", ("ta", "triggerauth")
)
CLUSTER_TRIGGER_AUTHENTICATION = Kind(
    "ClusterTriggerAuthentication",
    "clustertriggerauthentications",
    "keda.sh",
    "v1alpha1",
    ("cta", "clustertriggerauth"),
)

KINDS: tuple[Kind, ...] = (
    SCALED_OBJECT, HPA, DEPLOYMENT, POD, EVENT, *CUSTOM,
    TRIGGER, TRIGGER_AUTHENTICATION, CLUSTER_TRIGGER_AUTHENTICATION,
)  # fmt: skip
_BY_NAME = {name: kind for kind in KINDS for name in kind.names}


def resolve(name: str) -> Kind:
    """The kind that *name* stands for. Raises ServerError in kubectl's words."""
    kind = _BY_NAME.get(name.lower())
    if kind is not None:
        return kind
    close = difflib.get_close_matches(name.lower(), list(_BY_NAME), n=1)
    hint = (
        f"did you mean `{close[0]}`?"
        if close
        else "there are " + ", ".join(kind.plural for kind in KINDS)
    )
    raise ServerError(f'the server doesn\'t have a resource type "{name}"', code=404, hint=hint)


def kind_of(obj: dict[str, object]) -> Kind:
    """The kind of a Kubernetes-form object."""
    return resolve(str(obj.get("kind", "")))
