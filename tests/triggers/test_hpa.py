"""Metrics of an HPA that a user wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from stoker.errors import InputError
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.scaling.observation import PodUsage, ResourceUsage, TriggerReading
from stoker.scaling.spec import HpaMetric, MetricType, ObjectReference, TriggerSpec
from stoker.stack.embedded import ask_embedded
from stoker.triggers.base import QueryAnswer, TriggerContext
from stoker.triggers.hpa import go_selector
from stoker.triggers.registry import build_trigger

NOW = 1000.0
SERVICE = ObjectReference("Service", "router", "v1")


def metric(type_: str, name: str = "vllm_num_requests_waiting", **fields: Any) -> HpaMetric:
    return HpaMetric(type_, name, 5.0, MetricType.AVERAGE_VALUE, "5", **fields)


def read(found: HpaMetric, **context: Any) -> TriggerReading:
    spec = TriggerSpec(0, found.type, metric_type=found.target_type, metric=found)
    trigger = build_trigger(spec, TriggerContext(lambda _: None, namespace="llm", **context))
    return asyncio.run(trigger.read(NOW))


def storage(*samples: tuple[Mapping[str, str], float, float]) -> Storage:
    found = Storage()
    for labels, at, value in samples:
        found.append(Labels(labels), at, value)
    return found


def adapter(*samples: tuple[Mapping[str, str], float, float]) -> dict[str, Any]:
    return {"metrics_adapter": ask_embedded(storage(*samples))}


def series(name: str = "vllm:num_requests_waiting", **labels: str) -> dict[str, str]:
    return {"__name__": name, "namespace": "llm", **labels}


@pytest.mark.parametrize("name", ["vllm:num_requests_waiting", "vllm_num_requests_waiting"])
def test_a_pods_metric_is_the_series_of_its_name_by_pod(name: str) -> None:
    reading = read(
        metric("Pods"),
        **adapter(
            (series(name, pod="a", engine="0"), NOW, 2.0),
            (series(name, pod="a", engine="1"), NOW, 1.0),
            (series(name, pod="b"), NOW, 6.5),
            ({**series(name, pod="c"), "namespace": "other"}, NOW, 100.0),
        ),
    )

    assert reading.error is None
    assert reading.custom is not None
    assert dict(reading.custom.pods) == {"a": 3000, "b": 6500}
    assert reading.value == pytest.approx(4.75)


def test_a_selector_narrows_the_series() -> None:
    chosen = metric(
        "Pods",
        match_labels={"model_name": "llama"},
        match_expressions=(("engine", "In", ("0", "1")), ("spare", "DoesNotExist", ())),
    )

    reading = read(
        chosen,
        **adapter(
            (series(pod="a", model_name="llama", engine="0"), NOW, 2.0),
            (series(pod="a", model_name="llama", engine="2"), NOW, 30.0),
            (series(pod="a", model_name="qwen", engine="0"), NOW, 400.0),
            (series(pod="a", model_name="llama", engine="1", spare="yes"), NOW, 5000.0),
        ),
    )

    assert reading.value == 2.0


def test_a_counter_is_taken_as_its_rate() -> None:
    requests = metric("Pods", "http_requests")

    reading = read(
        requests,
        **adapter(
            *((series("http_requests_total", pod="a"), NOW - 300 + t, t * 2.0) for t in range(301))
        ),
    )

    assert reading.value == pytest.approx(2.0, rel=0.01)
    assert "rate(" in reading.source


@pytest.mark.parametrize(
    ("about", "value"), [(SERVICE, 7.0), (ObjectReference("Namespace", "llm", "v1"), 10.0)]
)
def test_an_object_metric_is_what_carries_the_object_as_a_label(
    about: ObjectReference, value: float
) -> None:
    reading = read(
        metric("Object", described_object=about),
        **adapter((series(service="router"), NOW, 7.0), (series(service="other"), NOW, 3.0)),
    )

    assert reading.custom is not None
    assert (reading.value, reading.custom.milli) == (value, (int(value * 1000),))
    assert reading.custom.described_object == (about.kind, about.name)


def test_what_is_no_number_counts_as_zero_as_with_an_adapter() -> None:
    reading = read(metric("Pods"), **adapter((series(pod="a"), NOW, float("nan"))))

    assert (reading.error, reading.value) == (None, 0.0)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (
            metric("Pods"),
            "the server could not find the metric vllm_num_requests_waiting for pods",
        ),
        (
            metric("Object", described_object=SERVICE),
            "the server could not find the metric vllm_num_requests_waiting for services router",
        ),
    ],
    ids=["Pods", "Object"],
)
def test_no_series_is_an_error_not_a_zero(found: HpaMetric, error: str) -> None:
    assert read(found, **adapter()).error == error


def test_nobody_makes_external_metrics() -> None:
    reading = read(metric("External", "queue"), **adapter())

    assert reading.error == (
        "the server could not find the requested resource (get queue.external.metrics.k8s.io)"
    )


def test_external_metrics_are_summed_where_something_answers_them() -> None:
    async def ask(name: str, now: float) -> QueryAnswer:
        assert (name, now) == ("queue", NOW)
        return QueryAnswer(
            "vector",
            [{"metric": {}, "value": [now, "3"]}, {"metric": {"a": "b"}, "value": [now, "4"]}],
        )

    reading = read(metric("External", "queue"), external_metrics=ask)

    assert reading.custom is not None
    assert (reading.value, reading.custom.milli) == (7.0, (3000, 4000))


def test_a_resource_is_asked_of_the_pods() -> None:
    def usage(resource: str, container: str, now: float) -> ResourceUsage:
        pods = (PodUsage("a", 1500, now, 15.0),)
        return ResourceUsage(resource, now, container, pods)

    reading = read(metric("ContainerResource", "cpu", container="vllm"), pod_usage=usage)

    assert reading.resource is not None
    assert (reading.value, reading.resource.kind) == (1.5, "ContainerResource")


def test_a_resource_that_nobody_measures_is_an_error() -> None:
    def usage(resource: str, *_: object) -> ResourceUsage:
        raise InputError(f"no usage of {resource}")

    reading = read(metric("Resource", "nvidia.com/gpu"), pod_usage=usage)

    assert (reading.value, reading.error) == (None, "no usage of nvidia.com/gpu")


def test_an_object_metric_without_the_target_of_its_type_never_has_a_value() -> None:
    found = HpaMetric("Object", "waiting", None, MetricType.AVERAGE_VALUE, described_object=SERVICE)

    assert read(found, **adapter()).error == (
        "invalid object metric source: neither a value target nor an average value target was set"
    )


def test_a_selector_is_printed_as_go_does() -> None:
    assert go_selector(metric("External")) == "nil"
    chosen = metric(
        "External", match_labels={"b": "2", "a": "1"}, match_expressions=(("c", "In", ("x", "y")),)
    )
    assert go_selector(chosen) == (
        "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:"
        "[]LabelSelectorRequirement{LabelSelectorRequirement{Key:c,Operator:In,Values:[x y],},},}"
    )
