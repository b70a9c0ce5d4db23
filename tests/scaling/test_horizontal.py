"""What an HPA says of itself where nothing can be scaled."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.controller import evaluate
from stoker.scaling.decide import reconcile
from stoker.scaling.explain import explain_next
from stoker.scaling.horizontal import failed_update
from stoker.scaling.observation import (
    CustomMetric,
    Observation,
    PodStatus,
    Reader,
    TargetStatus,
    TriggerReading,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    HpaMetric,
    MetricType,
    ObjectReference,
    ScaleTargetRef,
    ScalingSpec,
    SpecKind,
    TriggerSpec,
)
from stoker.scaling.state import HpaState, ScalingState
from stoker.tick import Samples, Tick
from stoker.ui.explain import explain

SETTINGS = ControllerSettings()


def spec_of(metric: HpaMetric, **fields: object) -> ScalingSpec:
    return ScalingSpec(
        name="llama",
        target=ScaleTargetRef("llama"),
        triggers=(TriggerSpec(0, metric.type, metric_type=metric.target_type, metric=metric),),
        max_replica_count=10,
        kind=SpecKind.HPA,
        **fields,  # type: ignore[arg-type]
    )


EXTERNAL = HpaMetric("External", "queue", 5.0, MetricType.AVERAGE_VALUE, "5")
POD_NAMES = ("a", "b")
READING = TriggerReading(0, "queue", 0.0, 5.0, type="External", custom=CustomMetric("External"))
TARGET = TargetStatus(2, 2, tuple(PodStatus(name, ready=True) for name in POD_NAMES))


def synced(spec, custom, *, error=None, target=TARGET, cluster=SETTINGS):
    metric = spec.triggers[0].metric
    reading = TriggerReading(
        0, metric.name, None if error else 1.0, metric.target, error=error,
        metric_type=metric.target_type, type=metric.type, custom=custom,
    )  # fmt: skip
    state, _ = reconcile(spec, target, ScalingState.new(0.0), 0.0, cluster)
    result = evaluate(spec, Observation(Reader.HPA, (reading,), target), state, 15.0, cluster)
    assert ScalingState.from_dict(result.state.to_dict()) == result.state
    return result


def test_a_pods_metric_counts_the_targets_own_pods_only() -> None:
    spec = spec_of(replace(EXTERNAL, type="Pods"))
    custom = CustomMetric("Pods", pods=(("a", 9000), ("b", 6000), ("stranger", 900_000)))

    result = synced(spec, custom)

    assert result.values[0].per_pod_milli == (("a", 9000), ("b", 6000))
    assert result.decision.replicas == 3
    (event,) = result.decision.events
    assert event.message == "New size: 3; reason: pods metric queue above target"


def test_a_value_without_a_pod_is_that_of_each() -> None:
    spec = spec_of(replace(EXTERNAL, type="Pods"))

    result = synced(spec, CustomMetric("Pods", pods=(("", 10_000),)))

    assert result.values[0].per_pod_milli == (("a", 10_000), ("b", 10_000))
    assert result.decision.replicas == 4


def test_an_object_metric_is_named_by_its_kind_under_value_and_external_otherwise() -> None:
    about = ObjectReference("Service", "router", "v1")
    custom = CustomMetric("Object", described_object=("Service", "router"), milli=(15_000,))
    by_value = replace(
        EXTERNAL, type="Object", target_type=MetricType.VALUE, described_object=about
    )
    by_average = replace(EXTERNAL, type="Object", described_object=about)

    first, second = synced(spec_of(by_value), custom), synced(spec_of(by_average), custom)

    assert first.decision.replicas == 4  # a double: six would be three times the two that are ready
    assert first.decision.desired == 6
    assert first.decision.events[0].message.endswith("Service metric queue above target")
    assert second.decision.replicas == 3
    assert second.decision.events[0].message.endswith("external metric queue(nil) above target")


def test_an_object_metric_that_fails_says_where_it_was_looked_for() -> None:
    about = ObjectReference("Service", "router", "v1")
    spec = spec_of(replace(EXTERNAL, type="Object", described_object=about))
    custom = CustomMetric("Object", described_object=("Service", "router"))

    result = synced(spec, custom, error="the server could not find it")

    assert result.decision.reason == "FailedGetObjectMetric"
    assert (
        "unable to get metric queue: Service on default router/unable to fetch metrics from custom "
        "metrics API: the server could not find it"
    ) in result.decision.message


def test_several_hpas_over_the_same_pods_scale_nothing() -> None:
    message = "pods by selector app=llama are controlled by multiple HPAs: [{a ns} {b ns}]"
    spec = spec_of(EXTERNAL, ambiguous=message)

    result = synced(spec, CustomMetric("External", milli=(50_000,)))

    assert (result.decision.replicas, result.decision.reason) == (2, "AmbiguousSelector")
    active = result.state.condition("ScalingActive", "HorizontalPodAutoscaler")
    assert active is not None
    assert (active.status, active.reason, active.message) == ("False", "AmbiguousSelector", message)
    assert {event.reason for event in result.decision.events} == {
        "AmbiguousSelector",
        "FailedComputeMetricsReplicas",
    }


def test_a_target_that_cannot_be_told_keeps_its_size() -> None:
    result = synced(spec_of(EXTERNAL), CustomMetric("External", milli=(15_000,)))
    assert isinstance(result.state.hpa, HpaState)

    hpa, decision = failed_update(result.state.hpa, result.decision, "no GPU")

    assert (decision.replicas, decision.changes, hpa.desired_replicas) == (2, False, 2)
    able = next(c for c in hpa.conditions if c.type == "AbleToScale")
    assert (able.status, able.reason) == ("False", "FailedUpdateScale")
    assert [(e.reason, e.message) for e in decision.events] == [
        (
            "FailedRescale",
            "New size: 3; reason: external metric queue(nil) above target; error: no GPU",
        )
    ]


def test_a_cluster_that_goes_back_forgets_whose_zero_it_is() -> None:
    newer, older = ControllerSettings(kubernetes_version="1.37"), SETTINGS
    spec = spec_of(EXTERNAL, min_replica_count=0)
    result = synced(spec, CustomMetric("External", milli=(15_000,)), cluster=newer)
    assert result.state.condition("ScaledToZero", "HorizontalPodAutoscaler") is not None

    again = evaluate(spec, Observation(Reader.HPA, (), TARGET), result.state, 30.0, older)

    assert again.state.condition("ScaledToZero", "HorizontalPodAutoscaler") is None


def test_explain_tells_of_an_hpa_without_keda() -> None:
    spec = spec_of(EXTERNAL)
    result = synced(spec, None, error="nothing")
    tick = Tick(
        15.0, Reader.HPA, "ns", "llama", spec.target, Samples(0, 0, None), (), result.values,
        result.recommendations, result.decision, TARGET, kind=SpecKind.HPA,
    )  # fmt: skip

    text = explain(tick.to_dict())

    assert "2: FailedGetExternalMetric, the HPA changes nothing that it has no metric for" in text
    assert "active" not in text


VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 60_000)


@given(
    minimum=st.integers(0, 3),
    maximum=st.integers(3, 20),
    version=st.sampled_from(["1.32", "1.36", "1.37"]),
    metric_type=st.sampled_from([MetricType.AVERAGE_VALUE, MetricType.VALUE]),
    values=st.lists(VALUES, min_size=1, max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_an_hpa_stays_in_its_bounds_and_knows_its_own_zero(
    minimum: int, maximum: int, version: str, metric_type: MetricType, values: list[int | None]
) -> None:
    own = replace(EXTERNAL, target_type=metric_type)
    spec = spec_of(own, min_replica_count=minimum)
    spec = replace(spec, max_replica_count=maximum)
    cluster = ControllerSettings(kubernetes_version=version)
    state, replicas = ScalingState.new(0.0), max(minimum, 1)
    state, _ = reconcile(spec, TARGET, state, 0.0, cluster)
    for number, milli in enumerate(values, 1):
        pods = tuple(PodStatus(f"p{i}", ready=True) for i in range(replicas))
        target = TargetStatus(replicas, replicas, pods)
        reading = TriggerReading(
            0, "queue", None if milli is None else milli / 1000, 5.0,
            error="it fails" if milli is None else None, metric_type=metric_type, type="External",
            custom=CustomMetric("External", milli=() if milli is None else (milli,)),
        )  # fmt: skip
        observation = Observation(Reader.HPA, (reading,), target)
        result = evaluate(spec, observation, state, 15.0 * number, cluster)
        state, was, replicas = result.state, replicas, result.decision.replicas

        assert minimum <= replicas <= maximum
        assert milli is not None or replicas == was
        zero = state.condition("ScaledToZero", "HorizontalPodAutoscaler")
        if replicas == 0:
            assert minimum == 0
            assert (zero is not None and zero.status == "True") == cluster.scale_to_zero
        if was == 0 and replicas > 0:
            assert cluster.scale_to_zero


def test_what_comes_next_at_its_own_zero() -> None:
    newer = ControllerSettings(kubernetes_version="1.37", downscale_stabilization=0.0)
    spec = spec_of(EXTERNAL, min_replica_count=0)
    first = synced(spec, CustomMetric("External", milli=(0,)), cluster=newer)  # holds what it finds
    quiet = replace(READING, custom=CustomMetric("External", milli=(0,)))
    seen = Observation(Reader.HPA, (quiet,), TARGET)
    at_zero = evaluate(spec, seen, first.state, 30.0, newer).state
    nothing = TargetStatus(0, 0)
    failing = replace(READING, value=None, error="it fails")
    result = evaluate(spec, Observation(Reader.HPA, (failing,), nothing), at_zero, 45.0, newer)

    told = explain_next(spec, result.state, result.values, nothing, 45.0, newer)
    by_hand = explain_next(spec, ScalingState.new(0.0), (), nothing, 31.0, newer)

    assert told == (
        "queue has no value: it cannot wake the target until it has",
        "stays at 0 until a metric asks for replicas; next HPA sync at {t:60.000}",
    )
    assert by_hand == ("stays at 0: somebody else took it there, so the HPA is off; scale it to 1",)


def test_a_condition_remembers_when_its_status_changed() -> None:
    """`lastTransitionTime`: not when its reason or message does; it survives a restart."""
    spec = ScalingSpec("a", ScaleTargetRef("a"), (TriggerSpec(0, "prometheus"),))
    flags, target = ControllerSettings(), TargetStatus(1, 1)

    def synced(state: ScalingState, now: float, value: float | None) -> ScalingState:
        error = "down" if value is None else None
        reading = TriggerReading(0, "s0-prometheus", value, 5.0, error=error)
        observation = Observation(Reader.HPA, (reading,), target)
        state = evaluate(spec, observation, state, now, flags).state
        return ScalingState.from_dict(json.loads(json.dumps(state.to_dict())))

    def times(state: ScalingState) -> dict[str, float | None]:
        assert state.hpa is not None
        return {c.type: state.hpa.transition_of(c.type) for c in state.hpa.conditions}

    state, _ = reconcile(spec, target, ScalingState.new(0.0), 0.0, flags)
    state = synced(state, 15.0, 5.0)
    assert times(state) == {"AbleToScale": 15.0, "ScalingActive": 15.0, "ScalingLimited": 15.0}
    state = synced(state, 30.0, 5000.0)  # ScaleUpLimit: ScalingLimited becomes True
    assert times(state) == {"AbleToScale": 15.0, "ScalingActive": 15.0, "ScalingLimited": 30.0}
    state = synced(synced(state, 45.0, None), 60.0, None)
    assert times(state) == {"AbleToScale": 15.0, "ScalingActive": 45.0, "ScalingLimited": 30.0}


def test_a_state_of_before_has_no_times_and_is_read() -> None:
    state = replace(ScalingState.new(0.0), hpa=HpaState(0.0))
    written = state.to_dict()
    del written["hpa"]["transitions"]

    assert ScalingState.from_dict(written) == state
