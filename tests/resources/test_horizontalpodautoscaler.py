"""HorizontalPodAutoscalers: the API server's defaults, and what it refuses."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.errors import InputError
from stoker.resources.composing import Composer
from stoker.resources.document import Document, Manifest, Origin
from stoker.resources.horizontalreading import read_horizontal_pod_autoscaler
from stoker.resources.quantity import canonical_quantity
from stoker.scaling.spec import Behavior, HpaMetric, MetricType, ObjectReference, ScalingSpec

EXTERNAL = {
    "type": "External",
    "external": {
        "metric": {"name": "waiting"},
        "target": {"type": "AverageValue", "averageValue": "5"},
    },
}
PLAIN: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "llama"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
        "maxReplicas": 5,
        "metrics": [EXTERNAL],
    },
}


def read(text: str, **options: str) -> tuple[ScalingSpec | None, list[InputError]]:
    root = Composer("hpa.yaml", 0).compose(text)
    assert root is not None
    manifest = Manifest(root.value, Origin(Document("hpa.yaml", root)))
    spec, errors = read_horizontal_pod_autoscaler(manifest, "ns", **options)
    return spec, list(errors)


def text_of(changes: dict[str, Any], **more: Any) -> str:
    return yaml.safe_dump({**PLAIN, "spec": {**PLAIN["spec"], **changes}, **more}, sort_keys=False)


def spec_of(**changes: Any) -> ScalingSpec:
    spec, errors = read(text_of(changes))
    assert errors == []
    assert spec is not None
    return spec


def messages(changes: dict[str, Any], **options: str) -> list[str]:
    spec, errors = read(text_of(changes), **options)
    assert spec is None
    return [error.message for error in errors]


def metric_of(source: dict[str, Any]) -> HpaMetric | None:
    return spec_of(metrics=[source]).triggers[0].metric


def test_what_is_left_out_gets_the_defaults_of_the_api_server() -> None:
    spec = spec_of(metrics=None)

    assert (spec.name, spec.namespace, spec.hpa_name) == ("llama", "ns", "llama")
    assert (spec.min_replicas, spec.hpa_min_replicas, spec.max_replicas) == (1, 1, 5)
    assert spec.behavior is None
    (trigger,) = spec.triggers
    assert trigger.metric == HpaMetric("Resource", "cpu", 80.0, MetricType.UTILIZATION, "80")


def test_an_empty_behavior_is_not_an_absent_one() -> None:
    assert spec_of(behavior={}).behavior == Behavior()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (EXTERNAL, HpaMetric("External", "waiting", 5.0, MetricType.AVERAGE_VALUE, "5")),
        (
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "cpu",
                    "container": "vllm",
                    "target": {"type": "Utilization", "averageUtilization": 60},
                },
            },
            HpaMetric(
                "ContainerResource", "cpu", 60.0, MetricType.UTILIZATION, "60", container="vllm"
            ),
        ),
        (
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "waiting", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "1500m"},
                },
            },
            HpaMetric(
                "Pods", "waiting", 1.5, MetricType.AVERAGE_VALUE, "1500m", match_labels={"a": "b"}
            ),
        ),
        (
            {
                "type": "Object",
                "object": {
                    "describedObject": {"apiVersion": "v1", "kind": "Namespace", "name": "default"},
                    "metric": {"name": "waiting"},
                    "target": {"type": "Value", "value": 1},
                },
            },
            HpaMetric(
                "Object", "waiting", 1.0, MetricType.VALUE, "1",
                described_object=ObjectReference("Namespace", "default", "v1"),
            ),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_each_type_of_metric_is_read(source: dict[str, Any], expected: HpaMetric) -> None:
    assert metric_of(source) == expected


def test_what_counts_is_the_value_that_is_given_not_its_type() -> None:
    source = copy.deepcopy(EXTERNAL)
    source["external"]["target"] = {"type": "AverageValue", "value": "5"}

    metric = metric_of(source)

    assert metric is not None
    assert (metric.target_type, metric.target) == (MetricType.VALUE, 5.0)


def test_an_object_metric_goes_by_its_type_and_may_so_have_no_target() -> None:
    source = {
        "type": "Object",
        "object": {
            "describedObject": {"kind": "Service", "name": "router"},
            "metric": {"name": "waiting"},
            "target": {"type": "Value", "averageValue": "5"},
        },
    }

    metric = metric_of(source)

    assert metric is not None
    assert metric.target is None


def test_the_first_version_is_the_second_with_cpu() -> None:
    first = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llama"},
        "spec": {
            "scaleTargetRef": PLAIN["spec"]["scaleTargetRef"],
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 50,
        },
    }

    spec, errors = read(yaml.safe_dump(first))

    assert errors == []
    assert spec is not None
    assert [t.metric.target for t in spec.triggers if t.metric] == [50.0]


def test_zero_replicas_wait_for_kubernetes_1_37() -> None:
    assert messages({"minReplicas": 0}) == ["`spec.minReplicas` must be at least 1, not 0"]
    assert messages({"minReplicas": -1}, kubernetes_version="1.37") == [
        "`spec.minReplicas` must be at least 0, not -1"
    ]
    spec, errors = read(text_of({"minReplicas": 0}), kubernetes_version="1.37")
    assert errors == []
    assert spec is not None
    assert spec.hpa_min_replicas == 0


def test_zero_replicas_need_a_metric_that_is_there_without_pods() -> None:
    assert messages({"minReplicas": 0, "metrics": None}, kubernetes_version="1.37") == [
        "`spec.minReplicas` 0 needs at least one Object or External metric"
    ]


def test_every_fault_is_told_with_its_place() -> None:
    text = text_of(
        {
            "scaleTargetRef": {"name": "llama"},
            "maxReplicas": 0,
            "metrics": [{"type": "Pod"}, {"type": "Resource", "external": EXTERNAL["external"]}],
        }
    )

    _, errors = read(text)

    told = "\n".join(str(error) for error in errors)
    assert told.splitlines() == [
        "hpa.yaml:8:16: `spec.maxReplicas` must be at least 1, not 0",
        "hpa.yaml:6:3: `spec.scaleTargetRef.kind` is required",
        "hpa.yaml:6:3: `spec.scaleTargetRef.apiVersion` is required",
        (
            "hpa.yaml:10:11: `spec.metrics[0].type` must be one of ContainerResource, "
            'External, Object, Pods, Resource, not the text "Pod"'
        ),
        "hpa.yaml:11:5: `spec.metrics[1].resource` is required",
        "hpa.yaml:12:5: `spec.metrics[1].external` is not for a metric of type Resource",
    ]
    assert errors[3].hint == "did you mean `Pods`?"


def test_recorded_verdicts_of_the_api_server(shared_data: Path) -> None:
    wrong = []
    with gzip.open(shared_data / "kubernetes" / "validation.jsonl.gz", "rt") as file:
        cases = [case for case in map(json.loads, file) if case["kind"] == PLAIN["kind"]]
    for case in cases:
        text = case.get("manifest_yaml") or json.dumps(case["manifest"])
        try:
            spec, _ = read(text)
        except InputError:
            spec = None  # what is no YAML, such as a key twice
        if (spec is not None) != (case["strict"]["code"] == 201):
            wrong.append(f"{case['id']} {case['what']}: {case['strict'].get('message')}")
    assert len(cases) > 40
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("5", "5"), ("1000m", "1"), ("1.50", "1500m"), ("0.0001", "100u"), ("0.1", "100m"),
        (" 5", "5"), ("1e3", "1e3"), ("+5", "+5"), ("12000", "12k"), ("1024Mi", "1Gi"), ("0", "0"),
    ],
)  # fmt: skip
def test_a_quantity_is_stored_in_its_shortest_form(text: str, stored: str) -> None:
    assert canonical_quantity(text) == stored
