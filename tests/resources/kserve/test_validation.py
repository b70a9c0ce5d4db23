"""What KServe refuses, each with its place; and what it accepts and ignores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stoker.resources.bundle import Reading

from .conftest import external, service

Refused = Callable[..., list[str]]
Inspect = Callable[..., Reading]
CLASS = "serving.kserve.io/autoscalerClass"
METRICS = "spec.predictor.autoScaling.metrics"


def resource(name: str, **target: Any) -> dict[str, Any]:
    """A metric of a resource."""
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def changed(metric: dict[str, Any], *path: str, value: Any = None) -> dict[str, Any]:
    """The metric with something else at *path*; None removes it."""
    at: Any = metric
    for key in path[:-1]:
        at[key] = dict(at[key])
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return metric


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            service(external(value=2), annotations={CLASS: "keada"}),
            f"`metadata.annotations['{CLASS}']` \"keada\" is not supported",
        ),
        (
            service(external(value=2), minReplicas=3, maxReplicas=2),
            "`spec.predictor.minReplicas` must be at most maxReplicas 2, not 3",
        ),
        (
            service(external(value=2), minReplicas=-1),
            "`spec.predictor.minReplicas` must be at least 0, not -1",
        ),
        (
            service(external(value=2), scaleMetric="cpu"),
            "`spec.predictor.scaleMetric` is not supported with KEDA",
        ),
        (
            service(),
            "nothing to scale on: KServe makes a ScaledObject without triggers, which is refused",
        ),
        (service({"type": "External"}), f"`{METRICS}[0].external` is required"),
        (
            service(changed(external(value=2), "external", "metric", "query")),
            f"`{METRICS}[0].external.metric.query` is required",
        ),
        (
            service(external(type="AverageValue", averageValue=2)),
            (
                f"`{METRICS}[0].external.target.value` is required, whatever the type: KServe "
                "takes the threshold from it"
            ),
        ),
        (
            service(external(type="AverageValue", value=2)),
            f"`{METRICS}[0].external.target.averageValue` is required",
        ),
        (
            service(external(value="many")),
            (
                f"`{METRICS}[0].external.target.value` must be a quantity such as `5` or `500m`, "
                'not the text "many"'
            ),
        ),
        (
            service(resource("cpu", type="AverageValue", averageValue="500m")),
            f"`{METRICS}[0].resource.target.type` must be Utilization for cpu, not AverageValue",
        ),
        (
            service(resource("memory", type="AverageValue", averageValue="1k")),
            f"`{METRICS}[0].resource.target.averageValue` must be at least 1Mi, not 1k",
        ),
        (
            service(resource("cpu", type="Utilization", averageUtilization=101)),
            (
                f"`{METRICS}[0].resource.target.averageUtilization` must be from 1 to 100 percent, "
                "not 101"
            ),
        ),
        (
            service(external(value=2), annotations={CLASS: "hpa"}),
            (
                f"`{METRICS}[0].type` `External` needs KEDA: an HPA of KServe has Resource metrics "
                "alone"
            ),
        ),
        (
            service(annotations={CLASS: "hpa"}, scaleTarget=0),
            "`spec.predictor.scaleTarget` must be from 1 to 100 percent, not 0",
        ),
        (
            service(annotations={CLASS: "hpa"}, scaleMetric="rps"),
            "`spec.predictor.scaleMetric` `rps` is for Knative: an HPA scales on cpu or memory",
        ),
    ],
)
def test_refusals_name_the_field(refused: Refused, document: dict[str, Any], expected: str) -> None:
    assert refused(document) == [expected]


def test_a_misspelt_field_is_told_not_refused(inspected: Inspect) -> None:
    reading = inspected(service(external(value=2), maxReplica=3))
    assert reading.refused == ()
    (notice,) = reading.bundle.ignored
    assert notice.rule == "unknown-field"
    assert notice.message == "unknown field `maxReplica` in `spec.predictor`"
    assert notice.fix == "did you mean `maxReplicas`?"


def test_a_service_must_have_a_name_of_its_kind(refused: Refused) -> None:
    document = service(external(value=2))
    document["metadata"]["name"] = "1.5b"
    (message,) = refused(document)
    assert message.startswith("`metadata.name` must be lower-case letters, digits and `-`")


def test_all_that_is_wrong_is_told_at_once(refused: Refused) -> None:
    bad = service(external(), external(type="AverageValue", value=1), minReplicas=-1)
    assert len(refused(bad, {"kind": "Deployment", "apiVersion": "apps/v1"})) >= 5


def rules(reading: Reading) -> list[tuple[str, int | None]]:
    """The rules of what is ignored, with the lines."""
    assert reading.refused == ()
    return [(one.rule, one.place.line) for one in reading.bundle.ignored]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (service(external(type="Value", value=2)), ["target-type-ignored"]),
        (
            service(external(type="AverageValue", value=2, averageValue=3)),
            ["target-type-ignored"],
        ),
        (service(external(type="AverageValue", value=2, averageValue="2")), []),
        (service(external(value=2)), []),
        (
            service(
                external(value=2),
                behavior={
                    "scaleUp": {"stabilizationWindowSeconds": 5, "selectPolicy": "Min"},
                    "scaleDown": {"stabilizationWindowSeconds": 5},
                },
            ),
            ["behavior-dropped"],
        ),
        (service(external(value=2), scaleTarget=5), ["scale-target-ignored"]),
        (
            service(
                external(value=2),
                annotations={
                    "serving.kserve.io/enable-prometheus-scraping": "true",
                    "prometheus.io/port": "8080",
                },
            ),
            ["scrape-port-overwritten"],
        ),
        (
            service(external(value=2), annotations={"prometheus.io/port": "8080"}),
            [],
        ),
        (service(external(value=2), annotations={CLASS: "none"}), ["autoscaling-ignored"]),
        (
            service(annotations={CLASS: "hpa"}, minReplicas=0, maxReplicas=2),
            ["min-replicas-not-zero"],
        ),
    ],
)
def test_what_kserve_ignores_is_told(
    inspected: Inspect, document: dict[str, Any], expected: list[str]
) -> None:
    assert [rule for rule, _ in rules(inspected(document))] == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [("vllm:num_requests_running", 1), ("sum(vllm:num_requests_running)", 2), ("a{b='c'}", 2)],
)
def test_a_pod_metric_must_be_a_name(inspected: Inspect, query: str, expected: int) -> None:
    metric = {"backend": "opentelemetry", "query": query}
    target = {"type": "Value", "value": 4}
    podmetric = {"type": "PodMetric", "podmetric": {"metric": metric, "target": target}}
    assert len(rules(inspected(service(podmetric)))) == expected


def test_the_place_of_what_is_ignored_is_that_of_the_key(inspected: Inspect) -> None:
    document = service(external(type="Value", value=2))
    (notice,) = inspected(document).bundle.ignored
    assert notice.about == "InferenceService qwen"
    text = str(notice.place)
    assert text.startswith("<stdin>:")
    assert notice.message == "target type Value is ignored"
