"""cpu and memory: percent of requests, averages, and which pods are judged at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.recommenders.hpa import recommend
from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import (
    PodStatus,
    PodUsage,
    ResourceUsage,
    TargetStatus,
    TriggerValue,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import MetricType, ScaleTargetRef, ScalingSpec, TriggerSpec

NOW = 10_000.0
SPEC = ScalingSpec("llama", ScaleTargetRef("llama"), (TriggerSpec(0, "cpu"),))


def pod(name: str, *, ready: bool = True, started: float = 0.0, changed: float = 10.0) -> PodStatus:
    return PodStatus(name, ready=ready, started_at=started, ready_changed_at=changed)


def want(
    usages: dict[str, int],
    *pods: PodStatus,
    target: float = 50,
    resource: str = "cpu",
    container: str = "",
    metric_type: MetricType = MetricType.UTILIZATION,
    requests: int | dict[str, int] | None = 100,
    sampled_at: float = NOW,
) -> Recommendation:
    """The recommendation for milli-usages by pod; a plain request is that of every pod."""
    if isinstance(requests, int):
        requests = {p.name: requests for p in pods}
    usage = ResourceUsage(
        resource,
        NOW,
        container,
        tuple(PodUsage(name, milli, sampled_at, 15.0) for name, milli in usages.items()),
        tuple((requests or {}).items()),
    )
    value = TriggerValue(resource, None, target, metric_type, resource=usage)
    status = TargetStatus(max(len(pods), 1), len(pods), pods)
    (recommendation,) = recommend(SPEC, (value,), status, ControllerSettings())
    return recommendation


def four(**named: PodStatus) -> tuple[PodStatus, ...]:
    return tuple(named.get(name, pod(name)) for name in ("a", "b", "c", "d"))


def test_percent_of_the_requests_times_the_ready_pods() -> None:
    found = want({"a": 90, "b": 30}, pod("a"), pod("b"))

    assert (found.replicas, found.formula) == (3, "ceil(60 % / 50 % * 2)")
    assert (found.current_utilization, found.current_milli) == (60, 60)
    assert found.description == "cpu resource utilization (percentage of request)"


def test_percent_is_cut_before_the_ratio() -> None:
    # 100/300 is 33 %, not 33.3: against 30 % that is exactly 1.1, inside the tolerance
    found = want({"a": 100}, pod("a"), target=30, requests=300)

    assert (found.replicas, found.formula) == (1, "33 % / 30 % = 1.1, within tolerance 0.1")


def test_a_pod_without_a_sample_uses_all_it_requests_on_the_way_down() -> None:
    busy = {"a": 40, "b": 40, "c": 40}

    assert want(busy, *four()).replicas == 4  # (120 + 100) / 400 = 55 %, inside the tolerance
    assert want(busy, *four()[:3]).replicas == 3  # ceil(0.8 * 3)


def test_a_target_above_100_percent_is_what_a_missing_pod_is_assumed_to_use() -> None:
    busy = {"a": 100, "b": 100, "c": 100}

    # (300 + 200) / 400 = 125 % of 200 %; with 100 for the missing pod it would be ceil(0.5 * 4)
    assert want(busy, *four(), target=200).replicas == 3


def test_a_pod_without_a_sample_is_idle_on_the_way_up() -> None:
    # 180 % alone, (180 + 0) / 200 = 90 % with it
    assert want({"a": 180}, pod("a"), pod("b")).replicas == 4


def test_a_pod_that_is_not_ready_is_idle_on_the_way_up_and_nothing_on_the_way_down() -> None:
    starting = pod("b", ready=False, started=NOW - 60, changed=NOW - 60)

    # 260 of 100 alone would be ceil(5.2); with the other's 300 it is 65 %, ceil(1.3 * 2)
    requests = {"a": 100, "b": 300}
    assert want({"a": 260, "b": 300}, pod("a"), starting, requests=requests).replicas == 3
    assert want({"a": 20, "b": 300}, pod("a"), starting, requests=requests).replicas == 1


def test_a_sample_of_a_pod_that_is_gone_does_not_count() -> None:
    found = want({"a": 90, "gone": 10}, pod("a"))

    assert (found.replicas, found.current_utilization, found.current_milli) == (2, 90, 90)


def test_doubt_that_turns_the_direction_around_keeps_the_size() -> None:
    # 60 % wants more; with an idle second pod it is 30 %, which would want fewer
    found = want({"a": 60}, pod("a"), pod("b"))

    assert (found.replicas, found.formula) == (2, "60 % / 50 % = 1.2, within tolerance 0.1")


@pytest.mark.parametrize(
    ("status", "sampled_at", "counts"),
    [
        pytest.param(pod("b", started=NOW - 60, changed=NOW - 30), NOW - 5, True, id="whole"),
        pytest.param(pod("b", started=NOW - 60, changed=NOW - 30), NOW - 16, False, id="partly"),
        pytest.param(
            pod("b", ready=False, started=NOW - 60, changed=NOW - 30), NOW, False, id="unready"
        ),
        pytest.param(pod("b", started=NOW - 400, changed=NOW - 5), NOW, True, id="old, just ready"),
        pytest.param(
            pod("b", ready=False, started=NOW - 400, changed=NOW - 380), NOW, False, id="never"
        ),
        pytest.param(
            pod("b", ready=False, started=NOW - 400, changed=NOW - 370), NOW, True, id="was ready"
        ),
        pytest.param(PodStatus("b", ready=True), NOW, False, id="no start time"),
    ],
)
def test_cpu_counts_once_a_pod_was_ready_for_a_whole_window(
    status: PodStatus, sampled_at: float, counts: bool
) -> None:
    # both at 50 % when b counts; without b only a, at 20 %
    found = want({"a": 20, "b": 80}, pod("a"), status, sampled_at=sampled_at)

    assert found.current_utilization == (50 if counts else 20)


def test_memory_counts_from_the_first_sample() -> None:
    starting = pod("b", ready=False, started=NOW - 5, changed=NOW - 5)

    assert want({"a": 20, "b": 80}, pod("a"), starting, resource="memory").current_utilization == 50


def test_average_value_needs_no_requests() -> None:
    found = want(
        {"a": 900, "b": 300},
        pod("a"),
        pod("b"),
        metric_type=MetricType.AVERAGE_VALUE,
        target=0.2,
        requests=None,
    )

    assert (found.replicas, found.formula) == (6, "ceil(0.6 / 0.2 * 2)")
    assert (found.current_utilization, found.description) == (None, "cpu resource")


def test_average_value_leaves_out_cpu_of_a_starting_pod() -> None:
    starting = pod("b", ready=False, started=NOW - 60, changed=NOW - 60)
    found = want(
        {"a": 100, "b": 900},
        pod("a"),
        starting,
        metric_type=MetricType.AVERAGE_VALUE,
        target=0.1,
    )

    assert (found.replicas, found.current_milli) == (2, 100)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        pytest.param(
            want({}, pod("a")),
            "failed to get cpu utilization: unable to get metrics for resource cpu: "
            "no metrics returned from resource metrics API",
            id="no samples",
        ),
        pytest.param(
            want({"a": 1}, pod("a"), requests=None),
            "failed to get cpu utilization: missing request for cpu in Pod a",
            id="no request",
        ),
        pytest.param(
            want({"a": 1}),
            "failed to get cpu utilization: "
            "no pods returned by selector while calculating replica count",
            id="no pods",
        ),
        pytest.param(
            want({"a": 1}, PodStatus("a", phase="Pending")),
            "failed to get cpu utilization: "
            "did not receive metrics for targeted pods (pods might be unready)",
            id="all pending",
        ),
        pytest.param(
            want({"z": 1}, pod("a"), requests=0),
            "failed to get cpu utilization: no metrics returned matched known pods",
            id="nothing requested",
        ),
        pytest.param(
            want({}, pod("a"), metric_type=MetricType.AVERAGE_VALUE),
            "failed to get cpu usage: unable to get metrics for resource cpu: "
            "no metrics returned from resource metrics API",
            id="average",
        ),
    ],
)
def test_what_cannot_be_computed_is_told_in_the_controllers_words(
    found: Recommendation, error: str
) -> None:
    assert (found.replicas, found.error, found.error_reason) == (
        None,
        error,
        "FailedGetResourceMetric",
    )
    assert found.error_context == "failed to get cpu resource metric value: "


def test_a_named_container_is_a_container_resource_metric() -> None:
    found = want({"a": 90}, pod("a"), container="vllm")
    failed = want({}, pod("a"), container="vllm")
    unrequested = want({"a": 1}, pod("a"), container="vllm", requests=None)

    assert found.description == "cpu container resource utilization (percentage of request)"
    assert failed.error_reason == "FailedGetContainerResourceMetric"
    assert failed.error_context == "failed to get cpu container metric value: "
    assert str(unrequested.error).endswith("missing request for cpu in container vllm of Pod a")


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    st.integers(0, 2**62),
    st.floats(0.001, 1e6) | st.just(math.inf),
    st.sampled_from([MetricType.UTILIZATION, MetricType.AVERAGE_VALUE]),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_no_usage_and_no_request_raises(
    usages: list[int], request: int, target: float, metric_type: MetricType, ready: list[bool]
) -> None:
    if metric_type is MetricType.UTILIZATION:
        target = min(float(math.ceil(target)) if math.isfinite(target) else 1e9, 1e9)
    named = dict(zip("abcd", usages, strict=False))
    pods = tuple(pod(name, ready=is_ready) for name, is_ready in zip("abcd", ready, strict=True))

    found = want(named, *pods, requests=request, target=target, metric_type=metric_type)

    assert (found.replicas is None) == (found.error is not None)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(0, 500))
def test_more_usage_never_wants_fewer_replicas(usages: list[int], more: int) -> None:
    names = [f"p{n}" for n in range(len(usages))]
    pods = tuple(pod(name) for name in names)
    low = want(dict(zip(names, usages, strict=True)), *pods)
    high = want(dict(zip(names, [usages[0] + more, *usages[1:]], strict=True)), *pods)

    assert (low.replicas or 0) <= (high.replicas or 0)
