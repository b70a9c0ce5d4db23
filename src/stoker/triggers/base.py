"""The seam of step 3: a trigger reads its source and never raises."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from stoker.errors import StokerError
from stoker.metrics.otlp.addon import MetricStore
from stoker.scaling import numbers
from stoker.scaling.observation import ResourceUsage, TriggerReading
from stoker.scaling.records import quick, replace
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.connections import Pool
from stoker.triggers.parameters import Secrets


class Trigger(Protocol):
    """One item of ``triggers``, ready to be read."""

    @property
    def metric_name(self) -> str:
        """Of the HPA's External metric: ``s0-prometheus``."""
        ...

    @property
    def target(self) -> float:
        """What the value is compared with."""
        ...

    async def read(self, now: float) -> TriggerReading:
        """Ask the source. Whatever goes wrong becomes ``TriggerReading.error``."""
        ...

    async def close(self) -> None:
        """Give back connections. A closed trigger can be read again."""
        ...


@runtime_checkable
class MultiTrigger(Protocol):
    """A trigger that may have several metrics, as an external scaler has."""

    async def read_all(self, now: float) -> tuple[TriggerReading, ...]:
        """One reading a metric, at least one."""
        ...


async def read_all(trigger: Trigger, now: float) -> tuple[TriggerReading, ...]:
    """All readings of any trigger."""
    if isinstance(trigger, MultiTrigger):
        return await trigger.read_all(now)
    return (await trigger.read(now),)


@quick
@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """``data`` of an instant query in the Prometheus HTTP API: its resultType and result.

    A vector is ``[{"metric": {...}, "value": [time, "1.5"]}, ...]``, as JSON would give it.
    """

    result_type: str  # vector, matrix, scalar, string
    result: Any


QueryFunction = Callable[[str, float], Awaitable[QueryAnswer]]
"""Ask the embedded storage: query, time. Raises StokerError when there can be no answer."""


UsageFunction = Callable[[str, str, float], ResourceUsage]
"""What pods use: resource (cpu, memory), container ("" is the whole pod), time.

Raises StokerError when there can be no answer. Pods of which nothing is known yet are left out.
"""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a ``kubernetes-workload`` trigger sees of a pod."""

    namespace: str
    labels: Mapping[str, str]
    phase: str  # Pending, Running, Succeeded, Failed


EndpointsFunction = Callable[[str, str, int], Sequence[str]]
"""Where the ready pods behind a Service listen: name, namespace, port. ``http://127.0.0.1:4711``.

Raises StokerError when there is no such Service.
"""


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """What a trigger needs from where it runs.

    ``query_for`` gives, for a ``serverAddress`` as written, the storage that answers in its place;
    None: ask the address over the network. ``pod_usage`` is what cpu and memory triggers ask, None:
    there is nobody who knows; so with ``pods`` and ``endpoints``. ``auth`` are the parameters of
    the trigger's TriggerAuthentication, resolved; ``env`` the variables of the target's container.
    ``metrics_adapter`` is the Prometheus that an adapter for custom metrics would ask, for Pods and
    Object metrics of a user's HPA, ``external_metrics`` answers External metrics by their names;
    None: there is no such API.
    """

    query_for: Callable[[str], QueryFunction | None]
    namespace: str = "default"
    timeout: float = 3.0
    auth: Mapping[str, str] = field(default_factory=dict, repr=False)
    pod_usage: UsageFunction | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = ""  # of the ScaledObject
    in_formula: bool = False  # its value goes into a formula, so that it needs no target
    pods: Callable[[], Sequence[PodFacts]] | None = None
    endpoints: EndpointsFunction | None = None
    pushed: MetricStore | None = None  # what takes the place of the otel add-on
    pool: Pool = field(default_factory=Pool)
    memory: dict[str, float] = field(default_factory=dict)  # outlives a trigger that is built anew
    metrics_adapter: QueryFunction | None = None
    external_metrics: QueryFunction | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "auth", Secrets(self.auth))
        object.__setattr__(self, "env", Secrets(self.env))


def metric_name(spec: TriggerSpec, name: str) -> str:
    """As KEDA names it: with its index, and ``-`` for what a name cannot have."""
    return f"s{spec.index}-{re.sub(r'[/.:%()]', '-', name)}"


def unread(
    spec: TriggerSpec, name: str, target: float, source: str, activation: float = 0.0
) -> TriggerReading:
    """A reading before its source was asked."""
    return TriggerReading(
        index=spec.index,
        metric_name=name,
        value=None,
        target=target,
        metric_type=spec.metric_type,
        activation_threshold=activation,
        trigger_name=spec.name,
        type=spec.type,
        source=source,
    )


def with_usage(
    reading: TriggerReading, usage_of: UsageFunction | None, container: str, now: float
) -> TriggerReading:
    """*reading*, whose metric is that of a resource, with what pods use of it, or why not."""
    reading = replace(reading, resource=ResourceUsage(reading.metric_name, now, container))
    if usage_of is None:
        return replace(reading, error="the server could not find the requested resource")
    try:
        usage = usage_of(reading.metric_name, container, now)
    except StokerError as error:
        return replace(reading, error=error.message, answer=error.hint or "no answer")
    if not usage.pods:
        return replace(
            reading, resource=usage, error="no metrics returned from resource metrics API"
        )
    mean = sum(pod.milli for pod in usage.pods) / len(usage.pods) / 1000
    return replace(
        reading,
        resource=usage,
        value=mean,
        answer=f"{numbers.plain(mean)} on average of {len(usage.pods)} pods",
    )
