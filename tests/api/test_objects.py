from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.api.objects import horizontal_pod_autoscaler, scaled_object
from stoker.api.quantities import binary_quantity, quantity
from stoker.api.views import (
    ConditionView,
    DeploymentView,
    HpaView,
    MetricView,
    ScaledObjectView,
    TriggerHealth,
)
from stoker.api.workloads import deployment, event, pod
from stoker.events import Event, ObjectRef
from stoker.resources.workload import Workload
from stoker.scaling.annotations import PAUSED_SCALE_IN
from stoker.scaling.spec import (
    Behavior,
    Fallback,
    MetricType,
    ScalingModifiers,
    ScalingRules,
    SelectPolicy,
    TriggerSpec,
)
from stoker.targets.base import Pod
from stoker.ui.columns import metric_pairs

T0 = 1_795_363_394.0  # 2026-11-22T16:03:14Z


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (4, "4"),
        (3.5, "3500m"),
        (0.0001, "1m"),
        (12000, "12k"),
        (1500, "1500"),
        (1e6, "1M"),
        (-2.5, "-2500m"),
        (0.3 + 0.6, "900m"),
        (8_406_825.935, "8406825935m"),
    ],
)
def test_quantities_are_canonical(value, text):
    assert quantity(value) == text


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_a_quantity_in_thousandths_can_be_read_back(milli):
    text = quantity(milli / 1000)
    factors = {"m": 1, "k": 10**6, "M": 10**9, "G": 10**12, "T": 10**15}
    number, factor = (text[:-1], factors[text[-1]]) if text[-1] in factors else (text, 1000)
    assert int(number) * factor == milli


def test_a_scaled_object_has_the_fields_that_the_api_server_stores(a_spec):
    view = ScaledObjectView(
        a_spec(
            min_replica_count=0,
            max_replica_count=5,
            polling_interval=5.0,
            fallback=Fallback(2, 3),
            triggers=(
                TriggerSpec(0, "prometheus", {"threshold": "5", "query": "up"}, name="queue"),
                TriggerSpec(1, "cron", {}, authentication_ref="prom-auth"),
            ),
            modifiers=ScalingModifiers("queue * 2", 5.0, metric_type=MetricType.VALUE),
        ),
        T0,
        conditions=(
            ConditionView("Ready", "True", "ScaledObjectReady", "is ready"),
            ConditionView("Active", "Unknown"),
            ConditionView("HPAActive", "True", "HPAActive"),
        ),
        external_metric_names=("s0-prometheus",),
        last_active=T0 + 1,
        health={"s0-prometheus": TriggerHealth(9, "Failing")},
        activity={"s0-prometheus": True},
        original_replicas=1,
    )
    found = scaled_object(view)
    assert found["metadata"]["creationTimestamp"] == "2026-11-22T16:03:14Z"
    assert found["metadata"]["labels"] == {"scaledobject.keda.sh/name": "llama"}
    assert found["spec"] == {
        "advanced": {
            "scalingModifiers": {"formula": "queue * 2", "metricType": "Value", "target": "5"}
        },
        "cooldownPeriod": 300,
        "fallback": {"behavior": "static", "failureThreshold": 2, "replicas": 3},
        "maxReplicaCount": 5,
        "minReplicaCount": 0,
        "pollingInterval": 5,
        "scaleTargetRef": {"name": "llama"},
        "triggers": [
            {
                "metadata": {"query": "up", "threshold": "5"},
                "name": "queue",
                "type": "prometheus",
            },
            {"authenticationRef": {"name": "prom-auth"}, "metadata": {}, "type": "cron"},
        ],
    }
    assert found["status"] == {
        "authenticationsTypes": "prom-auth",
        "compositeScalerName": "composite-metric",
        "conditions": [
            {
                "message": "is ready",
                "reason": "ScaledObjectReady",
                "status": "True",
                "type": "Ready",
            },
            {"status": "Unknown", "type": "Active"},
            {"reason": "HPAActive", "status": "True", "type": "HPAActive"},
        ],
        "externalMetricNames": ["s0-prometheus"],
        "health": {"s0-prometheus": {"numberOfFailures": 9, "status": "Failing"}},
        "hpaName": "keda-hpa-llama",
        "lastActiveTime": "2026-11-22T16:03:15Z",
        "originalReplicaCount": 1,
        "scaleTargetGVKR": {
            "group": "apps",
            "kind": "Deployment",
            "resource": "deployments",
            "version": "v1",
        },
        "scaleTargetKind": "apps/v1.Deployment",
        "triggersActivity": {"s0-prometheus": {"isActive": True}},
        "triggersTypes": "prometheus,cron",
    }


def test_what_the_user_left_out_is_not_in_the_object(a_spec):
    spec = scaled_object(ScaledObjectView(a_spec(), T0))["spec"]
    assert "minReplicaCount" not in spec
    assert "maxReplicaCount" not in spec
    assert "advanced" not in spec


def test_annotations_given_at_run_time_take_the_place_of_those_in_the_file(a_spec):
    spec = a_spec(annotations={"a": "1"})
    assert scaled_object(ScaledObjectView(spec, T0))["metadata"]["annotations"] == {"a": "1"}
    changed = ScaledObjectView(spec, T0, annotations={"b": "2"})
    assert scaled_object(changed)["metadata"]["annotations"] == {"b": "2"}


def test_an_hpa_is_what_keda_makes_of_the_scaled_object(a_spec):
    metric = MetricView("s0-prometheus", 5.0, current=3.5)
    view = HpaView(
        a_spec(min_replica_count=0, max_replica_count=5), T0, (metric,), current_replicas=2
    )
    found = horizontal_pod_autoscaler(view)
    named = {
        "name": "s0-prometheus",
        "selector": {"matchLabels": {"scaledobject.keda.sh/name": "llama"}},
    }
    assert found["metadata"]["name"] == "keda-hpa-llama"
    assert found["spec"] == {
        "maxReplicas": 5,
        "metrics": [
            {
                "external": {
                    "metric": named,
                    "target": {"averageValue": "5", "type": "AverageValue"},
                },
                "type": "External",
            }
        ],
        "minReplicas": 1,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
    }
    current = {"external": {"current": {"averageValue": "3500m"}, "metric": named}}
    assert found["status"] == {
        "currentMetrics": [current | {"type": "External"}],
        "currentReplicas": 2,
        "desiredReplicas": 0,
    }


def test_an_hpa_without_answers_has_null_for_its_metrics(a_spec):
    found = horizontal_pod_autoscaler(HpaView(a_spec(), T0, (MetricView("s0", 5.0),)))
    assert found["status"] == {"currentMetrics": None, "desiredReplicas": 0}


def test_behavior_and_a_paused_direction_stand_in_the_hpa(a_spec):
    down = ScalingRules(30, SelectPolicy.MAX, ())
    spec = a_spec(behavior=Behavior(scale_down=down), annotations={PAUSED_SCALE_IN: "true"})
    behavior = horizontal_pod_autoscaler(HpaView(spec, T0, ()))["spec"]["behavior"]
    assert behavior["scaleDown"] == {
        "policies": [],
        "selectPolicy": "Disabled",
        "stabilizationWindowSeconds": 30,
    }
    assert behavior["scaleUp"]["policies"][0] == {"periodSeconds": 15, "type": "Pods", "value": 4}


WORKLOAD = Workload("d", "default", "llama", ("vllm", "serve", "m"), gpus=2)


def a_pod(name, **fields):
    return Pod(f"d-1-{name}", "d", "default", T0, **({"phase": "Running"} | fields))


def test_a_deployment_counts_pods_that_stay():
    pods = (
        a_pod("a", ready=True, started_at=T0),
        a_pod("b", started_at=T0),
        a_pod("c", ready=True, terminating=True),
        a_pod("d", phase="Failed"),
    )
    found = deployment(DeploymentView(WORKLOAD, T0, 3, pods))
    status = {key: value for key, value in found["status"].items() if key != "conditions"}
    assert status == {
        "availableReplicas": 1,
        "readyReplicas": 1,
        "replicas": 2,
        "unavailableReplicas": 2,
        "updatedReplicas": 2,
    }
    conditions = {c["type"]: (c["status"], c["reason"]) for c in found["status"]["conditions"]}
    assert conditions == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }


def test_gpus_are_limits_of_the_container():
    found = deployment(DeploymentView(WORKLOAD, T0, 1))
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"started_at": T0}, {"running": {"startedAt": "2026-11-22T16:03:14Z"}}),
        ({"phase": "Pending"}, {"waiting": {"reason": "ContainerCreating", "message": ""}}),
        (
            {"reason": "CrashLoopBackOff", "message": "back-off 10s"},
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        ),
        ({"phase": "Failed"}, {"terminated": {"reason": "Error", "message": ""}}),
    ],
    ids=["running", "starting", "crashing", "failed"],
)
def test_a_pod_tells_the_state_of_its_container(fields, state):
    found = pod(a_pod("a", **fields), WORKLOAD)
    assert found["status"]["containerStatuses"][0]["state"] == state


def test_a_pod_without_a_gpu_has_no_container_yet():
    found = pod(a_pod("a", phase="Pending", message="Insufficient nvidia.com/gpu"), WORKLOAD)
    assert "containerStatuses" not in found["status"]
    assert found["spec"]["nodeName"] == ""


def test_an_event_that_comes_again_keeps_its_name_and_uid():
    about = ObjectRef("ScaledObject", "llama")
    first = Event("Normal", "Ready", "is ready", about, "keda-operator", T0, T0)
    again = Event("Normal", "Ready", "is ready", about, "keda-operator", T0, T0 + 60, 2)
    one, two = event(first), event(again)
    assert one["metadata"] == two["metadata"]
    assert (two["count"], two["lastTimestamp"]) == (2, "2026-11-22T16:04:14Z")
    assert two["involvedObject"]["apiVersion"] == "keda.sh/v1alpha1"


def test_two_events_of_the_same_moment_differ_in_their_uid():
    about = ObjectRef("ScaledObject", "llama")
    uids = {
        event(Event("Normal", "Ready", message, about, "k", T0, T0))["metadata"]["uid"]
        for message in ("one", "two")
    }
    assert len(uids) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(104857600, "100Mi"), (1073741824, "1Gi"), (1500, "1500"), (1536, "1536"), (5, "5")],
)
def test_memory_is_shown_as_it_is_written(value, text):
    assert binary_quantity(value) == text


def test_cpu_and_memory_are_resource_metrics(a_spec):
    cpu = MetricView("cpu", 50, MetricType.UTILIZATION, current=0.012, utilization=12)
    memory = MetricView("memory", 104857600, current=33143808)
    hpa = horizontal_pod_autoscaler(HpaView(a_spec(), 0.0, (cpu, memory)))
    assert hpa["spec"]["metrics"] == [
        {
            "resource": {
                "name": "cpu",
                "target": {"averageUtilization": 50, "type": "Utilization"},
            },
            "type": "Resource",
        },
        {
            "resource": {
                "name": "memory",
                "target": {"averageValue": "100Mi", "type": "AverageValue"},
            },
            "type": "Resource",
        },
    ]
    assert metric_pairs(hpa) == [("cpu: 12%", "50%"), ("memory: 33143808", "100Mi")]
    unread = HpaView(a_spec(), 0.0, (MetricView("cpu", 50, MetricType.UTILIZATION),))
    assert metric_pairs(horizontal_pod_autoscaler(unread)) == [("cpu: <unknown>", "50%")]
