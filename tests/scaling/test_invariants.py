"""What must hold for any spec and any metric."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.recommenders.hpa import recommend
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.explain import explain_next
from stoker.scaling.fallback import settle
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
    ScaleTargetRef,
    ScalingModifiers,
    ScalingSpec,
    TriggerSpec,
)
from stoker.scaling.state import ScalingState

METRICS = st.one_of(
    st.none(),
    st.floats(0, 200),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e18, 1e25, 1e308, 5e-324]),
)
SETTINGS = ControllerSettings()


@st.composite
def specs(draw: Any) -> ScalingSpec:
    maximum = draw(st.integers(1, 20))
    return ScalingSpec(
        name="llama",
        target=ScaleTargetRef("llama"),
        triggers=tuple(
            TriggerSpec(
                i,
                "prometheus",
                name=name,
                metric_type=draw(st.sampled_from([MetricType.AVERAGE_VALUE, MetricType.VALUE])),
                use_cached_metrics=draw(st.booleans()),
            )
            for i, name in enumerate("ab")
        ),
        min_replica_count=draw(st.one_of(st.none(), st.integers(0, maximum))),
        max_replica_count=maximum,
        cooldown_period=draw(st.sampled_from([0, 30, 300])),
        fallback=draw(
            st.one_of(st.none(), st.builds(Fallback, st.integers(0, 3), st.integers(0, 9)))
        ),
        behavior=draw(st.one_of(st.none(), st.just(Behavior()))),
        modifiers=draw(st.one_of(st.none(), st.just(ScalingModifiers("a ?? b - 3", 2.0)))),
    )


STEPS = st.lists(
    st.tuples(st.sampled_from([Reader.KEDA, Reader.HPA, Reader.PUSH]), METRICS, METRICS),
    min_size=1,
    max_size=25,
)


def run(spec: ScalingSpec, steps: Any, *, restart: bool) -> list[tuple[int, str]]:
    """The decisions of a run; *restart* puts the state through JSON before every step."""
    state, replicas, decisions = ScalingState.new(1000.0), 1, []
    target = TargetStatus(1, 1, (PodStatus("p0", ready=True),))
    state, _ = reconcile(spec, target, state, 1000.0, SETTINGS)
    for i, (reader, *metrics) in enumerate(steps):
        now = 1015.0 + 15 * i
        if restart:
            state = ScalingState.from_dict(json.loads(json.dumps(state.to_dict())))
        pods = tuple(PodStatus(f"p{n}", ready=n % 3 != 2) for n in range(replicas))
        target = TargetStatus(replicas, replicas, pods)
        readings = tuple(
            TriggerReading(
                index=n,
                metric_name=f"s{n}-prometheus",
                value=value,
                target=5.0,
                active=value is not None and value > 0,
                error="it fails" if value is None else None,
                metric_type=spec.triggers[n].metric_type,
                trigger_name=spec.triggers[n].name,
            )
            for n, value in enumerate(metrics)
        )
        observation = Observation(reader, readings, target)
        state, values = settle(spec, observation, state, now, SETTINGS)
        wants = recommend(spec, values, target, SETTINGS)
        state, decision = decide(spec, observation, values, wants, state, now, SETTINGS)
        explain_next(spec, state, values, target, now, SETTINGS)
        decisions.append((decision.replicas, decision.reason))
        replicas = decision.replicas
    return decisions


@settings(max_examples=60, deadline=None)
@given(specs(), STEPS)
def test_replicas_stay_within_bounds(spec: ScalingSpec, steps: Any) -> None:
    for replicas, _ in run(spec, steps, restart=False):
        assert 0 <= replicas <= max(spec.max_replicas, 1)


@settings(max_examples=60, deadline=None)
@given(specs(), STEPS)
def test_a_restart_at_any_step_changes_no_decision(spec: ScalingSpec, steps: Any) -> None:
    assert run(spec, steps, restart=True) == run(spec, steps, restart=False)


@given(st.floats(0, 1000), st.floats(0, 1000), st.integers(1, 10), st.sampled_from(MetricType))
def test_a_larger_metric_never_wants_fewer_replicas(
    one: float, other: float, replicas: int, metric_type: MetricType
) -> None:
    def wanted(value: float) -> int:
        spec = ScalingSpec("x", ScaleTargetRef("x"), (TriggerSpec(0, "prometheus"),))
        pods = tuple(PodStatus(f"p{n}", ready=True) for n in range(replicas))
        target = TargetStatus(replicas, replicas, pods)
        reading = TriggerReading(0, "s0-prometheus", value, 5.0, metric_type=metric_type)
        state = ScalingState.new(0.0)
        _, values = settle(spec, Observation(Reader.HPA, (reading,), target), state, 0.0, SETTINGS)
        return recommend(spec, values, target, SETTINGS)[0].replicas or 0

    low, high = sorted((one, other))
    assert wanted(low) <= wanted(high)
