"""LLMInferenceService: what KServe's other controller makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stoker.resources import Bundle
from stoker.resources.bundle import Reading

Load = Callable[..., Bundle]
Inspect = Callable[..., Reading]
Refused = Callable[..., list[str]]

TRIGGER = {
    "type": "prometheus",
    "metadata": {"serverAddress": "http://p:9090", "query": "sum(q)", "threshold": "5"},
}
KEDA = {"triggers": [TRIGGER]}


def service(**spec: Any) -> dict[str, Any]:
    """An LLMInferenceService."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": "qwen"},
        "spec": {"model": {"uri": "hf://Qwen/Qwen3-8B", "name": "qwen3"}, **spec},
    }


def scaled(keda: Mapping[str, Any] = KEDA, **scaling: Any) -> dict[str, Any]:
    """One that KEDA scales."""
    return service(scaling={"maxReplicas": 4, **scaling, "keda": dict(keda)})


def test_names_and_scaling_are_those_of_the_controller(loaded: Load) -> None:
    keda = {
        **KEDA,
        "pollingInterval": 10,
        "fallback": {"failureThreshold": 3, "replicas": 2},
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}
            }
        },
    }
    (application,) = loaded(scaled(keda, minReplicas=2)).applications
    scaling = application.scaling
    assert scaling is not None
    assert (scaling.name, scaling.target.name) == ("qwen-kserve-keda", "qwen-kserve")
    assert (scaling.min_replica_count, scaling.max_replica_count) == (2, 4)
    assert scaling.polling_interval == 10
    assert scaling.fallback is not None
    assert scaling.behavior is not None
    assert scaling.behavior.scale_down.stabilization_window_seconds == 60


def test_the_preset_serves_the_model_under_its_name(loaded: Load) -> None:
    template = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    (application,) = loaded(service(replicas=2, template=template)).applications
    workload = application.workload
    assert workload.command == (
        "vllm", "serve", "Qwen/Qwen3-8B", "--served-model-name", "qwen3", "--port", "8000",
    )  # fmt: skip
    assert (workload.name, workload.container, workload.gpus) == ("qwen-kserve", "main", 1)
    assert workload.replicas == 2
    assert workload.startup_probe is not None
    assert workload.startup_probe.failure_threshold == 60


def test_further_arguments_come_from_the_environment(loaded: Load) -> None:
    env = [{"name": "VLLM_ADDITIONAL_ARGS", "value": "--max-model-len 1024 --seed=1"}]
    template = {"containers": [{"name": "main", "env": env}]}
    (application,) = loaded(service(template=template)).applications
    assert application.workload.command == (
        "vllm", "serve", "Qwen/Qwen3-8B", "--served-model-name", "qwen3", "--port", "8000",
        "--max-model-len", "1024", "--seed=1",
    )  # fmt: skip


def test_configurations_of_the_files_are_merged(loaded: Load) -> None:
    config = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceServiceConfig",
        "metadata": {"name": "grace"},
        "spec": {"template": {"terminationGracePeriodSeconds": 300}},
    }
    (application,) = loaded(service(baseRefs=[{"name": "grace"}]), config).applications
    assert application.workload.termination_grace_period == 300


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (scaled({"triggers": []}), "`spec.scaling.keda.triggers` is required"),
        (
            {**scaled(), "spec": {**scaled()["spec"], "replicas": 1}},
            "`spec.replicas` and `spec.scaling` exclude each other",
        ),
        (
            service(scaling={"maxReplicas": 4}),
            "`spec.scaling` needs one of `keda` and `wva`, and not both",
        ),
        (
            scaled(minReplicas=5),
            "`spec.scaling.minReplicas` must be at most maxReplicas 4, not 5",
        ),
        (
            scaled({**KEDA, "idleReplicaCount": 0}),
            "`spec.scaling.keda.idleReplicaCount` needs a minReplicas that is more",
        ),
        (
            scaled({"triggers": [{**TRIGGER, "metadata": {"threshold": 5}}]}),
            "`spec.scaling.keda.triggers[0].metadata.threshold` must be a string, not 5",
        ),
    ],
)
def test_refusals(refused: Refused, document: dict[str, Any], message: str) -> None:
    assert refused(document) == [message]


@pytest.mark.parametrize(
    ("document", "rules"),
    [
        (service(prefill={"replicas": 1}), ["prefill-not-run"]),
        (service(scaling={"maxReplicas": 2, "wva": {"hpa": {}}}), ["wva-not-run"]),
        (scaled({**KEDA, "pollInterval": 5}), ["unknown-field"]),
    ],
)
def test_what_is_not_run_here_is_told(
    inspected: Inspect, document: dict[str, Any], rules: list[str]
) -> None:
    reading = inspected(document)
    assert reading.refused == ()
    assert [one.rule for one in reading.bundle.ignored] == rules
    assert len(reading.bundle.applications) == 1


def test_several_nodes_are_skipped_and_the_scaling_can_be_looked_at(inspected: Inspect) -> None:
    document = scaled()
    document["spec"]["worker"] = {}
    bundle = inspected(document).bundle
    assert [one.reason for one in bundle.skipped] == [
        "a model over several nodes (worker) is not run here"
    ]
    assert len(bundle.unattached) == 1
