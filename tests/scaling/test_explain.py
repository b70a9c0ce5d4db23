"""What comes next, in sentences that are true."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.recommenders.hpa import recommend
from stoker.scaling import outlook
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.explain import explain_next, fill_times
from stoker.scaling.fallback import settle
from stoker.scaling.observation import (
    Observation,
    PodStatus,
    Reader,
    ResourceUsage,
    TargetStatus,
    TriggerReading,
    TriggerValue,
)
from stoker.scaling.reasons import keda_condition
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    Behavior,
    Fallback,
    PolicyType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingPolicy,
    ScalingRules,
    ScalingSpec,
    SelectPolicy,
    TriggerSpec,
)
from stoker.scaling.state import Health, HpaState, PastRecommendation, ScaleEvent, ScalingState

SPEC = ScalingSpec(
    "llama", ScaleTargetRef("llama"), (TriggerSpec(0, "prometheus"),), min_replica_count=1
)
QUIET = (TriggerValue("s0-prometheus", 0.0, 5.0, milli=(0,)),)


def target(replicas: int) -> TargetStatus:
    return TargetStatus(replicas, replicas, tuple(PodStatus(f"p{n}") for n in range(replicas)))


def state(*past: tuple[int, float], last_sync: float = 1000.0) -> ScalingState:
    hpa = HpaState(
        900.0,
        last_sync=last_sync,
        recommendations=tuple(PastRecommendation(n, at) for n, at in past),
    )
    return replace(ScalingState.new(900.0), hpa=hpa, last_active=990.0, last_poll=990.0)


def test_tells_until_when_the_window_holds_and_what_follows() -> None:
    held = state((3, 955.0), (1, 1000.0))

    (sentence,) = explain_next(SPEC, held, QUIET, target(3), 1000.0, ControllerSettings())

    # syncs are at 1015 + 15 n: the first one more than 300 s after 955 is at 1270
    assert sentence == (
        "holds 3 until {t:1270.000} (stabilizationWindowSeconds 300), then 1 if nothing changes"
    )


def test_tells_when_it_scales_to_zero() -> None:
    spec = replace(SPEC, min_replica_count=0, cooldown_period=60, behavior=Behavior())

    said = explain_next(spec, state((1, 1000.0)), QUIET, target(1), 1000.0, ControllerSettings())

    # polls are at 990 + 30 n; the cooldown ends with 1050, and its end still holds
    assert said[-1].startswith("scales to zero at {t:1080.000} (cooldownPeriod 60)")


def test_tells_how_many_failures_are_missing_to_the_fallback() -> None:
    spec = replace(SPEC, fallback=Fallback(3, 4))
    failing = (TriggerValue("s0-prometheus", None, 5.0, error="it fails"),)

    (sentence, *_) = explain_next(
        spec, state((1, 1000.0)), failing, target(2), 1000.0, ControllerSettings()
    )

    assert sentence.startswith("s0-prometheus fails: fallback to 4 replicas after 4 more")


def test_times_are_filled_in() -> None:
    assert fill_times("holds 3 until {t:1270.000}, then 1", lambda t: f"<{t:.0f}>") == (
        "holds 3 until <1270>, then 1"
    )


@given(
    past=st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 9]), st.integers(0, 400).map(lambda age: 1000.0 - age)),
        min_size=1,
        max_size=5,
    ),
    window=st.sampled_from([None, 0, 60, 300]),
    current=st.integers(1, 5),
)
def test_stops_looking_ahead_where_nothing_can_change_any_more(
    past: list[tuple[int, float]], window: int | None, current: int
) -> None:
    spec = SPEC
    if window is not None:
        down = replace(Behavior().scale_down, stabilization_window_seconds=window)
        spec = replace(SPEC, behavior=replace(Behavior(), scale_down=down))
    arguments = (spec, state(*past), QUIET, target(current), 1000.0, ControllerSettings())

    told = explain_next(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlook, "_settled_at", lambda *_: math.inf)  # look at every sync
        assert told == explain_next(*arguments)


def test_a_size_that_holds_is_known_after_one_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    normalise = outlook.normalise
    monkeypatch.setattr(outlook, "normalise", lambda *a: looks.append(a) or normalise(*a))
    steady = state(*((3, 1000.0 - 15 * n) for n in range(20)))

    assert explain_next(SPEC, steady, QUIET, target(3), 1000.0, ControllerSettings()) == (
        "holds 3",
    )
    assert len(looks) == 1


# Every branch says what is true -----------------------------------------------------------------

PAUSE_IN = {"autoscaling.keda.sh/paused-scale-in": "true"}
PAUSE_OUT = {"autoscaling.keda.sh/paused-scale-out": "true"}
FAILS = TriggerValue("s0-prometheus", None, 5.0, error="it fails")
FORMULA_FAILS = TriggerValue("composite-metric", None, 5.0, error="it fails")
BUSY = TriggerValue("s0-prometheus", 50.0, 5.0, milli=(50_000,), active=True)
REPLACED = TriggerValue("s0-prometheus", 20.0, 5.0, milli=(20_000,), active=True, is_fallback=True)
NO_CPU = TriggerValue("cpu", None, 50.0, error="boom", resource=ResourceUsage("cpu", 1000.0))
FROM_ZERO = replace(SPEC, min_replica_count=0, cooldown_period=60)
IDLE = replace(SPEC, min_replica_count=5, idle_replica_count=2, cooldown_period=60)
DISABLED = replace(
    Behavior(),
    scale_down=replace(Behavior().scale_down, select_policy=SelectPolicy.DISABLED),
    scale_up=replace(Behavior().scale_up, select_policy=SelectPolicy.DISABLED),
)
ONE_A_MINUTE = replace(
    Behavior(),
    scale_down=replace(
        Behavior().scale_down,
        stabilization_window_seconds=0,
        policies=(ScalingPolicy(PolicyType.PODS, 1, 60),),
    ),
)
WAITING_UP = replace(
    Behavior(), scale_up=replace(Behavior().scale_up, stabilization_window_seconds=60)
)


def failed(count: int, name: str = "s0-prometheus") -> ScalingState:
    return replace(state((1, 1000.0)), health=(Health(name, count),))


def made_at(size: int, known: ScalingState) -> ScalingState:
    """*known* whose last sync found *size* replicas."""
    assert known.hpa is not None
    return replace(known, hpa=replace(known.hpa, current_replicas=size))


def removed_at(at: float) -> ScalingState:
    known = state((1, 1000.0))
    assert known.hpa is not None
    return replace(known, hpa=replace(known.hpa, scale_down_events=(ScaleEvent(1, at),)))


@pytest.mark.parametrize(
    ("spec", "known", "values", "current", "sentences"),
    [
        pytest.param(
            replace(SPEC, annotations={"autoscaling.keda.sh/paused": "true"}),
            state((1, 1000.0)),
            (BUSY,),
            3,
            ["paused: stays at 3 until the annotation is removed"],
            id="paused",
        ),
        pytest.param(
            replace(SPEC, max_replica_count=8),
            state((10, 1000.0)),
            (BUSY,),
            8,
            ["holds 8 (maxReplicaCount 8)"],
            id="at the maximum",
        ),
        pytest.param(
            SPEC,
            state((3, 1000.0), (1, 1000.0)),
            QUIET,
            3,
            [
                (
                    "holds 3 until {t:1315.000} (stabilizationWindowSeconds 300), then 1 "
                    "if nothing changes"
                )
            ],
            id="after the first sync",
        ),
        pytest.param(
            SPEC, state((0, 1000.0)), (BUSY,), 1, ["holds 1 (minReplicas 1)"], id="at the minimum"
        ),
        pytest.param(
            SPEC,
            state((10, 1000.0)),
            (BUSY,),
            1,
            ["holds 1 until {t:1015.000}, then 4 if nothing changes"],
            id="doubles",
        ),
        pytest.param(
            replace(SPEC, behavior=WAITING_UP),
            state((2, 970.0), (10, 1000.0)),
            (BUSY,),
            2,
            [
                (
                    "holds 2 until {t:1030.000} (scaleUp stabilizationWindowSeconds 60), then 6 if "
                    "nothing changes"
                )
            ],
            id="waits to grow",
        ),
        pytest.param(
            replace(SPEC, behavior=ONE_A_MINUTE),
            removed_at(990.0),
            QUIET,
            4,
            ["holds 4 until {t:1060.000} (scaleDown policies), then 3 if nothing changes"],
            id="one pod a minute",
        ),
        pytest.param(
            replace(SPEC, behavior=DISABLED),
            state((9, 1000.0)),
            (BUSY,),
            3,
            ["holds 3 (scaleUp selectPolicy Disabled)"],
            id="scaleUp disabled",
        ),
        pytest.param(
            replace(SPEC, behavior=DISABLED),
            state((1, 1000.0)),
            QUIET,
            3,
            ["holds 3 (scaleDown selectPolicy Disabled)"],
            id="scaleDown disabled",
        ),
        pytest.param(
            replace(SPEC, annotations=PAUSE_OUT),
            state((9, 1000.0)),
            (BUSY,),
            3,
            ["holds 3 (autoscaling.keda.sh/paused-scale-out)"],
            id="scale-out paused",
        ),
        pytest.param(
            replace(SPEC, annotations=PAUSE_IN),
            state((1, 1000.0)),
            QUIET,
            3,
            ["holds 3 (autoscaling.keda.sh/paused-scale-in)"],
            id="scale-in paused",
        ),
        pytest.param(
            SPEC,
            made_at(4, state((10, 1000.0))),
            (BUSY,),
            8,
            ["holds 8 until {t:1015.000}, then 10 if the recommendation stays at 10"],
            id="made for another size",
        ),
        pytest.param(
            SPEC,
            state((3, 985.0)),
            (BUSY,),
            3,
            ["holds 3; next HPA sync at {t:1015.000}"],
            id="the last sync computed nothing",
        ),
        pytest.param(
            SPEC,
            replace(state((1, 1000.0)), hpa=None),
            (BUSY,),
            3,
            ["there is no HPA: nothing changes between 1 and the maximum"],
            id="no hpa",
        ),
        pytest.param(
            replace(SPEC, max_replica_count=8),
            state((1, 1000.0)),
            (BUSY,),
            9,
            ["goes to 8 at the next sync, {t:1015.000} (maxReplicaCount)"],
            id="above the maximum",
        ),
        pytest.param(
            replace(SPEC, min_replica_count=5),
            replace(state((1, 1000.0)), last_poll=980.0),
            (BUSY,),
            3,
            ["goes to 5 at the next poll, {t:1010.000} (minReplicaCount)"],
            id="below the minimum, the poll is first",
        ),
        pytest.param(
            replace(SPEC, min_replica_count=5),
            state((1, 1000.0)),
            (BUSY,),
            3,
            ["goes to 5 at the next sync, {t:1015.000} (minReplicaCount)"],
            id="below the minimum, the sync is first",
        ),
        pytest.param(
            IDLE,
            state((1, 1000.0)),
            QUIET,
            5,
            [
                "holds 5 (minReplicas 5)",
                (
                    "scales to 2 (idleReplicaCount) at {t:1080.000} (cooldownPeriod 60) "
                    "if no trigger becomes active"
                ),
            ],
            id="to idle",
        ),
        pytest.param(
            replace(FROM_ZERO, initial_cooldown_period=120),
            replace(state((1, 1000.0)), last_active=None),
            QUIET,
            1,
            [
                "holds 1",
                (
                    "scales to zero at {t:1050.000} (initialCooldownPeriod 120) "
                    "if no trigger becomes active"
                ),
            ],
            id="never active",
        ),
        pytest.param(
            replace(FROM_ZERO, annotations=PAUSE_IN),
            state((1, 1000.0)),
            QUIET,
            1,
            ["holds 1", "does not scale to zero: autoscaling.keda.sh/paused-scale-in is set"],
            id="scale-in paused, at one",
        ),
        pytest.param(
            replace(FROM_ZERO, annotations={"autoscaling.keda.sh/force-activation": "true"}),
            state((1, 1000.0)),
            QUIET,
            1,
            ["holds 1"],
            id="forced",
        ),
        pytest.param(
            replace(FROM_ZERO, triggers=(TriggerSpec(0, "cpu"),)),
            state((1, 1000.0)),
            QUIET,
            1,
            ["holds 1"],
            id="cpu alone",
        ),
        pytest.param(
            FROM_ZERO,
            state((1, 1000.0)),
            QUIET,
            0,
            ["stays at 0 until a trigger is active; next poll at {t:1020.000}"],
            id="at zero",
        ),
        pytest.param(
            replace(FROM_ZERO, annotations={"autoscaling.keda.sh/force-activation": ""}),
            state((1, 1000.0)),
            QUIET,
            0,
            ["wakes to 1 at the next poll, {t:1020.000}"],
            id="at zero, forced",
        ),
        pytest.param(
            replace(SPEC, min_replica_count=2),
            state((1, 1000.0)),
            QUIET,
            0,
            ["goes to 2 (minReplicaCount) at the next poll, {t:1020.000}"],
            id="at zero below the minimum",
        ),
        pytest.param(
            replace(FROM_ZERO, annotations=PAUSE_OUT),
            state((1, 1000.0)),
            (BUSY,),
            0,
            ["stays at 0: autoscaling.keda.sh/paused-scale-out is set"],
            id="at zero, scale-out paused",
        ),
        pytest.param(
            FROM_ZERO,
            state((1, 1000.0)),
            (FAILS,),
            0,
            [
                "s0-prometheus fails and there is no fallback: cannot wake it until it answers",
                "stays at 0 until a trigger is active; next poll at {t:1020.000}",
            ],
            id="at zero, failing",
        ),
        pytest.param(
            FROM_ZERO,
            state((1, 1000.0)),
            (FAILS,),
            2,
            [
                "s0-prometheus fails and there is no fallback: cannot go below 2 until it answers",
            ],
            id="failing without fallback",
        ),
        pytest.param(
            replace(SPEC, fallback=Fallback(3, 4)),
            failed(3),
            (FAILS,),
            2,
            [
                (
                    "s0-prometheus fails: fallback to 4 replicas after 1 more failed read "
                    "(failureThreshold 3)"
                )
            ],
            id="one before the fallback",
        ),
        *(
            pytest.param(
                replace(SPEC, fallback=Fallback(3, 4, behavior)),
                failed(1),
                (FAILS,),
                2,
                [
                    (
                        f"s0-prometheus fails: fallback {aim} after 3 more failed reads "
                        "(failureThreshold 3)"
                    )
                ],
                id=f"fallback {behavior}",
            )
            for behavior, aim in {
                "currentReplicas": "to the current replicas",
                "currentReplicasIfHigher": "to 4 replicas, or the current ones if they are more",
                "currentReplicasIfLower": "to 4 replicas, or the current ones if they are fewer",
            }.items()
        ),
        pytest.param(
            replace(SPEC, fallback=Fallback(3, 4)),
            replace(failed(9), last_poll=990.0),
            (FAILS,),
            2,
            ["s0-prometheus fails and its fallback cannot be computed: stays at 2"],
            id="no ready pod to divide by",
        ),
        pytest.param(
            replace(
                SPEC,
                fallback=Fallback(3, 4),
                modifiers=ScalingModifiers("a", 2.5, target_text="2.5"),
            ),
            failed(9, "s1-prometheus"),
            (FORMULA_FAILS,),
            2,
            ["composite-metric fails; KEDA ignores the fallback, for the target 2.5 is not whole"],
            id="float target",
        ),
        pytest.param(
            replace(
                SPEC, fallback=Fallback(3, 4), modifiers=ScalingModifiers("a", 2, target_text="2")
            ),
            failed(2, "s1-prometheus"),
            (FORMULA_FAILS,),
            2,
            [
                (
                    "composite-metric fails: fallback to 4 replicas after 2 more failed reads "
                    "(failureThreshold 3)"
                )
            ],
            id="a formula fails with its triggers",
        ),
        pytest.param(
            replace(SPEC, fallback=Fallback(3, 4)),
            replace(state((4, 1000.0)), health=(Health("s0-prometheus", 7),)),
            (REPLACED,),
            4,
            [
                "s0-prometheus is replaced by the fallback, to 4 replicas, until it answers again",
                "holds 4",
            ],
            id="in fallback",
        ),
        pytest.param(
            replace(FROM_ZERO, fallback=Fallback(3, 0)),
            failed(1),
            (FAILS,),
            1,
            [
                (
                    "s0-prometheus fails: fallback to 0 replicas after 3 more failed reads "
                    "(failureThreshold 3)"
                ),
                "scales to zero at {t:1080.000} (cooldownPeriod 60) if no trigger becomes active",
            ],
            id="a fallback of 0 does not keep it up",
        ),
        pytest.param(
            SPEC,
            state((9, 1000.0)),
            (NO_CPU, BUSY),
            3,
            [
                "cpu has no value: the HPA cannot go below 3 until it has",
                "holds 3 until {t:1015.000}, then 6 if nothing changes",
            ],
            id="some fail: it may still grow",
        ),
        pytest.param(
            SPEC,
            state((1, 1000.0)),
            (NO_CPU, QUIET[0]),
            3,
            ["cpu has no value: the HPA cannot go below 3 until it has"],
            id="some fail: it may not shrink",
        ),
    ],
)
def test_says_what_comes(
    spec: ScalingSpec,
    known: ScalingState,
    values: tuple[TriggerValue, ...],
    current: int,
    sentences: list[str],
) -> None:
    told = explain_next(spec, known, values, target(current), 1000.0, ControllerSettings())

    assert list(told) == sentences


def test_where_nobody_was_asked_the_last_poll_tells_whether_it_is_active() -> None:
    known = replace(
        state((1, 1000.0)), conditions=(keda_condition("Active", "True", "ScalerActive"),)
    )

    assert explain_next(FROM_ZERO, known, (), target(1), 1000.0, ControllerSettings()) == (
        "holds 1",
    )


POLICIES = st.builds(
    ScalingPolicy, st.sampled_from(PolicyType), st.integers(1, 100), st.sampled_from([15, 60, 120])
)
RULES = st.builds(
    ScalingRules,
    st.sampled_from([0, 30, 120, 300]),
    st.sampled_from(SelectPolicy),
    st.lists(POLICIES, min_size=1, max_size=2).map(tuple),
)


@dataclass(frozen=True)
class Said:
    """What a sentence claims, as long as the load is that one and *desired* is recommended."""

    load: float
    until: float | None  # None: it holds for ever
    then: int | None
    desired: int | None  # None: whatever is recommended

    @classmethod
    def read(cls, sentence: str, load: float) -> Said:
        found = re.search(r"until \{t:(.+?)\}.*then (\d+) if", sentence)
        stays = re.search(r"recommendation stays at (\d+)", sentence)
        desired = int(stays[1]) if stays else None
        if found is None:
            return cls(load, None, None, desired)
        return cls(load, float(found[1]), int(found[2]), desired)


@settings(max_examples=200, deadline=None)
@given(
    behavior=st.none() | st.builds(Behavior, RULES, RULES),
    minimum=st.integers(1, 3),
    loads=st.lists(st.sampled_from([0, 7, 20, 60, 200]), min_size=1, max_size=12),
)
def test_what_it_says_comes_true(
    behavior: Behavior | None, minimum: int, loads: list[float]
) -> None:
    """The load stays as it was: the size changes when it was said to, and to what was said."""
    spec = replace(SPEC, behavior=behavior, min_replica_count=minimum, max_replica_count=20)
    cluster = ControllerSettings()
    known, _ = reconcile(spec, target(minimum), ScalingState.new(1000.0), 1000.0, cluster)
    now, current, said = 1000.0, minimum, None
    for load in [*loads, *([loads[-1]] * 50)]:
        now += 15
        reading = TriggerReading(0, "s0-prometheus", load, 5.0, active=True)
        observation = Observation(Reader.HPA, (reading,), target(current))
        known, values = settle(spec, observation, known, now, cluster)
        wants = recommend(spec, values, observation.target, cluster)
        known, decision = decide(spec, observation, values, wants, known, now, cluster)
        if said is not None and said.load == load and said.desired in (None, decision.desired):
            assert decision.replicas == (said.then if now == said.until else current), said
        else:
            said = None
        current = decision.replicas
        (sentence,) = explain_next(spec, known, values, target(current), now, cluster)
        if said is None or now == said.until:
            said = Said.read(sentence, load)
