from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.scaling import explain
from stoker.scaling.explain import explain_next, fill_times
from stoker.scaling.observation import PodStatus, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Behavior, Fallback, ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import HpaState, PastRecommendation, ScalingState

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
        patch.setattr(explain, "_settled_at", lambda *_: math.inf)  # look at every sync
        assert told == explain_next(*arguments)


def test_a_size_that_holds_is_known_after_one_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    normalise = explain.normalise
    monkeypatch.setattr(explain, "normalise", lambda *a: looks.append(a) or normalise(*a))
    steady = state(*((3, 1000.0 - 15 * n) for n in range(20)))

    assert explain_next(SPEC, steady, QUIET, target(3), 1000.0, ControllerSettings()) == (
        "holds 3",
    )
    assert len(looks) == 1
