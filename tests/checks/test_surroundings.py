"""Rules about what a ScaledObject scales and what stands around it: the fault, and its cure."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from stoker.checks import Finding, Versions, examine
from stoker.resources import inspect

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "engine"},
    "spec": {
        "strategy": {"rollingUpdate": {"maxSurge": 0}},
        "selector": {"matchLabels": {"app": "engine"}},
        "template": {
            "metadata": {"labels": {"app": "engine"}},
            "spec": {
                "terminationGracePeriodSeconds": 300,
                "containers": [
                    {
                        "name": "vllm",
                        "image": "vllm/vllm-openai:v0.32.0",
                        "args": ["--model", "meta/llama", "--shutdown-timeout", "280"],
                        "resources": {"limits": {"nvidia.com/gpu": 2}},
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
                        "startupProbe": {
                            "httpGet": {"path": "/health", "port": 8000},
                            "failureThreshold": 60,
                        },
                    }
                ],
            },
        },
    },
}
SCALED_OBJECT: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "so", "annotations": {}},
    "spec": {
        "scaleTargetRef": {"name": "engine"},
        "minReplicaCount": 1,
        "maxReplicaCount": 4,
        "triggers": [
            {
                "type": "prometheus",
                "metadata": {
                    "serverAddress": "http://p:9090",
                    "query": 'sum(vllm:num_requests_waiting{model_name="meta/llama"})',
                    "threshold": "5",
                },
            }
        ],
    },
}
BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "pdb"},
    "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "engine"}}},
}
AUTHENTICATION = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "TriggerAuthentication",
    "metadata": {"name": "prom"},
    "spec": {"secretTargetRef": [{"parameter": "bearerToken", "name": "s", "key": "k"}]},
}
MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PodMonitor",
    "metadata": {"name": "pm"},
    "spec": {
        "selector": {"matchLabels": {"app": "engine"}},
        "podMetricsEndpoints": [{"port": "http", "interval": "5s"}],
    },
}
AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "mine"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"},
        "maxReplicas": 3,
    },
}

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def found(*others: dict[str, Any], change: Change | None = None, **versions: Any) -> list[Finding]:
    """The findings of a Deployment and its ScaledObject, both changed, with *others* around."""
    deployment, scaled_object = copy.deepcopy(DEPLOYMENT), copy.deepcopy(SCALED_OBJECT)
    if change is not None:
        change(deployment, scaled_object)
    text = yaml.safe_dump_all([deployment, scaled_object, *others], sort_keys=False)
    reading = inspect(["-"], stdin=io.StringIO(text))
    return list(examine(reading, None, Versions(**versions)))


def codes(*others: dict[str, Any], change: Change | None = None, **versions: Any) -> set[str]:
    return {finding.code for finding in found(*others, change=change, **versions)}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = pod(deployment)["containers"][0]
    return first


def trigger(scaled_object: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = scaled_object["spec"]["triggers"][0]
    return first


def test_the_plain_pair_is_clean() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (
            "start-longer-than-probes",
            lambda d, _: container(d)["startupProbe"].update(failureThreshold=3),
        ),
        ("shutdown-longer-than-grace", lambda d, _: pod(d).update(
            terminationGracePeriodSeconds=280)),
        ("no-termination-grace", lambda d, _: (pod(d).pop("terminationGracePeriodSeconds"),
            container(d)["args"].__delitem__(slice(2, None)))),
        ("surge-needs-gpus", lambda d, _: d["spec"].pop("strategy")),
        ("no-readiness-probe", lambda d, _: container(d).pop("readinessProbe")),
        ("no-disruption-budget", lambda _, s: s["spec"].update(minReplicaCount=2)),
        ("maximum-by-omission", lambda _, s: s["spec"].pop("maxReplicaCount")),
        ("replica-count-ignored", lambda d, _: d["spec"].update(replicas=3)),
        (
            "paused",
            lambda _, s: s["metadata"].update(annotations={"autoscaling.keda.sh/paused": "yes"}),
        ),
        ("webhook-refuses", lambda _, s: s["spec"]["triggers"].append(
            {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}})),
    ],
)  # fmt: skip
def test_a_fault_is_found_at_a_place(code: str, change: Change) -> None:
    (finding,) = [item for item in found(change=change) if item.code == code]
    assert finding.place.line is not None
    assert all((finding.message, finding.why, finding.hint, finding.resource))


@pytest.mark.parametrize(
    ("code", "others", "change"),
    [
        ("surge-needs-gpus", (), lambda d, _: d["spec"].update(strategy={"type": "Recreate"})),
        ("no-disruption-budget", (BUDGET,), lambda _, s: s["spec"].update(minReplicaCount=2)),
        ("start-longer-than-probes", (), lambda d, _: container(d).update(
            resources={}, startupProbe={"exec": {"command": ["true"]}})),
        ("shutdown-longer-than-grace", (), lambda d, _: pod(d).update(
            terminationGracePeriodSeconds=281)),
        ("paused", (), lambda _, s: s["metadata"].update(
            annotations={"autoscaling.keda.sh/paused": "false"})),
        ("monitor-selects-nothing", (MONITOR,), None),
        ("webhook-refuses", (), lambda d, s: (
            container(d).update(resources={"requests": {"cpu": 1}}),
            s["spec"]["triggers"].append(
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}))),
        ("webhook-refuses", (), lambda _, s: (
            s["spec"]["scaleTargetRef"].update(name="elsewhere"),
            s["spec"]["triggers"].append(
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}))),
    ],
)  # fmt: skip
def test_no_false_alarm(code: str, others: tuple[Any, ...], change: Change | None) -> None:
    assert code not in codes(*others, change=change)


NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node"},
    "status": {"allocatable": {"cpu": "64", "nvidia.com/gpu": "4"}},
}


def test_a_maximum_without_gpus_is_told() -> None:
    """Four replicas of two GPUs."""
    assert "more-replicas-than-gpus" not in codes()
    assert "more-replicas-than-gpus" not in codes(gpus=8)
    assert "more-replicas-than-gpus" not in codes(NODE, {**NODE, "metadata": {"name": "other"}})
    for findings in (found(gpus=7), found(NODE)):
        (finding,) = [item for item in findings if item.code == "more-replicas-than-gpus"]
        assert "need 8" in finding.message
    assert finding.hint.startswith("maxReplicaCount: 2,")


def test_a_service_that_keeps_clients_at_one_replica_is_told() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "engine"},
        "spec": {
            "sessionAffinity": "ClientIP",
            "selector": {"app": "engine"},
            "ports": [{"port": 80}],
        },
    }
    (finding,) = found(service)
    assert (finding.code, finding.resource) == ("sticky-service", "Service engine")
    service["spec"]["selector"] = {"app": "other"}  # type: ignore[index]
    assert found(service) == []


def test_a_monitor_that_selects_other_pods_is_told() -> None:
    monitor = copy.deepcopy(MONITOR)
    monitor["spec"]["selector"]["matchLabels"]["app"] = "other"  # type: ignore[index]
    (finding,) = [f for f in found(monitor) if f.code == "monitor-selects-nothing"]
    assert "app: engine" in finding.hint
    assert finding.resource == "PodMonitor pm"


def test_the_interval_of_a_monitor_decides_about_windows() -> None:
    def tokens(_: dict[str, Any], scaled_object: dict[str, Any]) -> None:
        query = 'sum(rate(vllm:prompt_tokens_total{model_name="meta/llama"}[20s]))'
        trigger(scaled_object)["metadata"]["query"] = query

    assert "short-rate-window" in codes(change=tokens)
    assert "short-rate-window" not in codes(MONITOR, change=tokens)


def test_credentials_without_a_mode_are_told() -> None:
    def refer(_: dict[str, Any], scaled_object: dict[str, Any]) -> None:
        trigger(scaled_object)["authenticationRef"] = {"name": "prom"}

    def refer_with_mode(_: dict[str, Any], scaled_object: dict[str, Any]) -> None:
        refer(_, scaled_object)
        trigger(scaled_object)["metadata"]["authModes"] = "bearer"

    def misspelt(_: dict[str, Any], scaled_object: dict[str, Any]) -> None:
        trigger(scaled_object)["authenticationRef"] = {"name": "promm"}

    assert "authentication-without-mode" in codes(AUTHENTICATION, change=refer)
    assert codes(AUTHENTICATION, change=refer_with_mode) == set()
    (finding,) = found(AUTHENTICATION, change=misspelt)
    assert (finding.code, finding.severity) == ("missing-authentication", "warning")
    assert finding.hint == "did you mean prom?"


def test_a_second_autoscaler_of_the_same_deployment_is_told() -> None:
    shared = copy.deepcopy(AUTOSCALER)
    shared["metadata"]["annotations"] = {"validations.keda.sh/hpa-ownership": "false"}  # type: ignore[index]
    (finding,) = [f for f in found(AUTOSCALER) if f.code == "webhook-refuses"]
    assert "already managed by the hpa 'mine'" in finding.message
    assert "webhook-refuses" not in codes(shared)


def test_the_name_of_another_workloads_autoscaler_is_told() -> None:
    def named(_: dict[str, Any], scaled_object: dict[str, Any]) -> None:
        config = {"horizontalPodAutoscalerConfig": {"name": "mine"}}
        scaled_object["spec"]["advanced"] = config

    other = copy.deepcopy(AUTOSCALER)
    other["spec"]["scaleTargetRef"]["name"] = "other"  # type: ignore[index]
    assert "takes-over-autoscaler" in codes(other, change=named)
    assert "takes-over-autoscaler" not in codes(AUTOSCALER, change=named)
    assert "takes-over-autoscaler" not in codes(other)


@pytest.mark.parametrize(
    ("change", "versions", "code"),
    [
        (
            lambda _, s: s["spec"].update(
                fallback={"failureThreshold": 1, "replicas": 1, "behavior": "currentReplicas"}
            ),
            {"keda": "2.16"},
            "needs-newer-keda",
        ),
        (
            lambda _, s: s["metadata"].update(
                annotations={"autoscaling.keda.sh/paused-scale-in": "true"}
            ),
            {"keda": "2.17"},
            "needs-newer-keda",
        ),
        (
            lambda _, s: s["spec"].update(
                advanced={
                    "horizontalPodAutoscalerConfig": {
                        "behavior": {"scaleDown": {"tolerance": "0.05"}}
                    }
                }
            ),
            {"kubernetes": "1.34"},
            "needs-newer-kubernetes",
        ),
    ],
)
def test_fields_that_an_older_cluster_does_not_know(
    change: Change, versions: dict[str, str], code: str
) -> None:
    assert code in codes(change=change, **versions)
    assert code not in codes(change=change)
