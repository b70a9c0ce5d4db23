"""The walk through virtual time: KEDA polls and HPA syncs, each when it is due.

The core's own cadence says when; the metrics answer; the pure steps decide; the replicas follow.
Nothing here waits and nothing reads a clock, so that a run is the same every time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from stoker.backtest.metrics import Metrics, Recorded
from stoker.backtest.replicas import Replicas
from stoker.backtest.triggers import triggers_of
from stoker.controller import evaluate, with_activation
from stoker.errors import InputError
from stoker.scaling.cadence import next_poll, next_sync, sync_reads_metrics, triggers_to_read
from stoker.scaling.decide import reconcile
from stoker.scaling.decision import Decision
from stoker.scaling.modifiers import COMPOSITE_METRIC
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerReading
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState
from stoker.tick import Samples, Tick
from stoker.triggers.base import Trigger

_T = TypeVar("_T")
_SEEN_AFTER = 1.0  # seconds until KEDA's operator looks at a new object, as it was recorded


@dataclass(frozen=True, slots=True)
class Plan:
    """One backtest. Times are seconds since the Unix epoch."""

    start: float  # when KEDA first sees the ScaledObject, a second after its creation
    end: float
    replicas: int = 1  # at the start, all of them ready
    startup: float = 0.0  # seconds from a new replica to a ready one
    settings: ControllerSettings = field(default_factory=ControllerSettings)
    targets: Mapping[str, float] = field(default_factory=dict)  # that the file does not say
    late: float = 0.0  # seconds by which a look comes after it is due

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InputError("the backtest ends before it starts")
        if self.replicas < 0 or self.startup < 0:
            raise InputError("replicas and start-up must not be negative")


class Target(Protocol):
    """What a walk scales: :class:`.replicas.Replicas`, or replicas with more of a life."""

    def status(self, now: float) -> TargetStatus:
        """What KEDA and the HPA see."""
        ...

    def scale(self, replicas: int, now: float) -> None:
        """Ask for *replicas*."""
        ...


def ticks(spec: ScalingSpec, metrics: Metrics, plan: Plan) -> Iterator[Tick]:
    """Every poll and every sync from the start of *plan* to its end.

    A poll and a sync at the same moment come in this order. At zero replicas the HPA asks nobody.

    Raises:
        InputError: a trigger cannot be built, or nothing was recorded for it.
    """
    return Walk(spec, metrics, plan).ticks()


class Walk:
    """One ScaledObject on its way through time.

    :meth:`ticks` looks when a look is due; :meth:`look` and :meth:`edit` are for who knows better.
    """

    def __init__(
        self,
        spec: ScalingSpec,
        metrics: Recorded,
        plan: Plan,
        target: Target | None = None,
        own: Callable[[TriggerSpec], Trigger | None] = lambda _: None,
    ) -> None:
        if spec.polling_interval <= 0:
            raise InputError("pollingInterval must be more than 0")
        self.spec = spec
        self.replicas: Target = target or Replicas(plan.replicas, plan.startup)
        self._plan, self._metrics, self._own = plan, metrics, own
        self._triggers = self._built(spec)
        self.state = ScalingState.new(plan.start - _SEEN_AFTER)
        self.samples = Samples(0, metrics.series, None)  # of the next look

    def ticks(self) -> Iterator[Tick]:
        """The looks in the order of time."""
        self.edit(self.spec, self._plan.start)
        while True:
            reader, now = self.due()
            if now > self._plan.end:
                return
            yield self.look(reader, now)

    def due(self) -> tuple[Reader, float]:
        """Who looks next, and when."""
        poll = next_poll(self.spec, self.state)
        sync = next_sync(self.state, self._plan.settings)
        reader, due = Reader.KEDA, poll
        if sync is not None and sync < poll:
            reader, due = Reader.HPA, sync
        return reader, max(due, self._plan.start) + self._plan.late

    def edit(self, spec: ScalingSpec, now: float) -> Decision:
        """Create the object, or change it: what KEDA's operator does about it."""
        if spec is not self.spec:
            self.spec, self._triggers = spec, self._built(spec)
        status, settings = self.replicas.status(now), self._plan.settings
        self.state, decision = reconcile(spec, status, self.state, now, settings)
        if decision.changes:
            self.replicas.scale(decision.replicas, now)
        return decision

    def _built(self, spec: ScalingSpec) -> tuple[Trigger, ...]:
        status, targets = self.replicas.status, self._plan.targets
        return triggers_of(spec, self._metrics, status, targets, self._own)

    def look(self, reader: Reader, now: float, *, held: bool = False) -> Tick:
        """One poll, sync or push at *now*. *held*: a request waits for a replica, as in a run."""
        spec, settings = self.spec, self._plan.settings
        if held and reader is Reader.KEDA:
            spec = with_activation(spec)
        status = self.replicas.status(now)
        readings: tuple[TriggerReading, ...] = ()
        if reader is Reader.KEDA or sync_reads_metrics(spec, self.state, status, settings):
            wanted = triggers_to_read(spec, self.state, reader)
            readings = tuple([_finished(self._triggers[index].read(now)) for index in wanted])
        result = evaluate(spec, Observation(reader, readings, status), self.state, now, settings)
        self.state = result.state
        if result.decision.changes:
            self.replicas.scale(result.decision.replicas, now)
        return Tick(
            time=now,
            reader=reader,
            namespace=spec.namespace,
            name=spec.name,
            target=spec.target,
            samples=self.samples,
            readings=readings,
            values=result.values,
            recommendations=result.recommendations,
            decision=result.decision,
            status=self.replicas.status(now),
            kind=spec.kind,
        )


def metric_names(spec: ScalingSpec, targets: Mapping[str, float] | None = None) -> tuple[str, ...]:
    """The metrics of the triggers as KEDA names them; that of a formula comes last."""
    built = triggers_of(spec, None, lambda _: TargetStatus(0, 0), targets)
    names = tuple(trigger.metric_name for trigger in built)
    return names if spec.modifiers is None else (*names, COMPOSITE_METRIC)


def _finished(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that waits for nothing, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a trigger waited for something; recorded metrics answer at once")
