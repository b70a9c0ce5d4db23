"""cpu and memory in the core: who reads them, what they activate, beside what they stand."""

from __future__ import annotations

import json
from dataclasses import replace

from stoker.recommenders.hpa import recommend
from stoker.scaling.cadence import triggers_to_read
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.decision import Decision
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
    Fallback,
    MetricType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingSpec,
    TriggerSpec,
)
from stoker.scaling.state import ScalingState

SETTINGS = ControllerSettings()
CPU = TriggerSpec(0, "cpu", metric_type=MetricType.UTILIZATION)
QUEUE = TriggerSpec(1, "prometheus", name="queue")
SPEC = ScalingSpec(
    "llama", ScaleTargetRef("llama"), (CPU, QUEUE), min_replica_count=1, max_replica_count=10
)
PODS = tuple(PodStatus(n, ready=True, started_at=0.0, ready_changed_at=1.0) for n in ("a", "b"))
TARGET = TargetStatus(2, 2, PODS)


def cpu(milli: int | None, container: str = "") -> TriggerReading:
    pods = () if milli is None else tuple(PodUsage(p.name, milli, 1000.0, 15.0) for p in PODS)
    usage = ResourceUsage("cpu", 1000.0, container, pods, tuple((p.name, 1000) for p in PODS))
    return TriggerReading(
        0,
        "cpu",
        milli and milli / 1000,
        50.0,
        error=None if milli is not None else "boom",
        metric_type=MetricType.UTILIZATION,
        type="cpu",
        resource=usage,
    )


def queue(value: float) -> TriggerReading:
    return TriggerReading(1, "s1-prometheus", value, 5.0, active=value > 0, trigger_name="queue")


def look(
    spec: ScalingSpec,
    reader: Reader,
    *readings: TriggerReading,
    target: TargetStatus = TARGET,
    state: ScalingState | None = None,
) -> tuple[ScalingState, Decision]:
    if state is None:
        state, _ = reconcile(spec, target, ScalingState.new(0.0), 0.0, SETTINGS)
    observation = Observation(reader, readings, target)
    state, values = settle(spec, observation, state, 1000.0, SETTINGS)
    wants = recommend(spec, values, target, SETTINGS) if reader is Reader.HPA else ()
    return decide(spec, observation, values, wants, state, 1000.0, SETTINGS)


def test_a_poll_leaves_cpu_to_the_hpa() -> None:
    state = ScalingState.new(0.0)

    assert triggers_to_read(SPEC, state, Reader.KEDA) == (1,)
    assert triggers_to_read(SPEC, state, Reader.HPA) == (0, 1)


def test_the_largest_of_cpu_and_queue_wins_and_is_named() -> None:
    _, by_cpu = look(SPEC, Reader.HPA, cpu(900), queue(12))
    _, by_queue = look(SPEC, Reader.HPA, cpu(500), queue(14))

    assert by_cpu.replicas == 4
    assert by_cpu.events[0].message == (
        "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    )
    assert by_queue.replicas == 3
    assert "external metric s1-prometheus" in by_queue.events[0].message


def test_the_hpa_lists_its_metrics_by_type() -> None:
    state, _ = look(SPEC, Reader.HPA, cpu(900), queue(12))
    of_container, _ = look(SPEC, Reader.HPA, cpu(900, "vllm"), queue(12))
    assert state.hpa is not None
    assert of_container.hpa is not None

    assert [m.metric_name for m in state.hpa.current_metrics] == ["s1-prometheus", "cpu"]
    assert [m.metric_name for m in of_container.hpa.current_metrics] == ["cpu", "s1-prometheus"]
    shown = state.hpa.current_metrics[1]
    assert (shown.target_milli, shown.current_milli, shown.current_utilization) == (50_000, 900, 90)


def test_busy_cpu_is_no_activity() -> None:
    spec = replace(SPEC, min_replica_count=0, cooldown_period=0)
    state, decision = look(spec, Reader.KEDA, queue(0))

    assert (decision.replicas, decision.reason) == (0, "KEDAScaleTargetDeactivated")
    active = state.condition("Active")
    assert active is not None
    assert active.status == "False"


def test_an_object_of_cpu_alone_is_always_active() -> None:
    spec = replace(SPEC, triggers=(CPU,), cooldown_period=0)
    state, decision = look(spec, Reader.KEDA)

    assert (decision.replicas, decision.reason) == (2, "ScalerActive")
    assert state.last_active == 1000.0


def test_a_failing_cpu_metric_blocks_the_way_down_only() -> None:
    state, held = look(SPEC, Reader.HPA, cpu(None), queue(1))
    _, up = look(SPEC, Reader.HPA, cpu(None), queue(19))
    condition = state.condition("ScalingActive", "HorizontalPodAutoscaler")
    assert condition is not None

    assert (held.replicas, condition.reason) == (2, "FailedGetResourceMetric")
    assert condition.message == (
        "the HPA was unable to compute the replica count: failed to get cpu utilization: "
        "unable to get metrics for resource cpu: boom"
    )
    assert held.events[-1].message == (
        "invalid metrics (1 invalid out of 2), first error is: failed to get cpu resource metric "
        "value: failed to get cpu utilization: unable to get metrics for resource cpu: boom"
    )
    assert up.replicas == 4


def test_failures_of_cpu_are_neither_counted_nor_replaced() -> None:
    spec = replace(SPEC, fallback=Fallback(0, 9))
    state, decision = look(spec, Reader.HPA, cpu(None), queue(10))

    assert decision.replicas == 2
    assert [health.metric_name for health in state.health] == ["s1-prometheus"]


def test_a_formula_keeps_cpu_beside_it_and_loses_that_of_one_container() -> None:
    spec = replace(SPEC, modifiers=ScalingModifiers("queue", 5.0, target_text="5"))
    _, beside = look(spec, Reader.HPA, cpu(900), queue(5))
    _, lost = look(spec, Reader.HPA, cpu(900, "vllm"), queue(5))

    assert beside.desired == 4
    assert lost.desired == 1


def test_a_saved_state_keeps_what_pods_used() -> None:
    state, _ = look(SPEC, Reader.HPA, cpu(900), queue(12))

    assert ScalingState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
