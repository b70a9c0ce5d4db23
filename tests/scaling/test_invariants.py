"""What must hold for any spec and any metric."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.recommenders.hpa import recommend
from stoker.scaling.behavior import scale_down_limit, scale_up_limit
from stoker.scaling.cadence import triggers_to_read
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.decision import Decision
from stoker.scaling.explain import explain_next
from stoker.scaling.fallback import settle
from stoker.scaling.observation import (
    Observation,
    PodStatus,
    PodUsage,
    Reader,
    ResourceUsage,
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
    ScalingModifiers,
    ScalingPolicy,
    ScalingRules,
    ScalingSpec,
    SelectPolicy,
    TriggerSpec,
)
from stoker.scaling.state import HpaState, ScalingState
from stoker.scaling.validation import problems

METRICS = st.one_of(
    st.none(),
    st.floats(0, 200),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e18, 1e25, 1e308, -1e308, 5e-324]),
)
VERSIONS = st.sampled_from(["1.32", "1.33", "1.34", "1.36", "1.37"])
POLICIES = st.builds(
    ScalingPolicy, st.sampled_from(PolicyType), st.integers(1, 200), st.sampled_from([15, 60, 1800])
)
RULES = st.builds(
    ScalingRules,
    st.sampled_from([0, 30, 300, 3600]),
    st.sampled_from(SelectPolicy),
    st.lists(POLICIES, min_size=1, max_size=3).map(tuple),
    st.sampled_from([None, 0.0, 0.5]),
)
FALLBACKS = st.builds(
    Fallback,
    st.integers(0, 3),
    st.integers(0, 9),
    st.sampled_from(
        ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
    ),
)
FORMULAS = st.builds(
    ScalingModifiers,
    st.sampled_from(["a + b", "a ?? b - 3", "a / (b - 1)", "max([a, b]) > 3 ? a : -b", "a ** b"]),
    st.sampled_from([2.0, 0.5]),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([MetricType.AVERAGE_VALUE, MetricType.VALUE]),
    st.sampled_from(["", "2", "0.5"]),
)
ANNOTATIONS = st.sampled_from(
    [
        {},
        {},
        {"autoscaling.keda.sh/paused-scale-in": "true"},
        {"autoscaling.keda.sh/paused-scale-out": "true"},
        {"autoscaling.keda.sh/force-activation": "true"},
    ]
)


@st.composite
def specs(draw: Any) -> ScalingSpec:
    """A ScaledObject that a cluster accepts, of two queries and cpu."""
    maximum = draw(st.integers(1, 20))
    minimum = draw(st.none() | st.integers(0, maximum))
    queries = tuple(
        TriggerSpec(
            i,
            "prometheus",
            name=name,
            metric_type=draw(st.sampled_from([MetricType.AVERAGE_VALUE, MetricType.VALUE])),
            use_cached_metrics=draw(st.booleans()),
        )
        for i, name in enumerate("ab")
    )
    cpu = TriggerSpec(2, "cpu", metric_type=MetricType.UTILIZATION)
    spec = ScalingSpec(
        name="llama",
        target=ScaleTargetRef("llama"),
        triggers=(*queries, cpu) if draw(st.booleans()) else queries,
        min_replica_count=minimum,
        max_replica_count=maximum,
        idle_replica_count=draw(st.none() | st.integers(0, (minimum or 1) - 1))
        if minimum is not None
        else None,
        cooldown_period=draw(st.sampled_from([0, 30, 300])),
        initial_cooldown_period=draw(st.sampled_from([0, 60])),
        fallback=draw(st.none() | FALLBACKS),
        behavior=draw(st.none() | st.just(Behavior()) | st.builds(Behavior, RULES, RULES)),
        modifiers=draw(st.none() | FORMULAS),
        annotations=draw(ANNOTATIONS),
    )
    assert problems(spec) == ()
    return spec


STEPS = st.lists(
    st.tuples(st.sampled_from([Reader.KEDA, Reader.HPA, Reader.PUSH]), METRICS, METRICS, METRICS),
    min_size=1,
    max_size=25,
)


@dataclass(frozen=True)
class Step:
    """One look of a run: what was, and what was decided."""

    reader: Reader
    now: float
    was: int
    hpa: HpaState
    decision: Decision


def readings_of(spec: ScalingSpec, metrics: Any, now: float, pods: Any) -> list[TriggerReading]:
    found = []
    for trigger, value in zip(spec.triggers, metrics, strict=False):
        usage = None
        if trigger.type == "cpu":
            finite = value is not None and math.isfinite(value)
            milli = int(max(min(value * 1000, 2.0**62), -(2.0**62))) if finite else None
            usage = ResourceUsage(
                "cpu",
                now,
                pods=()
                if milli is None
                else tuple(PodUsage(p.name, milli, now, 15.0) for p in pods),
                requests=tuple((p.name, 1000) for p in pods),
            )
        found.append(
            TriggerReading(
                index=trigger.index,
                metric_name="cpu" if usage else f"s{trigger.index}-prometheus",
                value=value,
                target=5.0,
                active=usage is None and value is not None and value > 0,
                error="it fails" if value is None else None,
                metric_type=trigger.metric_type,
                trigger_name=trigger.name,
                type=trigger.type,
                resource=usage,
            )
        )
    return found


def run(
    spec: ScalingSpec, steps: Any, *, restart: bool = False, version: str = "1.36"
) -> list[Step]:
    """What was decided; *restart* puts the state through JSON before every step."""
    cluster = ControllerSettings(kubernetes_version=version)
    state, replicas, taken = ScalingState.new(1000.0), 1, []
    target = TargetStatus(1, 1, (PodStatus("p0", ready=True),))
    state, _ = reconcile(spec, target, state, 1000.0, cluster)
    for i, (reader, *metrics) in enumerate(steps):
        now = 1015.0 + 15 * i
        if restart:
            state = ScalingState.from_dict(json.loads(json.dumps(state.to_dict())))
        pods = tuple(
            PodStatus(f"p{n}", ready=n % 3 != 2, started_at=0.0, ready_changed_at=1.0)
            for n in range(replicas)
        )
        target = TargetStatus(replicas, replicas, pods)
        wanted = triggers_to_read(spec, state, reader)
        readings = [r for r in readings_of(spec, metrics, now, pods) if r.index in wanted]
        observation = Observation(reader, tuple(readings), target)
        before = state.hpa
        assert before is not None
        state, values = settle(spec, observation, state, now, cluster)
        wants = recommend(spec, values, target, cluster) if reader is Reader.HPA else ()
        state, decision = decide(spec, observation, values, wants, state, now, cluster)
        explain_next(spec, state, values, target, now, cluster)
        taken.append(Step(reader, now, replicas, before, decision))
        replicas = decision.replicas
    return taken


@settings(max_examples=100, deadline=None)
@given(specs(), STEPS, VERSIONS)
def test_replicas_stay_within_bounds(spec: ScalingSpec, steps: Any, version: str) -> None:
    for step in run(spec, steps, version=version):
        assert 0 <= step.decision.replicas <= max(spec.max_replicas, 1)


@settings(max_examples=100, deadline=None)
@given(specs(), STEPS)
def test_the_hpa_never_goes_beyond_a_limit_of_its_policies(spec: ScalingSpec, steps: Any) -> None:
    spec_behavior = spec.behavior
    for step in run(spec, steps):
        inside = spec.hpa_min_replicas <= step.was <= spec.max_replicas
        if step.reader is not Reader.HPA or step.was == 0 or not inside:
            continue
        replicas = step.decision.replicas
        if spec_behavior is None:
            paused = any("paused-scale" in name for name in spec.annotations)
            assert paused or replicas <= max(2 * step.was, 4, spec.hpa_min_replicas)
            continue
        up = scale_up_limit(step.was, step.hpa, spec_behavior.scale_up, step.now)
        down = scale_down_limit(step.was, step.hpa, spec_behavior.scale_down, step.now)
        assert min(down, step.was) <= replicas <= max(up, step.was)


@settings(max_examples=100, deadline=None)
@given(specs(), STEPS)
def test_a_paused_direction_is_never_taken(spec: ScalingSpec, steps: Any) -> None:
    for step in run(spec, steps):
        if not spec.hpa_min_replicas <= step.was <= spec.max_replicas and step.was:
            continue  # the HPA corrects bounds whatever is paused
        if "autoscaling.keda.sh/paused-scale-in" in spec.annotations:
            assert step.decision.replicas >= step.was
        if "autoscaling.keda.sh/paused-scale-out" in spec.annotations and not (
            step.was < spec.min_replicas and step.reader is Reader.KEDA
        ):
            assert step.decision.replicas <= step.was


@settings(max_examples=60, deadline=None)
@given(specs(), STEPS)
def test_a_restart_at_any_step_changes_no_decision(spec: ScalingSpec, steps: Any) -> None:
    assert run(spec, steps, restart=True) == run(spec, steps, restart=False)


@settings(max_examples=30, deadline=None)
@given(specs(), STEPS, VERSIONS)
def test_two_runs_are_identical(spec: ScalingSpec, steps: Any, version: str) -> None:
    assert run(spec, steps, version=version) == run(spec, steps, version=version)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 500), min_size=1, max_size=20),
    st.lists(st.floats(0, 500), min_size=20, max_size=20),
    st.none() | st.just(Behavior()),
)
def test_more_load_all_along_never_ends_at_fewer_replicas_in_one_sync(
    loads: list[float], more: list[float], behavior: Behavior | None
) -> None:
    """Same history, one sync with more load: at least as many replicas."""
    spec = ScalingSpec(
        "x",
        ScaleTargetRef("x"),
        (TriggerSpec(0, "prometheus"),),
        min_replica_count=1,
        max_replica_count=50,
        behavior=behavior,
    )
    shared = [(Reader.HPA, load) for load in loads[:-1]]
    low = run(spec, [*shared, (Reader.HPA, loads[-1])])[-1]
    high = run(spec, [*shared, (Reader.HPA, loads[-1] + more[0])])[-1]

    assert low.decision.replicas <= high.decision.replicas


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
        _, values = settle(
            spec, Observation(Reader.HPA, (reading,), target), state, 0.0, ControllerSettings()
        )
        return recommend(spec, values, target, ControllerSettings())[0].replicas or 0

    low, high = sorted((one, other))
    assert wanted(low) <= wanted(high)
