"""Rules that hold the autoscaler against what it scales: starts, ends, GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stoker.checks.base import Finding, Severity, Subject
from stoker.resources.document import Manifest
from stoker.resources.workload import Probe, Workload
from stoker.scaling.spec import MetricType

# vLLM 0.32 with an 8B model on one GPU needs 60 to 120 s from its image on the disk to /health.
_USUAL_START = 120.0  # seconds
_POD = ("spec", "template", "spec")


def _workload(subject: Subject) -> Workload | None:
    return subject.application.workload if subject.application else None


def maximum_by_omission(subject: Subject) -> Iterator[Finding]:
    """``maxReplicaCount`` left out, which is 100."""
    if subject.scaling.max_replica_count is not None:
        return
    workload = _workload(subject)
    gpus = workload.gpus if workload else 0
    total = f": {100 * gpus} GPUs" if gpus else ""
    text = (
        "maxReplicaCount is left out, and KEDA's default is 100",
        f"A metric that misbehaves takes it to 100 replicas{total}",
        "maxReplicaCount: as many as there are GPUs for",
    )
    place = subject.manifest.place("spec", key=True)
    severity = Severity.WARNING if gpus else Severity.INFO
    yield subject.finding("maximum-by-omission", severity, text, place)


def more_replicas_than_gpus(subject: Subject) -> Iterator[Finding]:
    """A maximum that the cluster has no GPUs for."""
    workload = _workload(subject)
    available, source = _gpus(subject)
    if workload is None or workload.gpus == 0 or available is None:
        return
    most = subject.scaling.max_replicas
    if most * workload.gpus <= available:
        return
    text = (
        f"{most} replicas of {workload.gpus} GPUs need {most * workload.gpus}{source} {available}",
        (
            f"From replica {available // workload.gpus + 1} on pods stay Pending. The HPA counts "
            "them as replicas: it waits for them, and asks for no more"
        ),
        f"maxReplicaCount: {max(available // workload.gpus, 1)}, or nodes with more GPUs",
    )
    place = subject.place("maxReplicaCount", key=not subject.is_written("maxReplicaCount"))
    yield subject.finding("more-replicas-than-gpus", Severity.WARNING, text, place)


def _gpus(subject: Subject) -> tuple[int | None, str]:
    """How many GPUs there are: as the user says, or the Node objects in the files."""
    if subject.versions.gpus is not None:
        return subject.versions.gpus, ", and the cluster has"
    workload = _workload(subject)
    nodes = [item for item in subject.bundle.objects if item.kind == "Node"]
    if workload is None or not nodes:
        return None, ""
    resource = workload.gpu_resource
    listed = [str(_at(node, "status", "allocatable").get(resource, "0")) for node in nodes]
    total = sum(int(text) for text in listed if text.isdecimal())
    return total, ", and the nodes in the files have"


def no_readiness_probe(subject: Subject) -> Iterator[Finding]:
    """Requests go to an engine that is still loading its model."""
    workload, application = _workload(subject), subject.application
    if workload is None or application is None or workload.readiness_probe is not None:
        return
    if application.from_chart or application.translation:
        return  # the chart or the controller has one of its own
    text = (
        "the container has no readinessProbe",
        (
            "A pod counts as ready as soon as its process runs: requests go to an engine that is "
            "still loading its model, and the HPA takes it for a replica at work"
        ),
        "readinessProbe: {httpGet: {path: /health, port: 8000}}",
    )
    place = application.deployment.place("spec", "template", "spec", "containers", 0)
    yield subject.finding("no-readiness-probe", Severity.WARNING, text, place)


def start_longer_than_probes(subject: Subject) -> Iterator[Finding]:
    """Probes that kill an engine while it loads its model."""
    workload = _workload(subject)
    if workload is None or workload.gpus == 0:
        return
    startup, liveness = workload.startup_probe, workload.liveness_probe
    if startup is not None:
        budget, name = _budget(startup), "startupProbe"
    elif liveness is not None:
        budget, name = _budget(liveness), "livenessProbe"
    else:
        return
    if budget >= _USUAL_START:
        return
    text = (
        f"{name} gives the engine {budget:g} s to start",
        (
            "Then the container is killed and begins again, for ever: a model of 8B parameters "
            f"needs 60 to {_USUAL_START:g} s, a larger one minutes. Nothing is ever ready, and the "
            "autoscaler adds more of the same"
        ),
        "startupProbe with initialDelaySeconds + periodSeconds x failureThreshold of 600 or more",
    )
    deployment = subject.deployment
    place = deployment.place() if deployment else subject.place()
    yield subject.finding("start-longer-than-probes", Severity.WARNING, text, place)


def _budget(probe: Probe) -> float:
    """Seconds from the start of the container until it is killed."""
    return probe.initial_delay + probe.period * probe.failure_threshold


def shutdown_longer_than_grace(subject: Subject) -> Iterator[Finding]:
    """VLLM may take longer to end than Kubernetes lets it."""
    workload = _workload(subject)
    if workload is None:
        return
    seconds = _option(workload, "--shutdown-timeout")
    if seconds is None or seconds < workload.termination_grace_period:
        return
    text = (
        (
            f"--shutdown-timeout {seconds:g} is not shorter than terminationGracePeriodSeconds "
            f"{workload.termination_grace_period:g}"
        ),
        "Kubernetes kills the container while vLLM is still finishing answers: they are cut",
        f"terminationGracePeriodSeconds: {seconds + 10:g}",
    )
    deployment = subject.deployment
    place = deployment.place() if deployment else subject.place()
    yield subject.finding("shutdown-longer-than-grace", Severity.WARNING, text, place)


def _option(workload: Workload, name: str) -> float | None:
    """The number behind a flag of the command line."""
    words = " ".join(workload.command)
    found = re.search(rf"(?:^|\s){re.escape(name)}[ =](\d+(?:\.\d+)?)(?=\s|$)", words)
    return float(found[1]) if found else None


def surge_needs_gpus(subject: Subject) -> Iterator[Finding]:
    """A rolling update that needs GPUs which nobody has."""
    workload, deployment = _workload(subject), subject.deployment
    if workload is None or deployment is None or workload.gpus == 0:
        return
    application = subject.application
    if application is not None and (application.from_chart or application.translation):
        return  # the Deployment is made by a controller or a chart
    strategy = _at(deployment, "spec", "strategy")
    if strategy.get("type") == "Recreate":
        return
    surge = _at(deployment, "spec", "strategy", "rollingUpdate").get("maxSurge", "25%")
    if surge in {0, "0", "0%"}:
        return
    text = (
        f"an update starts more replicas (maxSurge {surge}) before it ends others",
        (
            f"Each takes {workload.gpus} of the GPUs. Where none is free the new pod "
            "stays Pending, and the update with it; the HPA counts it as a replica meanwhile"
        ),
        "strategy.rollingUpdate: {maxSurge: 0, maxUnavailable: 1}, or keep GPUs free for it",
    )
    place = deployment.place("spec", "strategy", key=True)
    yield subject.finding("surge-needs-gpus", Severity.INFO, text, place)


def no_disruption_budget(subject: Subject) -> Iterator[Finding]:
    """Nothing keeps a drain of nodes from taking every replica at once."""
    workload = _workload(subject)
    if workload is None or workload.gpus == 0 or subject.scaling.min_replicas < 2:
        return
    budgets = [item for item in subject.bundle.objects if item.kind == "PodDisruptionBudget"]
    if any(_covers(budget, workload) for budget in budgets):
        return
    if subject.application is not None and subject.application.from_chart:
        return  # the chart makes one of its own
    text = (
        "no PodDisruptionBudget covers these pods",
        (
            "A drain of nodes may end all replicas at once, each of which needs minutes to start "
            "again; the autoscaler sees it only afterwards"
        ),
        "a PodDisruptionBudget with maxUnavailable: 1 and the labels of the pods",
    )
    deployment = subject.deployment
    place = deployment.place() if deployment else subject.place()
    yield subject.finding("no-disruption-budget", Severity.INFO, text, place)


def _covers(budget: Manifest, workload: Workload) -> bool:
    labels = _at(budget, "spec", "selector", "matchLabels")
    return all(workload.pod_labels.get(key) == value for key, value in labels.items())


def value_while_starting(subject: Subject) -> Iterator[Finding]:
    """``metricType: Value`` multiplies at every sync, while new replicas are still starting."""
    if not any(t.metric_type is MetricType.VALUE for t in subject.scaling.triggers):
        return
    behavior = subject.scaling.behavior
    is_limited = behavior is not None and any(
        policy.type == "Pods" or policy.value < 100 for policy in behavior.scale_up.policies
    )
    has_own = subject.is_written(
        "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleUp", "policies"
    )
    if is_limited and has_own:
        return
    text = (
        "metricType Value without a scaleUp policy of its own",
        (
            "Value multiplies the ready replicas by value / threshold at every sync. While new "
            "ones start the value stays as it is: 1, 2, 4, 8 in 45 s, seen with 0.9 of 0.5"
        ),
        (
            "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.policies: "
            "[{type: Pods, value: 1, periodSeconds: 120}], as long as a start takes"
        ),
    )
    index = next(t.index for t in subject.scaling.triggers if t.metric_type is MetricType.VALUE)
    place = subject.place("triggers", index, "metricType")
    yield subject.finding("value-while-starting", Severity.WARNING, text, place)


def zero_before_started(subject: Subject) -> Iterator[Finding]:
    """An explicit ``minReplicaCount: 0`` without an initial cooldown."""
    scaling = subject.scaling
    if scaling.min_replica_count != 0 or scaling.initial_cooldown_period:
        return
    text = (
        "without initialCooldownPeriod it goes to zero at the first poll",
        (
            "About 1 s after the object is created, unless there is traffic at that moment: "
            "cooldownPeriod counts from the last activity, and there was none"
        ),
        "initialCooldownPeriod: longer than a start, if the first replica should stay up",
    )
    place = subject.place("minReplicaCount")
    yield subject.finding("zero-before-started", Severity.INFO, text, place)


def _at(manifest: Manifest, *path: str) -> Mapping[str, Any]:
    """A mapping inside *manifest*, empty where there is none."""
    value: Any = manifest.content
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
