"""`stoker render`: what comes out, in every form, and that it can be read again."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.api.rendering import Form, Rendering, render
from stoker.resources import Bundle
from stoker.resources.bundle import inspect
from stoker.ui.yamltext import to_yaml_stream

EXAMPLES = Path(__file__).parents[2] / "examples"
VALUES = EXAMPLES / "01-production-stack" / "values.yaml"

SCALED_OBJECT = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: so, annotations: {note: kept}}
spec:
  scaleTargetRef: {name: engine}
  minReplicaCount: 1
  maxReplicaCount: 4
  triggers:
    - type: prometheus
      metadata: {serverAddress: http://p:9090, query: sum(q), threshold: "5"}
"""
DEPLOYMENT = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}, annotations: {prometheus.io/scrape: "true"}}
    spec:
      terminationGracePeriodSeconds: 120
      containers:
        - {name: side, image: side}
        - {name: server, image: "vllm/vllm-openai:v1", args: [--model, org/m]}
"""


def read(text: str, **options: Any) -> Bundle:
    """What is read of *text*, which must be right."""
    reading = inspect(["-"], stdin=io.StringIO(text), **options)
    assert (reading.unreadable, reading.refused) == ((), ())
    return reading.bundle


def rendered(text: str, to: Form | None = None) -> Rendering:
    """What is printed of *text*."""
    return render(read(text), to)


def test_a_scaled_object_comes_with_the_hpa_that_keda_makes_of_it() -> None:
    done = rendered(SCALED_OBJECT)
    assert [one["kind"] for one in done.objects] == ["ScaledObject", "HorizontalPodAutoscaler"]
    hpa = done.objects[1]
    assert hpa["metadata"] == {
        "name": "keda-hpa-so",
        "namespace": "default",
        "labels": {
            "app.kubernetes.io/managed-by": "keda-operator",
            "app.kubernetes.io/name": "keda-hpa-so",
            "app.kubernetes.io/part-of": "so",
            "app.kubernetes.io/version": "2.20.2",
            "scaledobject.keda.sh/name": "so",
        },
        "annotations": {"note": "kept"},
    }
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (1, 4)
    (metric,) = hpa["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "s0-prometheus"
    assert metric["external"]["target"] == {"averageValue": "5", "type": "AverageValue"}
    assert "status" not in hpa


def test_an_unknown_trigger_leaves_the_hpa_out_and_says_so() -> None:
    done = rendered(SCALED_OBJECT.replace("type: prometheus", "type: azure-queue"))
    assert [one["kind"] for one in done.objects] == ["ScaledObject"]
    (note,) = done.notes
    assert note.startswith("no HPA of ScaledObject so: no scaler found for type: azure-queue")


def test_other_documents_pass_through_in_their_order() -> None:
    other = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: llm}\n"
    done = rendered(SCALED_OBJECT + DEPLOYMENT + other)
    kinds = [one["kind"] for one in done.objects]
    assert kinds == ["ScaledObject", "HorizontalPodAutoscaler", "Deployment", "Namespace"]


def test_to_keda_prints_what_scales_and_what_is_scaled() -> None:
    other = "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
    done = rendered(SCALED_OBJECT + DEPLOYMENT + other, "keda")
    assert [one["kind"] for one in done.objects] == ["ScaledObject", "Deployment"]


def test_to_hpa_says_what_an_hpa_has_no_place_for() -> None:
    text = SCALED_OBJECT.replace(
        "minReplicaCount: 1",
        "fallback: {failureThreshold: 3, replicas: 2}\n  minReplicaCount: 1\n  idleReplicaCount: 0",
    )
    done = rendered(text, "hpa")
    assert [one["kind"] for one in done.objects] == ["HorizontalPodAutoscaler"]
    assert [note.removeprefix("ScaledObject so: ") for note in done.notes] == [
        "its External metrics are served by KEDA, as long as the ScaledObject is there",
        "idleReplicaCount has no place in an HPA",
        "fallback has no place in an HPA",
    ]


def test_to_kserve_keeps_the_pod_and_writes_the_metrics() -> None:
    done = rendered(SCALED_OBJECT + DEPLOYMENT, "kserve")
    (service,) = done.objects
    assert service["metadata"] == {
        "name": "engine",
        "labels": {"app": "engine"},
        "annotations": {
            "prometheus.io/scrape": "true",
            "serving.kserve.io/deploymentMode": "Standard",
            "serving.kserve.io/autoscalerClass": "keda",
        },
    }
    predictor = service["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (1, 4)
    assert predictor["terminationGracePeriodSeconds"] == 120
    assert [one["name"] for one in predictor["containers"]] == ["kserve-container", "side"]
    assert predictor["autoScaling"]["metrics"] == [
        {
            "type": "External",
            "external": {
                "metric": {
                    "backend": "prometheus",
                    "serverAddress": "http://p:9090",
                    "query": "sum(q)",
                },
                "target": {"type": "AverageValue", "averageValue": "5", "value": "5"},
            },
        }
    ]
    assert done.notes == ["Deployment engine: KServe names it engine-predictor"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            ("threshold:", 'activationThreshold: "1", threshold:'),
            "its trigger has activationThreshold",
        ),
        (("type: prometheus", "type: redis"), "it has a trigger of type redis"),
        (
            ("type: prometheus", "metricType: Value\n      type: prometheus"),
            "KServe ignores the type Value of a query's target",
        ),
        (
            ("  triggers", "  fallback: {failureThreshold: 3, replicas: 2}\n  triggers"),
            "it has a fallback",
        ),
    ],
)  # fmt: skip
def test_what_kserve_has_no_words_for_stays_beside_the_service(
    change: tuple[str, str], reason: str
) -> None:
    done = rendered(SCALED_OBJECT.replace(*change) + DEPLOYMENT, "kserve")
    service, beside = done.objects
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    assert beside["spec"]["scaleTargetRef"]["name"] == "engine-predictor"
    assert f"ScaledObject so stays beside the service: {reason}" in done.notes


@pytest.mark.parametrize(
    "text", [VALUES.read_text(), SCALED_OBJECT + DEPLOYMENT], ids=["helm", "keda"]
)
def test_what_is_rendered_to_kserve_runs_and_scales_alike(text: str) -> None:
    (before,) = read(text).applications
    again = to_yaml_stream(rendered(text, "kserve").objects)
    (after,) = read(again).applications
    assert after.workload.command == before.workload.command
    assert after.workload.gpus == before.workload.gpus
    assert before.scaling is not None
    assert after.scaling is not None
    assert (
        after.scaling.triggers[0].metadata["query"]
        == (before.scaling.triggers[0].metadata["query"])
    )
    assert after.scaling.max_replicas == before.scaling.max_replicas


@pytest.mark.parametrize(
    "text",
    [
        VALUES.read_text(),
        SCALED_OBJECT + DEPLOYMENT,
        (EXAMPLES / "02-scale-to-zero/values.yaml").read_text(),
    ],
    ids=["helm", "keda", "zero"],
)
def test_what_is_rendered_is_read_again_as_the_same(text: str) -> None:
    before = read(text)
    printed = to_yaml_stream(render(before).objects)
    after = read(printed)
    assert [one.scaling for one in after.applications] == [
        one.scaling for one in before.applications
    ]
    pairs = zip(before.applications, after.applications, strict=True)
    for one, other in pairs:
        assert replace(one.workload, origin="", replicas=None) == replace(
            other.workload, origin="", replicas=None
        )
    assert to_yaml_stream(render(after).objects) == printed


def test_yaml_of_what_is_printed_has_no_aliases() -> None:
    text = to_yaml_stream(rendered(VALUES.read_text()).objects)
    assert "&id" not in text
    assert len(list(yaml.safe_load_all(text))) == 4
