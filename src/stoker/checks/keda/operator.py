"""What KEDA's operator makes of a ScaledObject: an HPA, or Ready=False and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from stoker.checks.keda.cluster import Cluster
from stoker.checks.keda.view import LONGEST_NAME, View
from stoker.errors import InputError
from stoker.resources.admission import Admission, admit
from stoker.resources.admission.apiserver import INVALID
from stoker.scaling import annotations as names
from stoker.scaling.spec import RESOURCE_TRIGGERS, TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.registry import SUPPORTED, build_trigger


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Every `type` of KEDA 2.20, whether Stoker can read it or not.
TYPES: Final = _names("""
    activemq apache-kafka arangodb artemis-queue aws-cloudwatch aws-dynamodb aws-dynamodb-streams
    aws-kinesis-stream aws-sqs-queue azure-app-insights azure-blob azure-data-explorer
    azure-eventhub azure-log-analytics azure-monitor azure-pipelines azure-queue azure-servicebus
    beanstalkd cassandra couchdb cpu cron datadog dynatrace elasticsearch elastic-forecast etcd
    external external-push forgejo-runner gcp-cloudtasks gcp-pubsub gcp-stackdriver gcp-storage
    github-runner graphite huawei-cloudeye ibmmq influxdb kafka kubernetes-resource
    kubernetes-workload liiklus loki memory metrics-api mongodb mssql mysql nats-jetstream new-relic
    nsq openstack-metric openstack-swift opensearch postgresql predictkube prometheus pulsar
    rabbitmq redis redis-cluster redis-cluster-streams redis-sentinel redis-sentinel-streams
    redis-streams selenium-grid solace-direct-messaging solace-event-queue solarwinds solr splunk
    splunk-observability stan sumologic temporal
""")


@dataclass(frozen=True, slots=True)
class Readiness:
    """The condition Ready of a ScaledObject."""

    status: str  # True, False, Unknown
    reason: str
    message: str = ""


_READY = Readiness("True", "ScaledObjectReady")
_PAUSED = Readiness("True", "ScaledObjectReady", "ScaledObject is paused")


class Source(Enum):
    """How the source of a trigger behaves."""

    ANSWERS = auto()
    FAILS = auto()  # at every poll
    HAS_NO_METRICS = auto()  # an external scaler that is not there
    CANNOT_BE_BUILT = auto()  # the scaler asks it once when it is built


Sources = Callable[[TriggerSpec], Source]


def readiness(stored: Mapping[str, Any], cluster: Cluster, sources: Sources) -> Readiness:
    """The condition Ready a few polls after a ScaledObject was created past the webhook."""
    view = View(stored)
    failure = next(_failures(view, cluster, sources), None)
    if failure is not None:
        return Readiness("False", "ScaledObjectCheckFailed", failure)
    if view.is_paused:
        return _PAUSED
    polled = [t for t in view.trigger_specs() if t.type not in RESOURCE_TRIGGERS]
    failing = [trigger for trigger in polled if sources(trigger) is not Source.ANSWERS]
    if not failing or view.spec.get("fallback") is not None:
        return _READY  # a configured fallback hides what fails
    if len(failing) < len(view.triggers):
        return Readiness("Unknown", "PartialTriggerError")
    return Readiness("False", "TriggerError")


def _failures(view: View, cluster: Cluster, sources: Sources) -> Iterator[str]:
    """What keeps the operator from making an HPA, in its order."""
    if view.is_paused:
        yield from _pause_failures(view, cluster)
        return
    if len(view.name) > LONGEST_NAME:
        yield "failed to update ScaledObject with scaledObjectName label"
    target = view.target
    if (target.api_version, target.kind.lower()) not in cluster.kinds:
        message = f'no matches for kind "{target.kind}" in version "{target.api_version}"'
        yield f"ScaledObject doesn't have correct scaleTargetRef specification: {message}"
    containers = cluster.targets.get((target.kind.lower(), target.name))
    if containers is None:
        message = f'{target.kind.lower()}s "{target.name}" not found'
        yield f"ScaledObject doesn't have correct scaleTargetRef specification: {message}"
    yield from view.replica_refusals()
    yield from view.trigger_refusals()
    source = view.spec["scaleTargetRef"].get("envSourceContainerName")
    if source and source not in {container.name for container in containers or ()}:
        yield f"couldn't find container with name {source} on Target object"
    yield from view.modifier_refusals(of_operator=True)
    yield from build_failures(view.trigger_specs())
    reached = [sources(trigger) for trigger in view.trigger_specs()]
    if Source.CANNOT_BE_BUILT in reached:
        yield "no connection to the source of a trigger"
    if all(source is Source.HAS_NO_METRICS for source in reached):
        yield f"no metric specs returned from scalers for ScaledObject {view.name}"
    yield from _autoscaler_failures(view)


def _pause_failures(view: View, cluster: Cluster) -> Iterator[str]:
    text = view.annotations.get(names.PAUSED_REPLICAS)
    if text is None:
        return
    try:
        replicas = names.paused_replicas(view.scaling_spec())
    except InputError as error:
        yield error.message
        return
    if (view.target.kind.lower(), view.target.name) not in cluster.targets:
        yield f'failed to scale target to paused replica count: "{view.target.name}" not found'
    if replicas is not None and replicas < 0:
        yield (
            f"failed to scale target to paused replica count: spec.replicas: Invalid value: "
            f"{replicas}: must be greater than or equal to 0"
        )


def build_failures(triggers: tuple[TriggerSpec, ...]) -> Iterator[str]:
    """Why triggers cannot be built, in KEDA's words."""
    for trigger in triggers:
        if trigger.type not in TYPES:
            yield f"no scaler found for type: {trigger.type}"
        elif trigger.type in SUPPORTED:
            try:
                build_trigger(trigger, TriggerContext(query_for=lambda _: None))
            except InputError as error:
                yield error.message


def autoscaler(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """The HPA that KEDA makes, as the API server stores it; None where it refuses it.

    Every trigger can be built.
    """
    return _create_autoscaler(View(stored)).stored


def _create_autoscaler(view: View) -> Admission:
    return admit(
        view.autoscaler(), kind="HorizontalPodAutoscaler", namespace="default", strict=False
    )


def _autoscaler_failures(view: View) -> Iterator[str]:
    """What the API server refuses in the HPA that KEDA would create."""
    verdict = _create_autoscaler(view)
    if not verdict.allowed:
        told = ", ".join(f"{cause.field}: {cause.message}" for cause in verdict.causes)
        text = told if verdict.code == INVALID else verdict.message
        yield f'HorizontalPodAutoscaler.autoscaling "{view.hpa_name}" is invalid: {text}'
