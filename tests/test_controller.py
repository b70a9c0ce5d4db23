"""The six steps as a whole: a controller with a trigger and a target that obey the test."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from stoker.controller import Controller
from stoker.scaling.observation import PodStatus, Reader, TargetStatus, TriggerReading
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState
from stoker.tick import Samples


@dataclass
class Queue:
    """A trigger that says what it was told."""

    value: float = 0.0
    reads: int = 0
    metric_name: str = "s0-prometheus"
    target: float = 5.0

    async def read(self, now: float) -> TriggerReading:  # noqa: ARG002 - a trigger's signature
        self.reads += 1
        return TriggerReading(0, self.metric_name, self.value, self.target, active=self.value > 0)

    async def close(self) -> None:
        pass


@dataclass
class Target:
    """Replicas that are ready as soon as they are asked for."""

    replicas: int = 1
    asked: list[int] = field(default_factory=list)

    def status(self) -> TargetStatus:
        pods = tuple(PodStatus(f"p{i}", ready=True) for i in range(self.replicas))
        return TargetStatus(self.replicas, self.replicas, pods)

    def pods(self) -> tuple[()]:
        return ()

    async def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self.asked.append(replicas)


def a_controller(queue: Queue, target: Target, held: list[str], **fields: object) -> Controller:
    spec = ScalingSpec(
        "so", ScaleTargetRef("d"), (TriggerSpec(0, "prometheus"),), max_replica_count=9, **fields
    )
    return Controller(
        spec,
        [queue],
        target,
        ScalingState.new(0.0),
        settings=ControllerSettings(),
        samples=lambda _now: Samples(1, 400, 2.0),
        held=lambda: bool(held),
    )


async def test_a_sync_goes_the_way_of_data_from_sample_to_replicas():
    queue, target = Queue(12), Target()
    controller = a_controller(queue, target, [], min_replica_count=1)
    await controller.reconcile(0.0)
    tick = await controller.step(Reader.HPA, 15.0)
    assert tick.samples.series == 400
    assert tick.readings[0].value == 12
    assert tick.values[0].value == 12
    assert tick.recommendations[0].replicas == 3
    assert (tick.decision.was, tick.decision.replicas) == (1, 3)
    assert target.asked == [3]
    assert tick.status.spec_replicas == 3, "the status after the decision was applied"


async def test_at_zero_the_hpa_asks_nobody():
    queue, target = Queue(12), Target(0)
    controller = a_controller(queue, target, [])
    await controller.reconcile(0.0)
    tick = await controller.step(Reader.HPA, 15.0)
    assert (queue.reads, tick.decision.reason, target.asked) == (0, "ScalingDisabled", [])


@pytest.mark.parametrize(("held", "asked"), [([], [0]), (["a request"], [])], ids=["idle", "held"])
async def test_a_held_request_keeps_the_replica_that_it_waits_for(held, asked):
    """The trigger sees nothing and the cooldown is over: without the request it goes to zero."""
    target = Target(1)
    controller = a_controller(Queue(0), target, held, cooldown_period=3.0)
    await controller.reconcile(0.0)
    await controller.step(Reader.KEDA, 100.0)
    assert target.asked == asked


async def test_a_push_wakes_a_model_out_of_turn():
    queue, target = Queue(0), Target(0)
    controller = a_controller(queue, target, ["a request"])
    await controller.reconcile(0.0)
    tick = await controller.step(Reader.PUSH, 7.0)
    assert (target.asked, queue.reads) == ([1], 0)
    assert controller.state.last_active == 7.0
    assert tick.decision.was == 0
