"""What the core is told: trigger readings and replicas.

The core owns the types that cross its border.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from stoker.scaling.records import quick
from stoker.scaling.spec import MetricType


class Reader(StrEnum):
    """Who looks: KEDA's operator at its own pace, the HPA at every sync, at the same triggers."""

    KEDA = "KEDA poll"
    HPA = "HPA sync"
    PUSH = "push"  # an external-push stream or a held request says "active", out of turn


@quick
@dataclass(frozen=True, slots=True)
class PodUsage:
    """What one pod used on average in the *window* seconds before *at*.

    ``milli`` counts thousandths: of a core, or of a byte.
    """

    pod: str
    milli: int
    at: float
    window: float


@quick
@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What the HPA's controller reads of ``cpu`` or ``memory`` at *read_at*.

    *container* "" is a Resource metric, a name a ContainerResource metric. ``requests`` are
    thousandths a pod, of that container or of all; a pod that requests nothing is not there.
    """

    resource: str
    read_at: float
    container: str = ""
    pods: tuple[PodUsage, ...] = ()
    requests: tuple[tuple[str, int], ...] = ()

    @property
    def kind(self) -> str:
        """The type of the HPA's metric; the HPA lists its metrics by type."""
        return "ContainerResource" if self.container else "Resource"


EACH_POD = ""  # in the place of a pod's name: every pod has this value


@quick
@dataclass(frozen=True, slots=True)
class CustomMetric:
    """A Pods, Object or External metric of a user's HPA, as its controller reads it.

    ``selector`` and ``described_object`` are what the controller's messages say of it; values are
    thousandths, of each pod or as a list that is summed.
    """

    kind: str  # Pods, Object, External
    selector: str = "nil"  # as Go prints it
    described_object: tuple[str, str] = ("", "")  # kind and name, of an Object metric
    milli: tuple[int, ...] = ()
    pods: tuple[tuple[str, int], ...] = ()


class Missing(StrEnum):
    """What an external scaler did not give. KEDA counts neither as a failure of the trigger."""

    NOTHING = ""
    SPECS = (
        "specs"  # names and targets: an error to both readers, though fallback never hears of it
    )
    VALUES = "values"  # of a metric that the HPA asks for: an error to the HPA alone


@quick
@dataclass(frozen=True, slots=True)
class TriggerReading:
    """What one trigger said at one moment, before fallback and formula.

    ``source`` is what was asked (a query, an address and key) and ``answer`` what came back, both
    as a person would read them. An *error* means no answer: *value* is then None and *active*
    False.
    """

    index: int
    metric_name: str  # s0-prometheus
    value: float | None
    target: float
    active: bool = False
    error: str | None = None
    metric_type: MetricType = MetricType.AVERAGE_VALUE
    activation_threshold: float = 0.0
    trigger_name: str = ""  # `name` in the file, "" when it has none
    type: str = "prometheus"
    source: str = ""
    answer: str = ""
    resource: ResourceUsage | None = None  # of a cpu or memory trigger
    custom: CustomMetric | None = None  # of a user's HPA
    missing: Missing = Missing.NOTHING


@quick
@dataclass(frozen=True, slots=True)
class TriggerValue:
    """A reading after fallback and formula: what the HPA is given and what activates.

    ``value`` is for people; the HPA counts in ``milli``, thousandths that are summed.
    """

    metric_name: str
    value: float | None  # None: the HPA gets an error for this metric
    target: float
    metric_type: MetricType = MetricType.AVERAGE_VALUE
    active: bool = False
    activation_threshold: float = 0.0
    error: str | None = None
    is_fallback: bool = False
    milli: tuple[int, ...] = ()  # empty: there is no value
    per_pod_milli: tuple[tuple[str, int], ...] | None = None  # of a Pods metric; None: External
    resource: ResourceUsage | None = None  # of a Resource or ContainerResource metric
    custom: CustomMetric | None = None  # of a user's HPA

    @property
    def kind(self) -> str:
        """The type of the HPA's metric."""
        if self.resource is not None:
            return self.resource.kind
        if self.custom is not None:
            return self.custom.kind
        return "External" if self.per_pod_milli is None else "Pods"


@quick
@dataclass(frozen=True, slots=True)
class PodStatus:
    """One pod as the HPA sees it. Times are seconds since the Unix epoch."""

    name: str
    phase: str = "Running"  # Pending, Running, Succeeded, Failed
    ready: bool = False
    terminating: bool = False
    started_at: float | None = None
    ready_changed_at: float | None = None


@quick
@dataclass(frozen=True, slots=True)
class TargetStatus:
    """The scale target now.

    ``spec_replicas`` is what was last asked for; ``replicas`` is what the Deployment reports in its
    status: pods that exist and are not terminating.
    """

    spec_replicas: int
    replicas: int
    pods: tuple[PodStatus, ...] = field(default=())

    @property
    def ready_replicas(self) -> int:
        """Pods that are ready and stay."""
        return sum(pod.ready and not pod.terminating for pod in self.pods)

    @property
    def ready_pods(self) -> int:
        """Pods that are ready, terminating ones included: what the HPA's Value formula counts."""
        return sum(pod.ready and pod.phase == "Running" for pod in self.pods)


@quick
@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one step of the core is told."""

    reader: Reader
    readings: tuple[TriggerReading, ...]
    target: TargetStatus
