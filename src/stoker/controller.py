"""The six steps on one screen.

A :class:`Controller` looks after one ScaledObject. KEDA's poll and the HPA's sync go the same way:

1. sample          what was scraped, and how old it is
2. query           each trigger asks its source
3. trigger value   fallback and formula turn readings into values
4. recommendation  what each value alone would want
5. decision        one number, with its reason
6. replicas        the target is told

Steps 3 to 5 are :func:`evaluate`, pure, which a backtest and a replay call as well. When to look is
decided elsewhere: :mod:`stoker.stack.loops` for a live run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stoker.errors import StokerError
from stoker.recommenders.hpa import recommend
from stoker.scaling.annotations import FORCE_ACTIVATION
from stoker.scaling.cadence import sync_reads_metrics, triggers_to_read
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.decision import Decision, Recommendation
from stoker.scaling.explain import explain_next
from stoker.scaling.fallback import settle
from stoker.scaling.horizontal import failed_update
from stoker.scaling.observation import (
    Observation,
    Reader,
    TargetStatus,
    TriggerReading,
    TriggerValue,
)
from stoker.scaling.records import quick, replace
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import ScalingState
from stoker.targets.base import ScaleTarget
from stoker.tick import Samples, Tick
from stoker.triggers.base import Trigger, read_all


@quick
@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the pure steps made of an observation."""

    state: ScalingState
    values: tuple[TriggerValue, ...]
    recommendations: tuple[Recommendation, ...]
    decision: Decision


def evaluate(
    spec: ScalingSpec,
    observation: Observation,
    state: ScalingState,
    now: float,
    settings: ControllerSettings,
) -> Evaluation:
    """Steps 3 to 5: the same for a live run, a backtest and a replay."""
    state, values = settle(spec, observation, state, now, settings)
    wants: tuple[Recommendation, ...] = ()
    if observation.reader is Reader.HPA and values:
        wants = recommend(spec, values, observation.target, settings)
    state, decision = decide(spec, observation, values, wants, state, now, settings)
    return Evaluation(state, values, wants, decision)


def with_activation(spec: ScalingSpec) -> ScalingSpec:
    """*spec* as if somebody had written that it is to be active."""
    return replace(spec, annotations={**spec.annotations, FORCE_ACTIVATION: "true"})


class Controller:
    """One ScaledObject: its spec, its memory, its triggers and its target."""

    def __init__(
        self,
        spec: ScalingSpec,
        triggers: Sequence[Trigger],
        target: ScaleTarget,
        state: ScalingState,
        *,
        settings: ControllerSettings,
        samples: Callable[[float], Samples],
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec = spec
        self.state = state
        self._triggers = tuple(triggers)
        self._target = target
        self._settings = settings
        self._samples = samples
        self._held = held

    async def step(self, reader: Reader, now: float) -> Tick:
        """Go the way of data once, at *now*, and tell what happened at each step."""
        samples = self._samples(now)
        readings = await self._read(reader, now)
        observation = Observation(reader, readings, self._target.status())
        result = evaluate(self._spec_for(reader), observation, self.state, now, self._settings)
        self.state = result.state
        if result.decision.changes:
            result = await self._scaled(reader, result)
        return self._tick(now, samples, observation, result)

    async def _scaled(self, reader: Reader, result: Evaluation) -> Evaluation:
        """Step 6. A target that cannot be told is told of in the conditions of the HPA."""
        try:
            await self._target.scale(result.decision.replicas)
        except StokerError as error:
            hpa = self.state.hpa
            if reader is not Reader.HPA or hpa is None:
                raise
            hpa, decision = failed_update(hpa, result.decision, error.message)
            self.state = replace(self.state, hpa=hpa)
            return replace(result, state=self.state, decision=decision)
        return result

    def foresee(self, readings: Sequence[TriggerReading], now: float) -> Reader | None:
        """Who would want more replicas with these *readings*, None if nobody. Changes nothing.

        At zero that is KEDA, above it, and where there is no KEDA, the HPA.
        """
        status = self._target.status()
        is_kedas = status.spec_replicas == 0 and not self.spec.is_hpa
        reader = Reader.KEDA if is_kedas else Reader.HPA
        observation = Observation(reader, tuple(readings), status)
        decision = evaluate(self.spec, observation, self.state, now, self._settings).decision
        return reader if decision.replicas > status.spec_replicas else None

    async def reconcile(self, now: float) -> Decision:
        """Follow a change of the spec or of its annotations, as KEDA's operator does."""
        status = self._target.status()
        self.state, decision = reconcile(self.spec, status, self.state, now, self._settings)
        if decision.changes:
            await self._target.scale(decision.replicas)
        return decision

    async def close(self) -> None:
        """Give back what the triggers hold."""
        for trigger in self._triggers:
            await trigger.close()

    def _spec_for(self, reader: Reader) -> ScalingSpec:
        """The spec, with activation forced while a request waits for a replica.

        Otherwise a cooldown shorter than a cold start would take away the replica it waits for.
        """
        if reader is not Reader.KEDA or not self._held():
            return self.spec
        return with_activation(self.spec)

    async def _read(self, reader: Reader, now: float) -> tuple[TriggerReading, ...]:
        """Ask the sources, all at once, as KEDA and the HPA do."""
        if reader is Reader.HPA and not sync_reads_metrics(
            self.spec, self.state, self._target.status(), self._settings
        ):
            return ()
        wanted = triggers_to_read(self.spec, self.state, reader)
        reads = await asyncio.gather(*(read_all(self._triggers[index], now) for index in wanted))
        return tuple(reading for readings in reads for reading in readings)

    def _tick(
        self, now: float, samples: Samples, observation: Observation, result: Evaluation
    ) -> Tick:
        after: TargetStatus = self._target.status()
        return Tick(
            time=now,
            reader=observation.reader,
            namespace=self.spec.namespace,
            name=self.spec.name,
            target=self.spec.target,
            samples=samples,
            readings=observation.readings,
            values=result.values,
            recommendations=result.recommendations,
            decision=result.decision,
            status=after,
            next=explain_next(self.spec, self.state, result.values, after, now, self._settings),
            kind=self.spec.kind,
        )
