"""The core beside a second, naive telling of the same rules, over random objects and weather.

The two share no code and no author's shortcuts: where they differ, one of them is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from stoker.controller import evaluate
from stoker.scaling.cadence import triggers_to_read
from stoker.scaling.decide import reconcile
from stoker.scaling.observation import (
    Observation,
    PodStatus,
    Reader,
    TargetStatus,
    TriggerReading,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    Behavior,
    Fallback,
    MetricType,
    PolicyType,
    ScaleTargetRef,
    ScalingPolicy,
    ScalingRules,
    ScalingSpec,
    SelectPolicy,
    TriggerSpec,
)
from stoker.scaling.state import ScalingState

from . import naive

OBJECTS, LOOKS = 400, 120
STARTS = (1000.0, 1000.25)  # in quarters of a second, so that no rule hangs on a rounding
TYPES = {True: MetricType.AVERAGE_VALUE, False: MetricType.VALUE}


def rules_of(random: Random) -> naive.Rules:
    """What a user might write, and what the recordings have."""
    maximum = random.choice([1, 3, 8, 10, 50, 100])
    minimum = random.choice([None, 0, 0, 1, 1, 2, 5])
    minimum = minimum if minimum is None else min(minimum, maximum)
    with_behavior = random.random() < 0.6
    return naive.Rules(
        metrics=[
            naive.Metric(
                f"s{i}-prometheus",
                random.choice([0.5, 1.0, 2.5, 5.0, 7.0, 10.0, 333.333]),
                shared_out=random.random() < 0.7,
                cached=random.random() < 0.15,
            )
            for i in range(random.choice([1, 1, 2, 3]))
        ],
        minimum=minimum,
        maximum=maximum,
        idle=random.randrange(minimum) if minimum and random.random() < 0.4 else None,
        cooldown=random.choice([0, 20, 60, 300]),
        initial_cooldown=random.choice([0, 0, 45]),
        fallback=random.choice(
            [
                None,
                None,
                naive.Fallback(
                    random.choice([0, 1, 3]),
                    random.choice([0, 2, 6]),
                    random.choice(
                        [
                            "static",
                            "currentReplicas",
                            "currentReplicasIfHigher",
                            "currentReplicasIfLower",
                        ]
                    ),
                ),
            ]
        ),
        up=direction(random, 0) if with_behavior else None,
        down=direction(random, None) if with_behavior else None,
        forced=random.random() < 0.07,
        no_scale_in=random.random() < 0.07,
        no_scale_out=random.random() < 0.07,
        tolerance=random.choice([0.1, 0.1, 0.0, 0.3]),
        window=random.choice([300.0, 300.0, 60.0, 0.0]),
    )


def direction(random: Random, default: int | None) -> naive.Direction:
    return naive.Direction(
        random.choice([None, 0, 30, 60, 600] if default is None else [0, 45, 300]),
        random.choice(["Max", "Max", "Min", "Disabled"]),
        [
            naive.Policy(
                random.random() < 0.5, random.choice([1, 4, 10, 50, 100, 200]),
                random.choice([15, 30, 60, 180]),
            )
            for _ in range(random.choice([1, 1, 2, 3]))
        ],
        random.choice([None, None, 0.0, 0.2]),
    )  # fmt: skip


def spec_of(rules: naive.Rules) -> ScalingSpec:
    behavior = None
    if rules.up is not None and rules.down is not None:
        behavior = Behavior(scaling_rules(rules.up), scaling_rules(rules.down))
    switches = {
        "force-activation": rules.forced,
        "paused-scale-in": rules.no_scale_in,
        "paused-scale-out": rules.no_scale_out,
    }
    return ScalingSpec(
        "llama",
        ScaleTargetRef("llama"),
        tuple(
            TriggerSpec(
                i, "prometheus", metric_type=TYPES[m.shared_out], use_cached_metrics=m.cached
            )
            for i, m in enumerate(rules.metrics)
        ),
        cooldown_period=rules.cooldown,
        initial_cooldown_period=rules.initial_cooldown,
        min_replica_count=rules.minimum,
        max_replica_count=rules.maximum,
        idle_replica_count=rules.idle,
        fallback=None
        if rules.fallback is None
        else Fallback(rules.fallback.threshold, rules.fallback.replicas, rules.fallback.behavior),
        behavior=behavior,
        annotations={f"autoscaling.keda.sh/{k}": "true" for k, on in switches.items() if on},
    )


def scaling_rules(one: naive.Direction) -> ScalingRules:
    return ScalingRules(
        one.window,
        SelectPolicy(one.select),
        tuple(
            ScalingPolicy(PolicyType.PODS if p.pods else PolicyType.PERCENT, p.value, p.period)
            for p in one.policies
        ),
        one.tolerance,
    )


@dataclass
class Weather:
    """Metrics that rise, fall silent and fail; pods that come late; somebody with kubectl."""

    random: Random
    rules: naive.Rules
    world: naive.World

    def __post_init__(self) -> None:
        self._values = [0.0 for _ in self.rules.metrics]
        self._failing = [False for _ in self.rules.metrics]

    def change(self) -> None:
        random, world = self.random, self.world
        for i, metric in enumerate(self.rules.metrics):
            if random.random() < 0.25:
                self._values[i] = random.choice(
                    [0.0, 0.0, 0.0004, metric.target * world.wanted * random.choice([0.9, 1, 1.1]),
                     metric.target * random.uniform(0, 12), random.uniform(0, 5000),
                     metric.target * 2, math.nan, -3.0]
                )  # fmt: skip
            if random.random() < (0.3 if self._failing[i] else 0.05):
                self._failing[i] = not self._failing[i]
        if random.random() < 0.02:
            world.wanted = random.randrange(self.rules.maximum + 4)
        world.there = random.choice([world.wanted, world.wanted, max(world.wanted - 1, 0)])
        world.ready = random.choice([world.there, world.there, random.randint(0, world.there)])

    def answers(self) -> dict[str, naive.Answer]:
        return {
            metric.name: naive.Answer(None) if failing else naive.Answer(value, active=value > 0)
            for metric, value, failing in zip(
                self.rules.metrics, self._values, self._failing, strict=True
            )
        }


def looks(random: Random, start: float) -> Iterator[tuple[float, Reader]]:
    """Polls on their grid, syncs a little late each, never both at one moment."""
    interval = random.choice([5, 10, 30])
    poll, sync = start, start + 15.5
    for _ in range(LOOKS):
        if poll < sync:
            yield poll, Reader.KEDA
            poll += interval
        else:
            yield sync, Reader.HPA
            sync += 15 + random.choice([0, 0, 0.5])
        if poll == sync:
            sync += 0.5


@pytest.mark.parametrize("seed", range(OBJECTS))
def test_both_tellings_give_the_same_replicas(seed: int) -> None:
    """At every look, whatever has happened before."""
    random = Random(seed)
    rules = rules_of(random)
    spec = spec_of(rules)
    settings = ControllerSettings(tolerance=rules.tolerance, downscale_stabilization=rules.window)
    world = naive.World(*[random.choice([0, 1, 1, 3, 12])] * 3)
    start = random.choice(STARTS)
    weather, told = Weather(random, rules, world), naive.Naive(rules, start)
    state, _ = reconcile(spec, status(world), ScalingState.new(start), start, settings)
    for now, reader in looks(random, start):
        weather.change()
        answers = weather.answers()
        readings = tuple(
            reading(i, rules.metrics[i], answers) for i in triggers_to_read(spec, state, reader)
        )
        observation = Observation(reader, readings, status(world))
        result = evaluate(spec, observation, state, now, settings)
        look = told.poll if reader is Reader.KEDA else told.sync
        expected = look(now, world, answers)
        assert result.decision.replicas == expected, (now - start, world, rules)
        state, world.wanted = result.state, expected
    assert told.synced


def reading(index: int, metric: naive.Metric, answers: dict[str, naive.Answer]) -> TriggerReading:
    answer = answers[metric.name]
    return TriggerReading(
        index,
        metric.name,
        answer.value,
        metric.target,
        active=answer.active,
        error="no answer" if answer.value is None else None,
        metric_type=TYPES[metric.shared_out],
    )


def status(world: naive.World) -> TargetStatus:
    pods = tuple(PodStatus(f"p{i}", ready=i < world.ready) for i in range(world.there))
    return TargetStatus(world.wanted, world.there, pods)
