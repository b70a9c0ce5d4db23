"""Values of the metrics that are served, sampled in the background.

KEDA calls without a deadline and waits for whatever it takes; a slow source would hold up its
decisions by tens of seconds. So sources are read at a pace of their own, and a call is answered
with the newest value, or with the reason why there is none.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stoker.clock import Clock
from stoker.scaling.fallback import settle
from stoker.scaling.modifiers import COMPOSITE_METRIC
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerReading
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import ScalingState
from stoker.triggers.base import Trigger

TIMEOUT: Final = 20.0
_SETTINGS: Final = ControllerSettings()
_TARGET: Final = TargetStatus(1, 1)
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9-]+")


@dataclass(frozen=True, slots=True)
class ServedMetric:
    """A metric as KEDA gets to know it. Name and target never change while the server runs.

    ``key`` is how users choose it: the trigger's name, or what it is called in the HPA.
    """

    scaled_object: str
    key: str
    name: str
    target: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What a source said at *at*. *value* None: it failed, *error* says why."""

    at: float
    value: float | None
    active: bool = False
    error: str = ""


class Sampler:
    """The metrics of one ScaledObject: one for each trigger, or the one of its formula.

    Args:
        spec: the ScaledObject.
        triggers: of it, in their order.
        max_age: seconds for which a good value is served on while its source fails.
        timeout: seconds after which a source that does not answer has failed.
    """

    def __init__(
        self,
        spec: ScalingSpec,
        triggers: Sequence[Trigger],
        *,
        max_age: float,
        timeout: float = TIMEOUT,
    ) -> None:
        self.spec = replace(spec, fallback=None)  # that is KEDA's business, on the other side
        self.max_age = max_age
        self.timeout = timeout
        self.failures = 0
        self._triggers = tuple(triggers)
        self._samples: dict[str, Sample] = {}
        self._good: dict[str, Sample] = {}
        self._watchers: list[Callable[[], None]] = []
        self.metrics = self._served()

    @property
    def name(self) -> str:
        """Of the ScaledObject."""
        return self.spec.name

    def _served(self) -> tuple[ServedMetric, ...]:
        modifiers = self.spec.modifiers
        if modifiers is not None:
            return (self._metric(COMPOSITE_METRIC, modifiers.target),)
        return tuple(
            self._metric(own.name or trigger.metric_name, trigger.target)
            for own, trigger in zip(self.spec.triggers, self._triggers, strict=True)
        )

    def _metric(self, key: str, target: float) -> ServedMetric:
        name = _NOT_IN_NAME.sub("-", f"{self.name}-{key}").lower()
        return ServedMetric(self.name, key, name, target)

    async def sample(self, now: float) -> None:
        """Read all sources once."""
        readings = tuple(await asyncio.gather(*(self._read(one, now) for one in self._triggers)))
        before = {metric.name: self.active(metric, now) for metric in self.metrics}
        for metric, sample in zip(self.metrics, self._sampled(readings, now), strict=True):
            self._samples[metric.name] = sample
            if sample.value is None:
                self.failures += 1
            else:
                self._good[metric.name] = sample
        if any(self.active(metric, now) != before[metric.name] for metric in self.metrics):
            for tell in tuple(self._watchers):
                tell()

    async def _read(self, trigger: Trigger, now: float) -> TriggerReading:
        """One source; what hangs has failed, and does not hold up the others for ever."""
        try:
            async with asyncio.timeout(self.timeout):
                return await trigger.read(now)
        except TimeoutError:
            index = self._triggers.index(trigger)
            error = f"no answer within {self.timeout:g} s"
            return TriggerReading(index, trigger.metric_name, None, trigger.target, error=error)

    def _sampled(self, readings: tuple[TriggerReading, ...], now: float) -> list[Sample]:
        if self.spec.modifiers is None:
            return [Sample(now, one.value, one.active, one.error or "") for one in readings]
        observation = Observation(Reader.KEDA, readings, _TARGET)
        _, (value,) = settle(self.spec, observation, ScalingState.new(now), now, _SETTINGS)
        return [Sample(now, value.value, value.active, value.error or "")]

    def newest(self, metric: ServedMetric, now: float) -> Sample:
        """The newest sample; a good one that is not too old while its source fails."""
        sample = self._samples.get(metric.name)
        if sample is None:
            return Sample(now, None, error="not sampled yet")
        good = self._good.get(metric.name)
        if sample.value is None and good is not None and now - good.at < self.max_age:
            return good
        if sample.value is not None and now - sample.at > self.max_age:
            return Sample(sample.at, None, error=f"no sample for {now - sample.at:.0f} s")
        return sample

    def active(self, metric: ServedMetric, now: float) -> bool:
        """Whether the metric is active now, as far as is known."""
        return self.newest(metric, now).active

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call *tell* when a metric becomes active or ceases to be. Returns how to end that."""
        self._watchers.append(tell)
        return lambda: self._watchers.remove(tell)

    async def run(self, clock: Clock, interval: float) -> None:
        """Sample until cancelled. The beat stays, also when a source is slow."""
        due = clock.now()
        while True:
            await self.sample(clock.now())
            due += interval * max(1, int((clock.now() - due) // interval) + 1)
            await clock.sleep(due - clock.now())

    async def close(self) -> None:
        """Give back what the triggers hold."""
        for trigger in self._triggers:
            await trigger.close()
