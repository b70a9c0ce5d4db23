"""The Deployment and the Service of an InferenceService, and the workload they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stoker.resources import Bundle, Probe
from stoker.resources.bundle import Reading

from .conftest import external, service

Load = Callable[..., Bundle]
Inspect = Callable[..., Reading]

RUNTIME = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ServingRuntime",
    "metadata": {"name": "vllm-runtime"},
    "spec": {
        "annotations": {"prometheus.kserve.io/port": "8000"},
        "supportedModelFormats": [{"name": "vLLM", "autoSelect": True, "priority": 2}],
        "volumes": [{"name": "shm", "emptyDir": {}}],
        "containers": [
            {"name": "side", "image": "sidecar"},
            {
                "name": "kserve-container",
                "image": "vllm/vllm-openai:v0.32.0",
                "command": ["vllm", "serve", "/mnt/models"],
                "args": ["--port=8000", "--served-model-name={{.Name}}-{{.Labels.tier}}"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
                "ports": [{"containerPort": 8000, "name": "http"}, {"containerPort": 9000}],
                "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
                "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
            },
        ],
    },
}


def objects(bundle: Bundle, kind: str) -> list[dict[str, Any]]:
    """The objects of a kind."""
    return [dict(one.content) for one in bundle.objects if one.kind == kind]


def test_a_model_of_hugging_face_is_served_by_vllm_under_its_name(loaded: Load) -> None:
    (application,) = loaded(service(external(value=2))).applications
    workload = application.workload
    assert workload.name == "qwen-predictor"
    assert workload.command == (
        "vllm", "serve", "Qwen/Qwen2.5-0.5B-Instruct", "--served-model-name", "qwen",
        "--port", "8080",
    )  # fmt: skip
    assert (workload.model, workload.port, workload.replicas) == ("qwen", 8080, None)
    assert workload.container == "kserve-container"
    assert workload.readiness_probe == Probe(path=None, tcp=True)
    assert workload.env["INFERENCE_SERVICE_NAME"] == "qwen"
    assert workload.pod_labels["app"] == "isvc.qwen-predictor"
    assert workload.requests == {"cpu": "1", "memory": "2Gi"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("qwen", "Qwen/Qwen2.5-0.5B-Instruct", "8080")),
        (["--model_id=org/m", "--http_port", "9090"], ("qwen", "org/m", "9090")),
        (["--model-name", "a", "--model_id", "b", "--model_name=c"], ("c", "b", "8080")),
    ],
)  # fmt: skip
def test_the_servers_own_options_become_those_of_vllm(
    loaded: Load, arguments: list[str], expected: tuple[str, str, str]
) -> None:
    document = service(external(value=2), model={"args": arguments})
    (application,) = loaded(document).applications
    words = application.workload.command
    name, model, port = expected
    assert words == ("vllm", "serve", model, "--served-model-name", name, "--port", port)


def test_options_of_vllm_are_handed_on(loaded: Load) -> None:
    own = ["--backend=vllm", "--dtype=float32", "--max-model-len", "512", "--model_revision=abc"]
    (application,) = loaded(service(external(value=2), model={"args": own})).applications
    assert application.workload.command[7:] == (
        "--revision", "abc", "--dtype=float32", "--max-model-len", "512",
    )  # fmt: skip


@pytest.mark.parametrize("option", ["--backend=huggingface", "--task=token_classification"])
def test_what_vllm_does_not_serve_is_skipped(inspected: Inspect, option: str) -> None:
    reading = inspected(service(external(value=2), model={"args": [option]}))
    assert reading.refused == ()
    assert reading.bundle.applications == ()
    assert "no container runs vLLM" in {one.reason for one in reading.bundle.skipped}
    assert [one.scaling.name for one in reading.bundle.unattached] == ["qwen-predictor"]


def test_a_runtime_of_the_files_is_merged_with_the_service(loaded: Load) -> None:
    document = service(
        external(value=2),
        model={
            "modelFormat": {"name": "vLLM"},
            "args": ["--max-model-len=1024"],
            "env": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
            "resources": {"limits": {"nvidia.com/gpu": 1, "cpu": 4}},
        },
        nodeSelector={"gpu": "a100"},
        terminationGracePeriodSeconds=120,
    )
    document["metadata"]["labels"] = {"tier": "gold"}
    bundle = loaded(document, RUNTIME)
    (application,) = bundle.applications
    workload = application.workload
    assert workload.command == (
        "vllm", "serve", "Qwen/Qwen2.5-0.5B-Instruct", "--port=8000",
        "--served-model-name=qwen-gold", "--max-model-len=1024",
    )  # fmt: skip
    assert dict(workload.env) == {"A": "1", "B": "2", "C": "3", "INFERENCE_SERVICE_NAME": "qwen"}
    assert workload.limits == {"cpu": "4", "memory": "2Gi", "nvidia.com/gpu": "1"}
    assert (workload.gpus, workload.port, workload.termination_grace_period) == (1, 8000, 120)
    (deployment,) = objects(bundle, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["containers"]] == ["kserve-container", "side"]
    assert pod["nodeSelector"] == {"gpu": "a100"}
    assert pod["volumes"] == [{"name": "shm", "emptyDir": {}}]
    (beside,) = objects(bundle, "Service")
    assert [(one["port"], one["targetPort"]) for one in beside["spec"]["ports"]] == [
        (80, 8000),
        (9000, 9000),
    ]
    annotations = deployment["metadata"]["annotations"]
    assert annotations["prometheus.kserve.io/port"] == "8000"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"supportedModelFormats": [{"name": "vLLM", "autoSelect": False}]}, False),
        ({"disabled": True}, False),
        ({"supportedModelFormats": [{"name": "vLLM", "version": "2", "autoSelect": True}]}, False),
        ({"supportedModelFormats": [{"name": "vLLM", "version": "1", "autoSelect": True}]}, True),
    ],
)
def test_a_runtime_is_chosen_by_itself_only_if_it_says_so(
    loaded: Load, change: dict[str, Any], *, found: bool
) -> None:
    runtime = {**RUNTIME, "spec": {**RUNTIME["spec"], **change}}  # type: ignore[dict-item]
    model = {"modelFormat": {"name": "vLLM", "version": "1"}, "args": None}
    (application,) = loaded(service(external(value=2), model=model), runtime).applications
    assert (application.workload.image == "vllm/vllm-openai:v0.32.0") is found


def test_a_runtime_that_is_not_there_is_named(inspected: Inspect) -> None:
    reading = inspected(service(external(value=2), model={"runtime": "mine"}))
    (skipped,) = reading.bundle.skipped
    assert skipped.reason == "its runtime mine is not in these files"
    assert len(reading.bundle.unattached) == 1


def test_a_predictor_may_bring_its_own_container(loaded: Load) -> None:
    document = service(external(value=2))
    container = {"image": "vllm/vllm-openai:v1", "args": ["--model", "org/m"]}
    predictor = document["spec"]["predictor"]
    del predictor["model"]
    predictor["containers"] = [container]
    (application,) = loaded(document).applications
    assert application.workload.container == "kserve-container"
    assert application.workload.command == ("vllm", "serve", "--model", "org/m")


@pytest.mark.parametrize(
    ("annotations", "predictor", "reason"),
    [
        (
            {"serving.kserve.io/deploymentMode": "Serverless"},
            {},
            (
                "deployment mode Knative is not run here: annotate it with "
                'serving.kserve.io/deploymentMode: "Standard"'
            ),
        ),
        (
            {"serving.kserve.io/stop": "true"},
            {},
            "it is stopped by the annotation serving.kserve.io/stop",
        ),
        ({}, {"sklearn": {}}, "a predictor of sklearn does not serve language models"),
        ({}, {"workerSpec": {}}, "a predictor over several nodes (workerSpec) is not run here"),
    ],
)
def test_what_is_not_run_says_why(
    inspected: Inspect, annotations: dict[str, str], predictor: dict[str, Any], reason: str
) -> None:
    reading = inspected(service(external(value=2), annotations=annotations, **predictor))
    assert reading.refused == ()
    assert [one.reason for one in reading.bundle.skipped] == [reason]


@pytest.mark.parametrize(("autoscaler", "replicas"), [("none", 3), ("external", 1)])
def test_without_an_autoscaler_replicas_are_fixed(
    loaded: Load, autoscaler: str, replicas: int
) -> None:
    annotations = {"serving.kserve.io/autoscalerClass": autoscaler}
    document = service(annotations=annotations, minReplicas=3, maxReplicas=3)
    (application,) = loaded(document).applications
    assert application.scaling is None
    assert application.workload.replicas == replicas


def test_a_scaled_object_beside_the_service_scales_its_deployment(loaded: Load) -> None:
    annotations = {"serving.kserve.io/autoscalerClass": "external"}
    scaled_object = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "mine"},
        "spec": {
            "scaleTargetRef": {"name": "qwen-predictor"},
            "minReplicaCount": 1,
            "triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}],
        },
    }
    (application,) = loaded(service(annotations=annotations), scaled_object).applications
    assert application.scaling is not None
    assert application.scaling.name == "mine"


def test_places_of_the_container_are_those_of_the_model(loaded: Load) -> None:
    (application,) = loaded(service(external(value=2))).applications
    name = application.deployment.origin.name
    container = ("spec", "template", "spec", "containers", 0)
    assert name((*container, "resources")) == "spec.predictor.model.resources"
    assert name((*container, "args", 1)) == "spec.predictor.model.args[0]"
    assert not application.deployment.origin.exists(("spec", "replicas"))


def test_other_versions_of_the_kind_are_skipped(inspected: Inspect) -> None:
    old = service(external(value=2)) | {"apiVersion": "serving.kubeflow.org/v1alpha2"}
    reading = inspected(old)
    assert reading.refused == ()
    assert [one.reason for one in reading.bundle.skipped] == [
        "serving.kubeflow.org/v1alpha2 of InferenceService is not read"
    ]


def test_without_a_class_an_hpa_on_cpu_scales(loaded: Load) -> None:
    document = service(minReplicas=1, maxReplicas=3)
    del document["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"]
    bundle = loaded(document)
    (application,) = bundle.applications
    assert application.scaling is not None
    assert (application.scaling.min_replicas, application.scaling.max_replicas) == (1, 3)
    assert application.scaling.name == "qwen-predictor"
    (hpa,) = objects(bundle, "HorizontalPodAutoscaler")
    assert hpa["spec"]["behavior"] == {}
    assert hpa["spec"]["metrics"] == [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80},
            },
        }
    ]


@pytest.mark.parametrize(
    ("predictor", "expected"),
    [
        (
            {"scaleMetric": "memory", "scaleTarget": 60, "maxReplicas": 2},
            [("memory", {"type": "Utilization", "averageUtilization": 60})],
        ),
        (
            {
                "autoScaling": {
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {
                                "name": "memory",
                                "target": {"type": "AverageValue", "averageValue": "4Gi"},
                            },
                        }
                    ]
                }
            },
            [("memory", {"type": "AverageValue", "averageValue": "4Gi"})],
        ),
    ],
)
def test_an_hpa_has_the_metrics_of_the_service(
    loaded: Load, predictor: dict[str, Any], expected: list[tuple[str, dict[str, Any]]]
) -> None:
    annotations = {"serving.kserve.io/autoscalerClass": "hpa"}
    bundle = loaded(service(annotations=annotations, **predictor))
    (hpa,) = objects(bundle, "HorizontalPodAutoscaler")
    metrics = [one["resource"] for one in hpa["spec"]["metrics"]]
    assert [(one["name"], one["target"]) for one in metrics] == expected
