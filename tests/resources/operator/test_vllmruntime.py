"""VLLMRuntime: what production-stack's operator makes of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from stoker.api.rendering import render
from stoker.resources.bundle import Reading, inspect
from stoker.ui.yamltext import to_yaml_stream


def runtime(
    *, autoscaling: Mapping[str, Any] | None = None, **parts: Mapping[str, Any]
) -> dict[str, Any]:
    """A VLLMRuntime; *parts* are merged into the parts of its spec."""
    spec: dict[str, Any] = {
        "model": {"modelURL": "org/m"},
        "vllmConfig": {"v1": True, "port": 8000},
        "deploymentConfig": {
            "replicas": 1,
            "resources": {"gpu": "1", "cpu": "4"},
            "image": {"registry": "docker.io", "name": "lmcache/vllm-openai:latest"},
        },
    }
    for key, part in parts.items():
        spec[key] = {**spec.get(key, {}), **part}
    if autoscaling is not None:
        spec["autoscalingConfig"] = {"enabled": True, "maxReplicas": 2, **autoscaling}
    return {
        "apiVersion": "production-stack.vllm.ai/v1alpha1",
        "kind": "VLLMRuntime",
        "metadata": {"name": "llama", "namespace": "llm", "labels": {"team": "a"}},
        "spec": spec,
    }


def read(document: Mapping[str, Any]) -> Reading:
    """What is read of it."""
    return inspect(["-"], stdin=io.StringIO(yaml.safe_dump(dict(document), sort_keys=False)))


def objects(document: Mapping[str, Any]) -> dict[str, Any]:
    """The objects by kind; nothing may be wrong."""
    reading = read(document)
    assert (reading.unreadable, reading.refused) == ((), ())
    return {one.kind: one.content for one in reading.bundle.objects}


def test_the_deployment_runs_vllm_as_the_operator_writes_it() -> None:
    document = runtime(
        model={"maxModelLen": 4096, "dtype": "bfloat16", "enableLoRA": True},
        vllmConfig={
            "tensorParallelSize": 2,
            "extraArgs": ["--seed", "1"],
            "enablePrefixCaching": True,
        },
    )
    (application,) = read(document).bundle.applications
    workload = application.workload
    assert workload.command == (
        "/opt/venv/bin/vllm", "serve", "org/m", "--host", "0.0.0.0", "--port", "8000",
        "--enable-lora", "--no-enable-chunked-prefill", "--enable-prefix-caching",
        "--max-model-len", "4096", "--dtype", "bfloat16", "--tensor-parallel-size", "2",
        "--seed", "1",
    )  # fmt: skip
    assert (workload.name, workload.namespace, workload.gpus) == ("llama", "llm", 1)
    assert workload.replicas == 1
    assert workload.pod_labels == {"app": "llama", "team": "a"}
    assert workload.startup_probe is not None
    budget = workload.startup_probe.initial_delay + 100 * workload.startup_probe.period
    assert budget == 2120


def test_the_scaled_object_has_the_operators_defaults() -> None:
    spec = objects(runtime(autoscaling={}))["ScaledObject"]["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": "production-stack.vllm.ai/v1alpha1",
        "kind": "VLLMRuntime",
        "name": "llama",
    }
    numbers = {key: value for key, value in spec.items() if isinstance(value, int)}
    assert numbers == {
        "minReplicaCount": 1,
        "maxReplicaCount": 2,
        "pollingInterval": 15,
        "cooldownPeriod": 1800,
    }
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert behavior["scaleUp"] == {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    }
    told = [
        (one.get("metricType"), one["metadata"]["query"], one["metadata"]["threshold"])
        for one in spec["triggers"]
    ]
    counter = 'vllm:num_incoming_requests_total{namespace="llm", model="org/m"}'
    assert told == [
        ("Value", f"sum(rate({counter}[2m]) > bool 0)", "1"),
        (None, 'sum(vllm:num_requests_running{job="llama"})', "5"),
        (None, 'sum(rate(vllm:generation_tokens_total{job="llama"}[1m]))', "100"),
        (None, 'sum(rate(vllm:prompt_tokens_total{job="llama"}[1m]))', "100"),
    ]


def test_the_name_that_is_served_is_found_in_one_form_only() -> None:
    config = {"extraArgs": ["--served-model-name=chat"]}
    spec = objects(runtime(autoscaling={}, vllmConfig=config))["ScaledObject"]["spec"]
    assert 'model="chat"' in spec["triggers"][0]["metadata"]["query"]
    config = {"extraArgs": ["--served-model-name", "chat"]}
    spec = objects(runtime(autoscaling={}, vllmConfig=config))["ScaledObject"]["spec"]
    assert 'model="org/m"' in spec["triggers"][0]["metadata"]["query"]


def test_without_autoscaling_replicas_are_fixed() -> None:
    found = objects(runtime(autoscaling={"enabled": False}, deploymentConfig={"replicas": 2}))
    assert "ScaledObject" not in found
    assert found["Deployment"]["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            runtime(autoscaling={"minReplicas": 3}),
            "`spec.autoscalingConfig.minReplicas` must be at most maxReplicas 2, not 3",
        ),
        (
            runtime(autoscaling={"maxReplicas": 1}, deploymentConfig={"replicas": 2}),
            (
                "`spec.autoscalingConfig.maxReplicas` must be at least deploymentConfig.replicas "
                "2, not 1"
            ),
        ),
        (
            runtime(autoscaling={"maxReplicas": 0}),
            "`spec.autoscalingConfig.maxReplicas` must be at least 1, not 0",
        ),
        (
            runtime(deploymentConfig={"resources": {"gpu": "one"}}),
            (
                "`spec.deploymentConfig.resources.gpu` must be a quantity such as `2` or `64Gi`: "
                "'one' is not a quantity"
            ),
        ),
    ],
)
def test_what_the_operator_refuses(document: dict[str, Any], message: str) -> None:
    assert [error.message for error in read(document).refused] == [message]


def test_a_name_that_the_crd_does_not_know_is_told_not_refused() -> None:
    reading = read(runtime(vllmConfig={"enableChunkPrefill": True}))
    assert reading.refused == ()
    (notice,) = reading.bundle.ignored
    assert notice.rule == "unknown-field"
    assert notice.message == "unknown field `enableChunkPrefill` in `spec.vllmConfig`"
    assert notice.fix == "did you mean `enableChunkedPrefill`?"
    assert notice.place.line is not None


def test_what_is_rendered_is_read_again_and_runs_the_same() -> None:
    before = read(runtime(autoscaling={"minReplicas": 0})).bundle
    after = inspect(["-"], stdin=io.StringIO(to_yaml_stream(render(before).objects))).bundle
    (one,), (other,) = before.applications, after.applications
    assert one.workload.command == other.workload.command
    assert one.scaling == other.scaling
