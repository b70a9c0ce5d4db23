from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.backtest import Metrics, Plan, ticks
from stoker.backtest.metrics import Column, Track
from stoker.backtest.run import metric_names
from stoker.errors import InputError
from stoker.scaling.observation import Reader
from stoker.scaling.spec import (
    Behavior,
    HpaMetric,
    MetricType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingSpec,
    SpecKind,
    TriggerSpec,
)

from .conftest import a_spec, metrics, sizes, trigger, walk


def test_polls_at_creation_and_syncs_one_period_later() -> None:
    found = walk(a_spec(), metrics((0, 1)), 60)

    assert [(t.time, t.reader) for t in found] == [
        (0, Reader.KEDA),
        (15, Reader.HPA),
        (30, Reader.KEDA),
        (30, Reader.HPA),
        (45, Reader.HPA),
        (60, Reader.KEDA),
        (60, Reader.HPA),
    ]


def test_scales_when_a_cluster_would() -> None:
    # 30 waiting want 6; without behavior a sync at most doubles, or goes to 4; 300 s hold it
    found = walk(a_spec(), metrics((0, 0), (20, 30), (100, 0)), 500, start=0)

    assert sizes(found) == [(30, 4), (45, 6), (405, 1)]


def test_zero_waits_for_a_poll_and_the_hpa_asks_nobody_there() -> None:
    spec = a_spec(min_replica_count=0, cooldown_period=60)
    found = walk(spec, metrics((0, 0), (100, 12), (160, 0)), 300)

    assert sizes(found) == [(0, 0), (120, 1), (120, 3), (240, 0)]
    at_zero = [t for t in found if t.reader is Reader.HPA and t.time < 120]
    assert at_zero
    assert all(t.readings == () and t.decision.reason == "ScalingDisabled" for t in at_zero)


@pytest.mark.parametrize(
    ("startup", "expected"), [(0, [(15, 2), (30, 4)]), (40, [(15, 2), (60, 4)])]
)
def test_value_multiplies_replicas_that_are_ready(startup, expected) -> None:
    # twice the target: a replica that starts is not multiplied yet
    found = walk(a_spec(trigger(metric_type="Value")), metrics((0, 10)), 70, startup=startup)

    assert sizes(found)[:2] == expected


def test_replicas_that_are_not_ready_go_first() -> None:
    down = metrics((0, 10), (40, 10), (50, 0))
    found = walk(a_spec(), down, 360, startup=1000)

    last = found[-1].status
    assert (last.spec_replicas, last.ready_replicas) == (1, 1)


@pytest.mark.parametrize(
    ("missing", "value", "error"), [("empty", 0.0, None), ("error", None, "no sample in test")]
)
def test_a_sample_counts_for_five_minutes(missing, value, error) -> None:
    found = walk(a_spec(), metrics((0, 7), missing=missing), 330)
    polls = {t.time: t.readings[0] for t in found if t.reader is Reader.KEDA}

    assert polls[270].value == 7
    assert (polls[300].value, polls[300].error) == (value, error)


def test_a_recorded_failure_is_one_until_the_next_sample() -> None:
    found = walk(a_spec(), metrics((0, 7), (50, None), (80, 7)), 90)
    polls = {t.time: t.readings[0].error for t in found if t.reader is Reader.KEDA}

    assert polls == {0: None, 30: None, 60: "the source fails", 90: None}


def test_a_trigger_finds_its_column_by_name_or_metric() -> None:
    both = Metrics(
        [
            Column("s1-prometheus", (Track([0], [2.0]),), "a"),
            Column("queue", (Track([0], [1.0]),), "b"),
            Column("other", (Track([0], [3.0]),), "c"),
        ]
    )
    spec = a_spec(trigger(0, "queue"), trigger(1))

    first = next(ticks(spec, both, Plan(0, 1)))

    assert [r.value for r in first.readings] == [1.0, 2.0]
    assert both.unused(spec.triggers) == ("other",)


def test_several_series_are_the_error_that_keda_makes_of_them() -> None:
    two = Metrics([Column("", (Track([0], [1.0]), Track([50], [1.0])), "two")])
    found = [t.readings[0].error for t in walk(a_spec(), two, 60) if t.reader is Reader.KEDA]

    assert found == [None, None, "prometheus query sum(waiting) returned multiple elements"]


def test_cron_needs_no_metrics() -> None:
    cron = TriggerSpec(
        1,
        "cron",
        metadata={
            "timezone": "Etc/UTC",
            "start": "5 0 * * *",
            "end": "10 0 * * *",
            "desiredReplicas": "4",
        },
    )
    found = walk(a_spec(trigger(), cron), metrics((0, 0), (899, 0)), 900)

    assert [size for _, size in sizes(found)] == [4, 1]


def test_a_trigger_that_does_not_say_its_target_needs_to_be_told() -> None:
    external = TriggerSpec(0, "external", metadata={"scalerAddress": "a:1"}, name="queue")

    with pytest.raises(InputError, match="trigger 0 \\(external\\) does not say its target"):
        ticks(a_spec(external), metrics((0, 1)), Plan(0, 1))
    found = list(ticks(a_spec(external), metrics((0, 12)), Plan(0, 30, targets={"queue": 5.0})))
    assert found[-1].status.spec_replicas == 3


@pytest.mark.parametrize(
    ("type_", "metadata", "name"),
    [
        ("redis", {"address": "r:6379", "listName": "jobs", "listLength": "5"}, "s0-redis-jobs"),
        ("redis", {"addressFromEnv": "R", "listName": "jobs", "listLength": "5"}, "s0-redis-jobs"),
        ("kafka", {"topic": "t", "lagThreshold": "5"}, "s0-kafka"),
        ("nats-jetstream", {"stream": "s", "lagThreshold": "5"}, "s0-nats-jetstream"),
    ],
)
def test_any_type_of_trigger_is_answered_by_a_column(type_, metadata, name) -> None:
    spec = a_spec(TriggerSpec(0, type_, metadata=metadata))

    found = list(ticks(spec, metrics((0, 12), (60, 1)), Plan(0, 100)))

    assert metric_names(spec) == (name,)
    assert {tick.values[0].metric_name for tick in found if tick.values} == {name}
    assert max(tick.status.spec_replicas for tick in found) == 3


def test_the_activation_value_of_any_type_counts() -> None:
    trigger = TriggerSpec(0, "kafka", metadata={"lagThreshold": "5", "activationLagThreshold": "3"})

    first, *_ = ticks(a_spec(trigger), metrics((0, 3)), Plan(0, 10))

    assert first.readings[0].activation_threshold == 3
    assert not first.readings[0].active


def test_cpu_is_percent_of_the_request_of_each_pod() -> None:
    cpu = TriggerSpec(0, "cpu", metadata={"value": "50"}, metric_type=MetricType.UTILIZATION)

    found = list(ticks(a_spec(cpu), metrics((0, 100)), Plan(0, 16, replicas=2)))

    assert found[-1].recommendations[0].formula == "ceil(100 % / 50 % * 2)"
    assert found[-1].status.spec_replicas == 4


def test_an_hpa_alone_decides_at_its_syncs() -> None:
    metric = HpaMetric("External", "waiting", 5.0, MetricType.AVERAGE_VALUE, "5")
    spec = ScalingSpec(
        "own",
        ScaleTargetRef("llama"),
        (TriggerSpec(0, "External", metric=metric),),
        max_replica_count=10,
        kind=SpecKind.HPA,
    )

    found = list(ticks(spec, metrics((0, 12)), Plan(0, 100)))

    assert {tick.reader for tick in found} == {Reader.HPA}
    assert {tick.kind for tick in found} == {SpecKind.HPA}
    assert found[-1].status.spec_replicas == 3


def test_a_pause_is_in_force() -> None:
    spec = a_spec(annotations={"autoscaling.keda.sh/paused-replicas": "3"})
    found = walk(spec, metrics((0, 50)), 60)

    assert {t.status.spec_replicas for t in found} == {3}
    assert {t.reader for t in found} == {Reader.KEDA}


def test_flags_override_the_file() -> None:
    spec = a_spec(behavior=Behavior()).overridden(polling_interval=7.0, stabilization_window=20.0)

    assert spec.polling_interval == 7.0
    assert spec.behavior.scale_down.stabilization_window_seconds == 20
    assert a_spec().overridden(polling_interval=None, stabilization_window=20.0) == a_spec()


def test_a_formula_has_a_metric_of_its_own() -> None:
    modifiers = ScalingModifiers("queue", 2.0, target_text="2")
    spec = a_spec(trigger(0, "queue"), modifiers=modifiers)

    assert metric_names(spec) == ("s0-prometheus", "composite-metric")


@pytest.mark.parametrize("plan", [{"end": -1.0}, {"replicas": -1}, {"startup": -1.0}])
def test_an_impossible_plan_is_refused(plan) -> None:
    with pytest.raises(InputError):
        Plan(**({"start": 0.0, "end": 1.0} | plan))


@given(
    values=st.lists(st.floats(allow_nan=True) | st.none(), min_size=1, max_size=40),
    startup=st.sampled_from([0.0, 20.0, 90.0]),
    least=st.integers(0, 2),
)
def test_stays_within_bounds_and_two_runs_are_the_same(values, startup, least) -> None:
    spec = a_spec(min_replica_count=least, cooldown_period=30)
    plan = {"startup": startup, "replicas": max(least, 1)}
    recorded = metrics(*((20.0 * n, value) for n, value in enumerate(values)))

    first = walk(spec, recorded, 20.0 * len(values), **plan)

    assert all(least <= t.status.spec_replicas <= 10 for t in first)
    assert all(t.status.spec_replicas == t.decision.replicas for t in first)
    assert first == walk(spec, recorded, 20.0 * len(values), **plan)
