"""What the control API is told: one record for each object, and the overview of a run.

Times are seconds since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypedDict

from stoker.resources.workload import Workload
from stoker.scaling.spec import MetricType, ScalingSpec
from stoker.targets.base import Pod

_NO_HEALTH: Mapping[str, TriggerHealth] = MappingProxyType({})
_NO_ACTIVITY: Mapping[str, bool] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ConditionView:
    """A condition as its object carries it. KEDA writes no transition time, the HPA does."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_transition: float | None = None


@dataclass(frozen=True, slots=True)
class TriggerHealth:
    """``status.health`` of one metric: failures in a row, and Happy or Failing."""

    failures: int
    status: str


@dataclass(frozen=True, slots=True)
class ScaledObjectView:
    """A ScaledObject now."""

    spec: ScalingSpec
    created_at: float
    conditions: tuple[ConditionView, ...] = ()
    external_metric_names: tuple[str, ...] = ()
    last_active: float | None = None  # None: never active so far
    health: Mapping[str, TriggerHealth] = field(default_factory=lambda: _NO_HEALTH)
    activity: Mapping[str, bool] = field(default_factory=lambda: _NO_ACTIVITY)
    original_replicas: int | None = None  # replicas of the target when it was first seen
    annotations: Mapping[str, str] | None = None  # None: those of the spec
    generation: int = 1


@dataclass(frozen=True, slots=True)
class MetricView:
    """One metric of an HPA. *current* is None before the first answer and at zero replicas.

    For an AverageValue, *current* is the average per replica, as the HPA's status has it.
    """

    name: str
    target: float
    type: MetricType = MetricType.AVERAGE_VALUE
    current: float | None = None
    utilization: int | None = None  # percent of the requests, of Utilization only


@dataclass(frozen=True, slots=True)
class HpaView:
    """The HPA that KEDA makes for a ScaledObject. While it is paused there is none."""

    spec: ScalingSpec
    created_at: float
    metrics: tuple[MetricView, ...]
    conditions: tuple[ConditionView, ...] = ()
    current_replicas: int | None = None  # None before the first sync
    desired_replicas: int = 0
    last_scale_time: float | None = None  # None: it never scaled
    annotations: Mapping[str, str] | None = None  # None: those of the spec


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A workload, the replicas asked for, and its pods, terminating ones included."""

    workload: Workload
    created_at: float
    replicas: int
    pods: tuple[Pod, ...] = ()


class ModelOverview(TypedDict):
    """One model on the live screen. None: not known, so nothing is shown."""

    model: str
    deployment: str
    scaled_object: str | None  # None: fixed replicas
    wanted: int
    ready: int
    starting: int  # running, not ready yet
    pending: int  # waiting for a GPU
    terminating: int
    min_replicas: int | None
    max_replicas: int | None
    waiting: float | None  # requests in the engines' queues
    running: float | None
    kv_cache: float | None  # mean share of used KV cache, 0 to 1
    tokens_per_second: float | None
    ttft_p50: float | None  # seconds
    ttft_p95: float | None
    held: int  # requests that wait at the gateway for a replica
    gpus: int  # in use by this model
    paused: bool
    decision: str  # "3, was 1: SucceededRescale"; "" before the first
    decision_message: str
    decision_time: float | None
    warning: str  # what is wrong, in a sentence; "" when nothing is


class EventLine(TypedDict):
    """A line of the live screen's event list."""

    time: float
    type: str
    reason: str
    object: str  # kind/name
    message: str


class Overview(TypedDict):
    """What `stoker top` shows of a run."""

    time: float
    started_at: float
    namespace: str
    engine: str
    gateway_url: str
    prometheus_url: str
    gpus_used: int
    gpus_total: int
    models: list[ModelOverview]
    events: list[EventLine]  # the newest last
