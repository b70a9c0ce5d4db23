"""PodDisruptionBudget and ScaledJob are read and checked; a StatefulSet runs."""

from __future__ import annotations

from stoker.api.rendering import render

STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: llama}
spec:
  serviceName: llama
  podManagementPolicy: Parallel
  replicas: 2
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec:
      containers:
      - name: vllm
        command: [vllm, serve, m]
"""
SCALED_OBJECT = """
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: so}
spec:
  scaleTargetRef: {kind: StatefulSet, name: llama}
  triggers: [{type: cron, metadata: {timezone: UTC, start: 0 8 * * *, end: 0 9 * * *,
              desiredReplicas: "2"}}]
"""
BUDGET = """
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: llama}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: llama}}
"""
JOB = """
---
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata: {name: batch}
spec:
  jobTargetRef: {template: {spec: {containers: [{name: a}], restartPolicy: Never}}}
  scalingStrategy: {strategy: accurate}
  triggers: [{type: redis, metadata: {address: "r:6379", listName: jobs, listLength: "5"}}]
"""


def test_a_stateful_set_runs_and_is_scaled(bundle) -> None:
    (application,) = bundle(STATEFUL_SET + SCALED_OBJECT).applications

    assert (application.workload.name, application.workload.replicas) == ("llama", 2)
    assert application.scaling is not None
    assert application.scaling.target.kind == "StatefulSet"


def test_an_hpa_scales_a_stateful_set(bundle) -> None:
    hpa = """
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: own}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: llama}
  maxReplicas: 4
"""
    (application,) = bundle(STATEFUL_SET + hpa).applications

    assert application.horizontal is not None


def test_a_deployment_and_a_stateful_set_may_have_one_name(bundle) -> None:
    deployment = STATEFUL_SET.replace("StatefulSet", "Deployment")
    deployment = deployment.replace("  serviceName: llama\n  podManagementPolicy: Parallel\n", "")

    found = bundle(STATEFUL_SET + "---" + deployment + SCALED_OBJECT)

    scaled = {a.deployment.kind: a.scaling is not None for a in found.applications}
    assert scaled == {"StatefulSet": True, "Deployment": False}


def test_bystanders_are_named_and_rendered(bundle) -> None:
    found = bundle(STATEFUL_SET + BUDGET + JOB)

    assert [(item.what, item.reason) for item in found.skipped] == [
        ("PodDisruptionBudget llama", "it has no effect here: nothing evicts pods"),
        ("ScaledJob batch", "it makes Jobs, and only servers are run here"),
    ]
    kinds = [document["kind"] for document in render(found).objects]
    assert kinds == ["StatefulSet", "PodDisruptionBudget", "ScaledJob"]


def test_what_a_cluster_refuses_in_them_is_told(faults) -> None:
    wrong = STATEFUL_SET.replace("serviceName", "servicename") + BUDGET.replace(
        "maxUnavailable: 1", "maxUnavailable: 150%\n  minAvailable: 1"
    )
    wrong += JOB.replace("accurate", "fast").replace("spec:\n", "spec:\n  minReplicaCount: -1\n", 1)

    told = [message.partition(": ")[2] for message, _ in faults(wrong)]

    assert told == [
        "unknown field `servicename` in `spec`",
        '`spec.maxUnavailable` must be a number of pods or a percentage up to 100%, not "150%"',
        "`spec.minReplicaCount` must be at least 0, not -1",
        (
            "`spec.scalingStrategy.strategy` must be 'default', 'custom', 'accurate' or 'eager', "
            'not the text "fast"'
        ),
    ]


def test_limits_that_exclude_each_other_are_told(faults) -> None:
    both = BUDGET.replace("maxUnavailable: 1", "maxUnavailable: 1\n  minAvailable: 1")
    bounds = "spec:\n  minReplicaCount: 7\n  maxReplicaCount: 3\n"
    job = JOB.replace("spec:\n", bounds, 1)

    told = [message.partition(": ")[2] for message, _ in faults(STATEFUL_SET + both + job)]

    assert told == [
        "`spec.maxUnavailable` cannot stand beside minAvailable",
        "`spec.minReplicaCount` is 7, more than 3",
    ]
