"""What is pushed brings a look forward, and only then."""

from __future__ import annotations

import asyncio
import math
from typing import Self

import pytest

from stoker.clock import LoopClock
from stoker.controller import Controller
from stoker.metrics.otlp.addon import MetricStore
from stoker.metrics.otlp.receiver import RawPoint
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.scaling.observation import PodStatus, Reader, TargetStatus
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Behavior, ScaleTargetRef, ScalingModifiers, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState
from stoker.stack.embedded import query_for
from stoker.stack.loops import Loops
from stoker.stack.waking import Waker, is_fed, metric_names
from stoker.tick import Samples
from stoker.triggers.base import TriggerContext
from stoker.triggers.registry import build_trigger

EPOCH = 1_700_000_000.0
ADD_ON = {
    "scalerAddress": "keda-otel-scaler.keda.svc:4318",
    "metricQuery": "sum(waiting)",
    "targetValue": "5",
}
PROMETHEUS = {
    "serverAddress": "http://prometheus.monitoring.svc:9090",
    "query": "sum(waiting)",
    "threshold": "5",
}


class Target:
    """Counts what it is asked for."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas

    def status(self) -> TargetStatus:
        pods = tuple(PodStatus(f"p{i}", ready=True) for i in range(self.replicas))
        return TargetStatus(self.replicas, self.replicas, pods)

    def pods(self):
        return ()

    async def scale(self, replicas: int) -> None:
        self.replicas = replicas


class Run:
    """A ScaledObject with its loops in virtual time, and somebody who pushes."""

    def __init__(self, triggers: tuple[TriggerSpec, ...], replicas: int, **fields) -> None:
        self.clock = LoopClock(epoch=EPOCH)
        self.storage, self.store = Storage(), MetricStore()
        self.target = Target(replicas)
        self.ticks = []
        spec = ScalingSpec("so", ScaleTargetRef("d"), triggers, min_replica_count=0, **fields)
        context = TriggerContext(query_for(self.storage), name="so", pushed=self.store)
        built = [build_trigger(one, context) for one in triggers]
        self.controller = Controller(
            spec, built, self.target, ScalingState.new(EPOCH),
            settings=ControllerSettings(), samples=lambda _: Samples(0, 0, None),
        )  # fmt: skip
        self.loops = Loops(
            self.controller, self.clock, ControllerSettings(),
            on_tick=self.ticks.append, on_error=lambda error: pytest.fail(str(error)),
        )  # fmt: skip
        self.tasks = set()
        fed = [one for one, own in zip(built, triggers, strict=True) if is_fed(own)]
        self.waker = Waker(
            spec,
            fed,
            self.controller,
            self.loops,
            self.clock,
            ControllerSettings(),
            self._background,
            lambda error: pytest.fail(str(error)),
        )

    def _background(self, work) -> None:
        self.tasks.add(asyncio.ensure_future(work))

    async def __aenter__(self) -> Self:
        await self.controller.reconcile(EPOCH)
        self._background(self.loops.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        ended = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert not [one for one in ended if isinstance(one, Exception)]

    def push(self, value: float, name: str = "waiting") -> None:
        now = self.clock.now()
        self.storage.append(Labels({"__name__": name}), now, value)
        self.waker.written(self.store.put([RawPoint(name, {}, value, now)], now))

    def looks(self, reader: Reader) -> list[float]:
        return [round(tick.time - EPOCH, 3) for tick in self.ticks if tick.reader is reader]


def trigger(metadata, index=0) -> TriggerSpec:
    return TriggerSpec(index, "prometheus" if "query" in metadata else "external", metadata)


pytestmark = pytest.mark.looptime


async def test_hpa_looks_at_once_when_more_replicas_are_wanted():
    async with Run((trigger(ADD_ON),), 1) as run:
        await asyncio.sleep(17.3)
        run.push(12)
        await asyncio.sleep(0.01)
        assert run.target.replicas == 3
        assert run.looks(Reader.HPA) == [15.0, 17.3]


async def test_next_regular_sync_is_a_period_later():
    async with Run((trigger(ADD_ON),), 1) as run:
        await asyncio.sleep(17.3)
        run.push(12)
        await asyncio.sleep(20)
        assert run.looks(Reader.HPA) == [15.0, 17.3, 32.3]


async def test_keda_activates_at_once():
    async with Run((trigger(ADD_ON),), 0) as run:
        await asyncio.sleep(3.5)
        run.push(1)
        await asyncio.sleep(0.01)
        assert run.target.replicas == 1
        assert run.looks(Reader.KEDA) == [0.0, 3.5]


async def test_query_of_whole_seconds_sees_it_at_the_next_one():
    async with Run((trigger(PROMETHEUS),), 1) as run:
        await asyncio.sleep(17.3)
        run.push(12)
        await asyncio.sleep(0.6)
        assert run.target.replicas == 1
        await asyncio.sleep(0.2)
        assert run.target.replicas == 3
        assert run.looks(Reader.HPA) == [15.0, 18.0]


@pytest.mark.parametrize("value", [0.0, 5.0, 5.4])
async def test_value_that_wants_no_more_waits_for_its_turn(value):
    async with Run((trigger(ADD_ON),), 1) as run:
        await asyncio.sleep(17.3)
        run.push(value)
        await asyncio.sleep(5)
        assert run.looks(Reader.HPA) == [15.0]


async def test_other_metrics_wake_nobody():
    async with Run((trigger(ADD_ON),), 1) as run:
        await asyncio.sleep(17.3)
        run.push(100, name="other")
        await asyncio.sleep(1)
        assert run.looks(Reader.HPA) == [15.0]


async def test_foresight_changes_nothing():
    async with Run((trigger(ADD_ON),), 1) as run:
        await asyncio.sleep(17.3)
        before = run.controller.state
        run.push(4)
        await asyncio.sleep(1)
        assert run.controller.state == before


async def test_flood_of_pushes_is_looked_at_four_times_a_second():
    async with Run((trigger(ADD_ON),), 1, behavior=Behavior()) as run:
        await asyncio.sleep(16)
        for i in range(200):
            run.push(12 + i)
            await asyncio.sleep(0.005)
        looks = [at for at in run.looks(Reader.HPA) if at >= 16]
        assert 1 <= len(looks) <= 5


async def test_policies_hold_for_looks_out_of_turn():
    async with Run((trigger(ADD_ON),), 1, behavior=Behavior()) as run:
        await asyncio.sleep(16)
        for _ in range(14):
            run.push(1000)
            await asyncio.sleep(1)
        assert run.target.replicas == 5  # 4 pods in 15 s


async def test_without_policies_there_is_one_doubling_a_sync_period():
    async with Run((trigger(ADD_ON),), 4) as run:
        await asyncio.sleep(16)
        for _ in range(14):
            run.push(1000)
            await asyncio.sleep(1)
        assert run.target.replicas == 8
        assert run.looks(Reader.HPA) == [15.0, 16.0]


async def test_paused_object_is_not_woken():
    async with Run((trigger(ADD_ON),), 1) as run:
        await asyncio.sleep(16)
        run.controller.spec = run.controller.spec.__class__(
            "so", ScaleTargetRef("d"), run.controller.spec.triggers,
            annotations={"autoscaling.keda.sh/paused": "true"},
        )  # fmt: skip
        await run.controller.reconcile(run.clock.now())
        run.push(1000)
        await asyncio.sleep(1)
        assert run.target.replicas == 1


async def test_formula_with_a_part_elsewhere_waits_for_its_turn():
    elsewhere = TriggerSpec(1, "cron", {
        "timezone": "UTC", "start": "0 0 * * *", "end": "1 0 * * *", "desiredReplicas": "1"
    }, name="c")  # fmt: skip
    modifiers = ScalingModifiers("a + c", 5.0)
    fed = TriggerSpec(0, "external", ADD_ON, name="a")
    async with Run((fed, elsewhere), 1, modifiers=modifiers) as run:
        await asyncio.sleep(17.3)
        run.push(100)
        await asyncio.sleep(1)
        assert run.looks(Reader.HPA) == [15.0]


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        (ADD_ON, {"waiting"}),
        (PROMETHEUS, {"waiting"}),
        (PROMETHEUS | {"query": "rate(a[1m]) + on () sum(b)"}, {"a", "b"}),
        (PROMETHEUS | {"query": 'sum({__name__=~"a|b"})'}, None),
        (PROMETHEUS | {"query": "sum("}, set()),
        (ADD_ON | {"metricQuery": "sum({"}, set()),
    ],
)
def test_names_that_a_trigger_asks_for(metadata, names):
    assert metric_names(trigger(metadata)) == (None if names is None else frozenset(names))


def test_other_servers_are_not_fed():
    assert not is_fed(trigger(PROMETHEUS | {"serverAddress": "http://example.org:9090"}))
    assert not is_fed(TriggerSpec(0, "cron", {}))
    assert math.isfinite(EPOCH)


async def test_error_in_judging_a_push_is_told_and_regular_looks_go_on(monkeypatch):
    async with Run((trigger(ADD_ON),), 1) as run:
        told = []
        run.waker._on_error = told.append
        monkeypatch.setattr(run.controller, "foresee", lambda *_: 1 / 0)
        run.push(12)
        await asyncio.sleep(16)
        assert [type(error) for error in told] == [ZeroDivisionError]
        assert run.looks(Reader.HPA) == [15.0]
        assert run.target.replicas == 3
