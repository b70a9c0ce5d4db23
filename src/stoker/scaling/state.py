"""What was: all that KEDA and the HPA controller remember between two looks at an object.

Every time is in seconds since the Unix epoch. A state survives a restart as JSON: ``from_dict`` of
``to_dict`` is the same state, and the next decisions are the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stoker.scaling.decision import Condition
from stoker.scaling.observation import CustomMetric, PodUsage, ResourceUsage, TriggerValue
from stoker.scaling.records import quick, replace
from stoker.scaling.spec import MetricType

STATE_VERSION = 1


@quick
@dataclass(frozen=True, slots=True)
class Health:
    """One metric in ``status.health``: failed reads since the last good one."""

    metric_name: str
    number_of_failures: int = 0

    @property
    def status(self) -> str:
        """KEDA's word for it."""
        return "Failing" if self.number_of_failures else "Happy"


@quick
@dataclass(frozen=True, slots=True)
class PastRecommendation:
    """What the HPA wanted at a moment, before stabilisation."""

    replicas: int
    at: float


@quick
@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """By how many replicas the HPA changed the target, always positive."""

    change: int
    at: float


@quick
@dataclass(frozen=True, slots=True)
class MetricStatus:
    """One line of ``status.currentMetrics``, and the pair that TARGETS shows: 4/5 (avg).

    ``current_milli`` is in thousandths; None: there is no value, kubectl prints ``<unknown>``.
    """

    metric_name: str
    metric_type: MetricType
    target_milli: int  # of Utilization: thousandths of a percent
    current_milli: int | None = None
    current_utilization: int | None = None  # percent of the requests, of Utilization only


@quick
@dataclass(frozen=True, slots=True)
class HpaState:
    """The HPA that KEDA made, and what its controller remembers.

    ``recommendations`` is None until the first sync, which puts the current replicas there.
    """

    created_at: float
    generation: int = 1  # counts HPAs of this name: unpausing makes a new one
    last_sync: float | None = None
    recommendations: tuple[PastRecommendation, ...] | None = None
    scale_up_events: tuple[ScaleEvent, ...] = ()
    scale_down_events: tuple[ScaleEvent, ...] = ()
    current_replicas: int | None = None  # None: status not written yet
    desired_replicas: int = 0
    last_scale_time: float | None = None
    current_metrics: tuple[MetricStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()
    transitions: tuple[tuple[str, float], ...] = ()  # type of a condition: lastTransitionTime

    def transition_of(self, type_: str) -> float | None:
        """When the status of a condition last changed. None: it is not set, or not known."""
        return next((at for name, at in self.transitions if name == type_), None)


@quick
@dataclass(frozen=True, slots=True)
class CachedRead:
    """What a poll left for HPA reads of a trigger with ``useCachedMetrics``."""

    index: int
    value: TriggerValue


@quick
@dataclass(frozen=True, slots=True)
class ScalingState:
    """Everything that is remembered of one ScaledObject."""

    created_at: float  # metadata.creationTimestamp: whole seconds
    last_active: float | None = None  # status.lastActiveTime: whole seconds; None: never active
    last_poll: float | None = None  # None: the next poll is due at once
    original_replicas: int | None = None  # None: not recorded yet
    paused_replicas: int | None = None  # status.pausedReplicaCount
    health: tuple[Health, ...] = ()
    conditions: tuple[Condition, ...] = ()
    hpa: HpaState | None = None  # None: KEDA has none, as while it is paused
    hpas_made: int = 0
    cached: tuple[CachedRead, ...] = ()
    active_metrics: tuple[str, ...] = ()  # status.triggersActivity of the last poll
    fallback_announced: bool = False  # the event says that a fallback is in force
    last_values: tuple[TriggerValue, ...] = ()  # of the last HPA sync, for `explain`
    spec_digest: str = ""

    @classmethod
    def new(cls, now: float) -> ScalingState:
        """The state of an object that was created at *now*."""
        return cls(created_at=float(math.floor(now)))

    def failures(self, metric_name: str) -> int:
        """``numberOfFailures`` of a metric, 0 when it never failed."""
        return next((h.number_of_failures for h in self.health if h.metric_name == metric_name), 0)

    def condition(self, type_: str, of: str = "ScaledObject") -> Condition | None:
        """A condition of the ScaledObject or of its HPA. None: not set yet."""
        conditions = self.conditions
        if of == "HorizontalPodAutoscaler":
            conditions = self.hpa.conditions if self.hpa else ()
        return next((c for c in conditions if c.type == type_), None)

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON holds it."""
        return {"version": STATE_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScalingState:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: the data was written by a version that this one does not know.
        """
        if data.get("version") != STATE_VERSION:
            raise ValueError(f"state version {data.get('version')!r} is not {STATE_VERSION}")
        fields = {key: value for key, value in data.items() if key != "version"}
        hpa = fields["hpa"]
        return cls(
            **{
                **fields,
                "health": tuple(Health(**h) for h in fields["health"]),
                "conditions": tuple(Condition(**c) for c in fields["conditions"]),
                "hpa": None if hpa is None else _hpa_from_dict(hpa),
                "cached": tuple(
                    CachedRead(c["index"], _value_from_dict(c["value"])) for c in fields["cached"]
                ),
                "active_metrics": tuple(fields["active_metrics"]),
                "last_values": tuple(_value_from_dict(v) for v in fields["last_values"]),
            }
        )


def with_conditions(
    old: tuple[Condition, ...], new: tuple[Condition, ...]
) -> tuple[Condition, ...]:
    """*old* with every condition of *new* in the place of the one of its type, or at the end.

    *old* itself where that changes nothing, which is most of the time.
    """
    merged = {c.type: c for c in old}
    for condition in new:
        merged[condition.type] = condition
    conditions = tuple(merged.values())
    return old if conditions == old else conditions


def with_hpa_conditions(hpa: HpaState, new: tuple[Condition, ...], now: float) -> HpaState:
    """*hpa* with *new* among its conditions, and the time where a status has changed."""
    conditions = with_conditions(hpa.conditions, new)
    if conditions is hpa.conditions:
        return hpa
    before = {c.type: c.status for c in hpa.conditions}
    times = dict(hpa.transitions)
    times.update((c.type, now) for c in new if before.get(c.type) != c.status)
    transitions = tuple((c.type, times[c.type]) for c in conditions if c.type in times)
    return replace(hpa, conditions=conditions, transitions=transitions)


def conditioned(state: ScalingState, new: tuple[Condition, ...]) -> ScalingState:
    """*state* with *new* among the conditions of the ScaledObject."""
    conditions = with_conditions(state.conditions, new)
    return state if conditions is state.conditions else replace(state, conditions=conditions)


def with_health(state: ScalingState, metric_name: str, failures: int) -> ScalingState:
    """*state* with the failure count of one metric set."""
    counts = {h.metric_name: h for h in state.health}
    counts[metric_name] = Health(metric_name, failures)
    return replace(state, health=tuple(counts.values()))


def _hpa_from_dict(data: Mapping[str, Any]) -> HpaState:
    past = data["recommendations"]
    return HpaState(
        **{
            **data,
            "recommendations": None
            if past is None
            else tuple(PastRecommendation(**r) for r in past),
            "scale_up_events": tuple(ScaleEvent(**e) for e in data["scale_up_events"]),
            "scale_down_events": tuple(ScaleEvent(**e) for e in data["scale_down_events"]),
            "current_metrics": tuple(
                MetricStatus(**{**m, "metric_type": MetricType(m["metric_type"])})
                for m in data["current_metrics"]
            ),
            "conditions": tuple(Condition(**c) for c in data["conditions"]),
            "transitions": tuple((name, at) for name, at in data.get("transitions", ())),
        }
    )


def _value_from_dict(data: Mapping[str, Any]) -> TriggerValue:
    per_pod = data["per_pod_milli"]
    return TriggerValue(
        **{
            **data,
            "metric_type": MetricType(data["metric_type"]),
            "milli": tuple(data["milli"]),
            "per_pod_milli": None
            if per_pod is None
            else tuple((name, milli) for name, milli in per_pod),
            "resource": _usage_from_dict(data.get("resource")),
            "custom": _custom_from_dict(data.get("custom")),
        }
    )


def _custom_from_dict(data: Mapping[str, Any] | None) -> CustomMetric | None:
    if data is None:
        return None
    kind, name = data["described_object"]
    return CustomMetric(
        data["kind"],
        data["selector"],
        (kind, name),
        tuple(data["milli"]),
        tuple((pod, milli) for pod, milli in data["pods"]),
    )


def _usage_from_dict(data: Mapping[str, Any] | None) -> ResourceUsage | None:
    if data is None:
        return None
    return ResourceUsage(
        **{
            **data,
            "pods": tuple(PodUsage(**pod) for pod in data["pods"]),
            "requests": tuple((name, milli) for name, milli in data["requests"]),
        }
    )
