"""Rules about the number of replicas: zero, idle, cooldown, and who owns the number."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.checks import metrics
from stoker.checks.base import Finding, Severity, Subject
from stoker.checks.edits import Edit
from stoker.checks.selecting import selected_by
from stoker.checks.shapes import metric_name, selectors


def scale_to_zero_by_omission(subject: Subject) -> Iterator[Finding]:
    """``minReplicaCount`` left out, which is 0."""
    if subject.scaling.min_replica_count is not None:
        return
    wait = subject.scaling.initial_cooldown_period
    when = f"{wait:g} s" if wait else "about 1 s"
    text = (
        "minReplicaCount is left out, and KEDA's default is 0",
        (
            f"Without traffic it goes to zero {when} after it is created, before an engine has "
            "started: cooldownPeriod only counts from the last activity"
        ),
        "minReplicaCount: 1, or an explicit 0 with an initialCooldownPeriod",
    )
    place = subject.manifest.place("spec", key=True)
    yield subject.finding("scale-to-zero-by-omission", Severity.WARNING, text, place)


def no_wake_from_zero(subject: Subject) -> Iterator[Finding]:
    """Only metrics that engines export, of which there are none at zero."""
    if not subject.scales_to_zero or subject.scaling.modifiers is not None:
        return
    for query in subject.queries:
        names = {metric_name(item) for item in selectors(query.tree)} if query.tree else {None}
        engine = {item.name for item in selected_by(query) if item.metric in metrics.ENGINE}
        if names != engine:
            return
    if len(subject.queries) < len(subject.scaling.triggers):
        return  # another kind of trigger may wake it
    text = (
        "nothing wakes the model from zero",
        (
            "Every trigger asks for a metric of the engines. At zero replicas there is none, the "
            "result is empty, which counts as 0, and the model stays away for ever"
        ),
        "add a trigger on vllm:num_incoming_requests_total, which the router counts",
    )
    place = subject.place("minReplicaCount", key=True)
    yield subject.finding("no-wake-from-zero", Severity.ERROR, text, place)


def cooldown_without_zero(subject: Subject) -> Iterator[Finding]:
    """``cooldownPeriod`` where nothing ever goes to zero."""
    if subject.scales_to_zero or not subject.is_written("cooldownPeriod"):
        return
    seconds = subject.scaling.cooldown_period
    text = (
        f"cooldownPeriod {seconds:g} has no effect",
        (
            "It only delays the step to zero (or to idleReplicaCount), and minReplicaCount is "
            f"{subject.scaling.min_replicas}. Going down to it is the HPA's business: 300 s after "
            "the load has gone, whatever cooldownPeriod says"
        ),
        (
            "advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds: "
            f"{seconds:g}"
        ),
    )
    place = subject.place("cooldownPeriod", key=True)
    edits = subject.edit("cooldownPeriod")
    yield subject.finding("cooldown-without-zero", Severity.WARNING, text, place, edits)


def cooldown_skips_window(subject: Subject) -> Iterator[Finding]:
    """A cooldown shorter than the HPA's window: zero comes first."""
    scaling = subject.scaling
    rules = scaling.behavior.scale_down if scaling.behavior else None
    window = rules.stabilization_window_seconds if rules else None
    window = 300 if window is None else window
    if not subject.scales_to_zero or scaling.cooldown_period >= window:
        return
    text = (
        f"the cooldown of {scaling.cooldown_period:g} s ends before the window of {window} s",
        (
            "KEDA goes from any number of replicas to zero in one step, past the HPA's "
            "stabilizationWindowSeconds and policies"
        ),
        f"cooldownPeriod: {window}",
    )
    place = subject.place("cooldownPeriod", key=True)
    yield subject.finding("cooldown-skips-window", Severity.INFO, text, place)


def idle_not_zero(subject: Subject) -> Iterator[Finding]:
    """An ``idleReplicaCount`` above 0."""
    idle = subject.scaling.idle_replica_count
    if not idle:
        return
    least = subject.scaling.min_replicas
    text = (
        f"idleReplicaCount {idle} flaps: only 0 works",
        (
            f"KEDA goes to {idle}, the HPA puts minReplicaCount {least} back at its next sync: 31 "
            "changes in 325 s without any load"
        ),
        "idleReplicaCount: 0, or leave it out",
    )
    place = subject.place("idleReplicaCount")
    yield subject.finding("idle-not-zero", Severity.ERROR, text, place)


def replica_count_ignored(subject: Subject) -> Iterator[Finding]:
    """A fixed number of replicas beside an autoscaler."""
    deployment = subject.deployment
    if deployment is None or not deployment.origin.exists(("spec", "replicas")):
        return
    if subject.application is not None and subject.application.from_chart:
        severity, message = Severity.INFO, "replicaCount is ignored: KEDA owns the number"
        why = "The chart leaves spec.replicas out of the Deployment when keda.enabled is true"
    else:
        severity, message = Severity.WARNING, "spec.replicas is set beside an autoscaler"
        why = "Every `kubectl apply` of the Deployment puts that number back until the next sync"
    text = (message, why, "leave it out")
    place = deployment.place("spec", "replicas", key=True)
    origin = deployment.origin
    edits = (Edit(origin.document, origin.written(("spec", "replicas"))),)
    yield subject.finding("replica-count-ignored", severity, text, place, edits)


def no_termination_grace(subject: Subject) -> Iterator[Finding]:
    """Thirty seconds to finish answers at scale-down."""
    application = subject.application
    if application is None:
        return
    origin = application.deployment.origin
    path = ("spec", "template", "spec", "terminationGracePeriodSeconds")
    if not application.from_chart and origin.exists(path):
        return
    option = "--shutdown-timeout"
    if any(word.startswith(option) for word in application.workload.command):
        return
    how = (
        "vllmConfig.extraArgs: [--shutdown-timeout, '25']; the chart cannot set the grace period"
        if application.from_chart
        else "terminationGracePeriodSeconds: 300, and --shutdown-timeout a little shorter"
    )
    text = (
        "answers in progress are cut at scale-down",
        (
            "vLLM stops at once on SIGTERM unless --shutdown-timeout is given, and the pod is "
            f"killed after {application.workload.termination_grace_period:g} s"
        ),
        how,
    )
    place = application.deployment.place()
    yield subject.finding("no-termination-grace", Severity.INFO, text, place)
