"""What the user wants: the one validated form that every resource becomes.

Field names are those of ``keda.sh/v1alpha1`` and ``autoscaling/v2`` in snake case. Durations are in
seconds. Defaults are those of KEDA 2.20 and of the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from stoker.scaling.records import quick

_EMPTY: Mapping[str, str] = MappingProxyType({})
RESOURCE_TRIGGERS = frozenset({"cpu", "memory"})  # the HPA reads these itself, KEDA never does


class MetricType(StrEnum):
    """How a value is compared with its target."""

    AVERAGE_VALUE = "AverageValue"
    VALUE = "Value"
    UTILIZATION = "Utilization"


class PolicyType(StrEnum):
    """The unit of a scaling policy."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several policies counts: most change, least change, or none at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """At most *value* pods, or percent of them, in *period_seconds*."""

    type: PolicyType
    value: int
    period_seconds: int


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction of ``behavior``, after the API server has filled in what the user left out."""

    stabilization_window_seconds: int | None  # None: the controller's own window (300 s down)
    select_policy: SelectPolicy
    policies: tuple[ScalingPolicy, ...]
    tolerance: float | None = None  # None: the controller's own tolerance (0.1)


DEFAULT_SCALE_UP = ScalingRules(
    stabilization_window_seconds=0,
    select_policy=SelectPolicy.MAX,
    policies=(
        ScalingPolicy(PolicyType.PODS, 4, 15),
        ScalingPolicy(PolicyType.PERCENT, 100, 15),
    ),
)
DEFAULT_SCALE_DOWN = ScalingRules(
    stabilization_window_seconds=None,
    select_policy=SelectPolicy.MAX,
    policies=(ScalingPolicy(PolicyType.PERCENT, 100, 15),),
)


@dataclass(frozen=True, slots=True)
class Behavior:
    """``behavior`` of an HPA. Absent is not empty: the HPA has two algorithms."""

    scale_up: ScalingRules = DEFAULT_SCALE_UP
    scale_down: ScalingRules = DEFAULT_SCALE_DOWN


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to do when a trigger has failed more than *failure_threshold* times in a row."""

    failure_threshold: int
    replicas: int
    behavior: str = "static"


@dataclass(frozen=True, slots=True)
class ScalingModifiers:
    """A formula over the triggers that takes the place of their separate targets."""

    formula: str
    target: float
    activation_target: float = 0.0
    metric_type: MetricType = MetricType.AVERAGE_VALUE
    target_text: str = ""  # as written: KEDA's fallback check parses it as an integer


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """An object by its name; ``describedObject`` of an HPA's Object metric."""

    kind: str
    name: str
    api_version: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class HpaMetric:
    """One item of ``spec.metrics`` of an HPA that a user wrote.

    ``target`` is in the unit of the metric, in percent under Utilization, and ``target_text`` the
    quantity as the API server stores it. None for it: the target is of a kind that this type of
    metric does not look at, so that it never has a value.
    """

    type: str  # Resource, ContainerResource, Pods, Object, External
    name: str
    target: float | None
    target_type: MetricType
    target_text: str = ""
    container: str = ""
    described_object: ObjectReference | None = None
    match_labels: Mapping[str, str] | None = None  # None: there is no selector
    match_expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # key, operator, values


@dataclass(frozen=True, slots=True)
class TriggerSpec:
    """One item of ``triggers``, as written.

    An item of the ``metrics`` of an HPA is one, too; then ``metric`` stands for its metadata.
    """

    index: int
    type: str
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    name: str = ""
    metric_type: MetricType = MetricType.AVERAGE_VALUE
    use_cached_metrics: bool = False
    authentication_ref: str | None = None
    authentication_kind: str = "TriggerAuthentication"
    metric: HpaMetric | None = None


@dataclass(frozen=True, slots=True)
class ScaleTargetRef:
    """What is scaled."""

    name: str
    kind: str = "Deployment"
    api_version: str = "apps/v1"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class SpecKind(StrEnum):
    """The resource that says how to scale: KEDA's, from which it makes an HPA, or an HPA itself."""

    SCALED_OBJECT = "ScaledObject"
    HPA = "HorizontalPodAutoscaler"


@quick
@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """A ScaledObject, or an HPA, that has been checked. None: left out, where that has a meaning.

    Of an HPA there are bounds, ``behavior``, and ``triggers`` that are its metrics. KEDA has no
    part in it: nobody polls, and annotations of KEDA mean nothing.
    """

    name: str
    target: ScaleTargetRef
    triggers: tuple[TriggerSpec, ...]
    namespace: str = "default"
    polling_interval: float = 30.0
    cooldown_period: float = 300.0
    initial_cooldown_period: float = 0.0
    min_replica_count: int | None = None  # None acts as 0
    max_replica_count: int | None = None  # None acts as 100
    idle_replica_count: int | None = None  # None: idle mode is off
    fallback: Fallback | None = None
    behavior: Behavior | None = None  # None and empty are different algorithms
    modifiers: ScalingModifiers | None = None
    restore_to_original_replica_count: bool = False
    horizontal_pod_autoscaler_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    kind: SpecKind = SpecKind.SCALED_OBJECT
    ambiguous: str = ""  # that several HPAs control the same pods: then none of them scales

    @property
    def is_hpa(self) -> bool:
        """Whether the user wrote an HPA, in which KEDA has no part."""
        return self.kind is SpecKind.HPA

    @property
    def hpa_name(self) -> str:
        """The name of the HPA, by default the one that KEDA gives it."""
        if self.is_hpa:
            return self.name
        return self.horizontal_pod_autoscaler_name or f"keda-hpa-{self.name}"

    @property
    def min_replicas(self) -> int:
        """``minReplicaCount``, 0 when it was left out; ``minReplicas`` of an HPA."""
        return self.hpa_min_replicas if self.is_hpa else self.min_replica_count or 0

    @property
    def max_replicas(self) -> int:
        """``maxReplicaCount``, 100 when it was left out."""
        return 100 if self.max_replica_count is None else self.max_replica_count

    @property
    def has_only_resource_triggers(self) -> bool:
        """Whether KEDA has nothing to poll: it then takes the object for active."""
        return bool(self.triggers) and all(t.type in RESOURCE_TRIGGERS for t in self.triggers)

    @property
    def hpa_min_replicas(self) -> int:
        """``minReplicas`` of the HPA.

        That of KEDA's HPA never goes below 1, zero is KEDA's business; a user's may be 0 where the
        cluster lets it.
        """
        if self.is_hpa:
            return 1 if self.min_replica_count is None else self.min_replica_count
        return max(self.min_replica_count or 0, 1)

    @property
    def has_object_or_external_metric(self) -> bool:
        """Whether the HPA has a metric that can be read without pods."""
        if self.modifiers is not None:
            return True
        kinds = {t.metric.type if t.metric else t.type for t in self.triggers}
        return bool(kinds - RESOURCE_TRIGGERS - {"Resource", "ContainerResource", "Pods"})

    def overridden(
        self, *, polling_interval: float | None, stabilization_window: float | None
    ) -> ScalingSpec:
        """With flags in place of what the file says; None leaves it. The window is of scale-down.

        No behavior stays none: the HPA has another algorithm for it, with the controller's window.
        """
        spec = self
        if polling_interval is not None:
            spec = replace(spec, polling_interval=polling_interval)
        if stabilization_window is not None and spec.behavior is not None:
            rules = spec.behavior.scale_down
            down = replace(rules, stabilization_window_seconds=int(stabilization_window))
            spec = replace(spec, behavior=replace(spec.behavior, scale_down=down))
        return spec
