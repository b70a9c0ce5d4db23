"""The ScaledObject of an InferenceService, as KServe's reconciler makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stoker.resources import Bundle
from stoker.scaling.spec import MetricType, PolicyType, ScalingPolicy, ScalingRules

from .conftest import METRIC, external, service

Load = Callable[..., Bundle]
Refused = Callable[..., list[str]]

BEHAVIOR = {
    "scaleDown": {
        "stabilizationWindowSeconds": 60,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
    }
}


def scaled(bundle: Bundle) -> dict[str, Any]:
    """The spec of the one ScaledObject."""
    (application,) = bundle.applications
    assert application.scaled_object is not None
    spec: dict[str, Any] = application.scaled_object.content["spec"]
    return spec


def test_names_and_limits_are_those_of_the_reconciler(loaded: Load) -> None:
    document = service(external(value=2), minReplicas=1, maxReplicas=5)
    (application,) = loaded(document, namespace="llm").applications
    scaling = application.scaling
    assert scaling is not None
    assert (scaling.name, scaling.target.name) == ("qwen-predictor", "qwen-predictor")
    assert scaling.hpa_name == "keda-hpa-qwen-predictor"
    assert scaling.namespace == "llm"
    assert (scaling.min_replica_count, scaling.max_replica_count) == (1, 5)
    assert scaling.labels["serving.kserve.io/inferenceservice"] == "qwen"
    assert scaling.annotations["serving.kserve.io/autoscalerClass"] == "keda"
    assert (scaling.polling_interval, scaling.cooldown_period) == (30, 300)


@pytest.mark.parametrize(
    ("predictor", "expected"),
    [
        ({}, (1, 1)),
        ({"minReplicas": 2}, (2, 2)),
        ({"minReplicas": 0, "maxReplicas": 3}, (0, 3)),
        ({"maxReplicas": 4}, (1, 4)),
    ],
)
def test_minimum_and_maximum_have_kserves_defaults(
    loaded: Load, predictor: dict[str, int], expected: tuple[int, int]
) -> None:
    spec = scaled(loaded(service(external(value=2), **predictor)))
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == expected


@pytest.mark.parametrize(
    ("target", "honoured"),
    [
        ({"value": "2"}, (MetricType.AVERAGE_VALUE, "2")),
        ({"type": "Value", "value": "2"}, (MetricType.VALUE, "2")),
        (
            {"type": "AverageValue", "value": 7, "averageValue": "500m"},
            (MetricType.AVERAGE_VALUE, "500m"),
        ),
        (
            {"type": "Utilization", "averageUtilization": 50, "value": 3},
            (MetricType.AVERAGE_VALUE, "3"),
        ),
    ],
)
def test_the_type_of_a_target_counts_unless_kserve_is_reproduced(
    loaded: Load, target: dict[str, Any], honoured: tuple[MetricType, str]
) -> None:
    for as_kserve, expected in (
        (False, honoured),
        (True, (MetricType.AVERAGE_VALUE, str(target["value"]))),
    ):
        (application,) = loaded(service(external(**target)), as_kserve=as_kserve).applications
        assert application.scaling is not None
        (trigger,) = application.scaling.triggers
        assert (trigger.metric_type, trigger.metadata["threshold"]) == expected


def test_windows_come_from_kserves_configuration(loaded: Load) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config"},
        "data": {"autoscaler": '{"scaleDownStabilizationWindowSeconds": "120"}'},
    }
    document = service(external(value=2))
    for documents, window in (((document,), 300), ((document, config), 120)):
        behavior = scaled(loaded(*documents))["advanced"]["horizontalPodAutoscalerConfig"]
        assert behavior == {
            "behavior": {
                "scaleDown": {"stabilizationWindowSeconds": window},
                "scaleUp": {"stabilizationWindowSeconds": 0},
            }
        }


def scale_down(bundle: Bundle) -> ScalingRules:
    """What slows the way down."""
    (application,) = bundle.applications
    assert application.scaling is not None
    assert application.scaling.behavior is not None
    return application.scaling.behavior.scale_down


def test_policies_count_unless_kserve_is_reproduced(loaded: Load) -> None:
    document = service(external(value=2), behavior=BEHAVIOR)
    honoured = scale_down(loaded(document))
    kserves = scale_down(loaded(document, as_kserve=True))
    assert honoured.policies == (ScalingPolicy(PolicyType.PODS, 1, 30),)
    assert kserves.policies == (ScalingPolicy(PolicyType.PERCENT, 100, 15),)
    assert honoured.stabilization_window_seconds == 60
    assert kserves.stabilization_window_seconds == 60


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("cpu", {"type": "Utilization", "averageUtilization": 60}, ("Utilization", "60")),
        ("memory", {"type": "AverageValue", "averageValue": "2Gi"}, ("AverageValue", "2Gi")),
        ("memory", {"type": "Utilization", "averageUtilization": 70}, ("Utilization", "70")),
    ],
)
def test_resources_are_triggers_of_their_own_type(
    loaded: Load, name: str, target: dict[str, Any], expected: tuple[str, str]
) -> None:
    metric = {"type": "Resource", "resource": {"name": name, "target": target}}
    (trigger,) = scaled(loaded(service(metric)))["triggers"]
    metric_type, value = expected
    assert trigger == {"type": name, "metricType": metric_type, "metadata": {"value": value}}


def test_authentication_and_namespace_reach_the_trigger(loaded: Load) -> None:
    metric = external(value=2)
    metric["external"]["metric"] = METRIC | {"namespace": "tenant"}
    metric["external"]["authenticationRef"] = {
        "authModes": "bearer",
        "authenticationRef": {"name": "prometheus-auth"},
    }
    (trigger,) = scaled(loaded(service(metric)))["triggers"]
    assert trigger["metadata"]["namespace"] == "tenant"
    assert trigger["metadata"]["authModes"] == "bearer"
    assert trigger["authenticationRef"] == {"name": "prometheus-auth"}


def pod_metric(**metric: Any) -> dict[str, Any]:
    """A metric that collectors push."""
    names = {"backend": "opentelemetry", "metricNames": ["vllm:num_requests_running"]}
    query = {"query": "vllm:num_requests_running"}
    target = {"type": "Value", "value": "4"}
    return {"type": "PodMetric", "podmetric": {"metric": names | query | metric, "target": target}}


def test_a_metric_of_pods_asks_the_add_on_and_brings_a_collector(loaded: Load) -> None:
    bundle = loaded(service(pod_metric(operationOverTime="avg")), as_kserve=True)
    (trigger,) = scaled(bundle)["triggers"]
    assert trigger == {
        "type": "external",
        "metadata": {
            "scalerAddress": "keda-otel-scaler.keda.svc:4318",
            "metricQuery": (
                'sum(vllm:num_requests_running{namespace="default", deployment="qwen-predictor"})'
            ),
            "targetValue": "4",
            "operationOverTime": "avg",
        },
    }
    (collector,) = [one for one in bundle.objects if one.kind == "OpenTelemetryCollector"]
    config = collector.content["spec"]["config"]
    (scrape,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert scrape["scrape_interval"] == "5s"
    assert scrape["static_configs"] == [{"targets": ["localhost:8080"]}]
    include = config["processors"]["filter/metrics"]["metrics"]["include"]
    assert include["metric_names"] == ["vllm:num_requests_running"]
    assert config["exporters"]["otlp"]["endpoint"] == "keda-otel-scaler.keda.svc:4317"


def test_an_address_of_its_own_replaces_the_add_on(loaded: Load) -> None:
    (trigger,) = scaled(loaded(service(pod_metric(serverAddress="scaler:1"))))["triggers"]
    assert trigger["metadata"]["scalerAddress"] == "scaler:1"


def test_places_are_those_of_the_service(loaded: Load) -> None:
    bundle = loaded(service(external(value=2), maxReplicas=5))
    (application,) = bundle.applications
    origin = application.scaled_object.origin  # type: ignore[union-attr]
    query = ("spec", "triggers", 0, "metadata", "query")
    assert origin.name(query) == "spec.predictor.autoScaling.metrics[0].external.metric.query"
    assert origin.exists(query)
    assert origin.exists(("spec", "maxReplicaCount"))
    assert not origin.exists(("spec", "minReplicaCount"))
    assert not origin.exists(("spec", "cooldownPeriod"))
    assert origin.place(("spec", "cooldownPeriod")).line == origin.place(("spec", "fallback")).line


def test_the_keda_block_of_later_samples_reaches_the_scaled_object(loaded: Load) -> None:
    document = service({**external(value=2), "name": "requests"}, minReplicas=1, maxReplicas=3)
    document["spec"]["predictor"]["autoScaling"]["keda"] = {
        "pollingInterval": 15,
        "idleReplicaCount": 0,
        "fallback": {"failureThreshold": 3, "replicas": 2},
        "advanced": {"restoreToOriginalReplicaCount": True},
    }
    bundle = loaded(document)
    spec = scaled(bundle)
    assert (spec["pollingInterval"], spec["idleReplicaCount"]) == (15, 0)
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2}
    assert spec["advanced"]["restoreToOriginalReplicaCount"] is True
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"] == {"stabilizationWindowSeconds": 300}
    assert spec["triggers"][0]["name"] == "requests"
    origin = bundle.applications[0].scaled_object.origin  # type: ignore[union-attr]
    name = "spec.predictor.autoScaling.keda.fallback.replicas"
    assert origin.name(("spec", "fallback", "replicas")) == name
    assert origin.exists(("spec", "pollingInterval"))
    assert not origin.exists(("spec", "cooldownPeriod"))


def test_what_is_wrong_in_the_keda_block_has_its_place(refused: Refused) -> None:
    document = service(external(value=2), maxReplicas=3)
    document["spec"]["predictor"]["autoScaling"]["keda"] = {"fallback": {"replicas": 2}}
    (message,) = refused(document)
    assert message == "`spec.predictor.autoScaling.keda.fallback.failureThreshold` is required"
