"""From Stoker's records to objects in Kubernetes form: Deployment, Pod, Event.

What only one machine has (process id, GPU ids, log file) stands in annotations ``stoker/...``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.api.kinds import DEPLOYMENT, EVENT, KINDS, POD
from stoker.api.objects import metadata, uid
from stoker.api.views import DeploymentView
from stoker.clock import rfc3339
from stoker.events import Event
from stoker.resources.workload import Probe, Workload
from stoker.targets.base import Pod

JsonObject = dict[str, Any]
NODE = "localhost"
_API_VERSIONS = {kind.kind: kind.api_version for kind in KINDS} | {"ReplicaSet": "apps/v1"}
_FINISHED = ("Succeeded", "Failed")


def deployment(view: DeploymentView) -> JsonObject:
    """``apps/v1`` Deployment."""
    workload = view.workload
    annotations = {"deployment.kubernetes.io/revision": "1"}
    if workload.origin:
        annotations["stoker/origin"] = workload.origin
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": metadata(
            DEPLOYMENT,
            workload.namespace,
            workload.name,
            view.created_at,
            labels=workload.labels,
            annotations=annotations,
        ),
        "spec": {
            "replicas": view.replicas,
            "selector": {"matchLabels": _selector(workload)},
            "strategy": {
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
                "type": "RollingUpdate",
            },
            "template": {
                "metadata": {"labels": _selector(workload)},
                "spec": {
                    "containers": [_container(workload)],
                    "terminationGracePeriodSeconds": _number(workload.termination_grace_period),
                },
            },
        },
        "status": _deployment_status(view),
    }


def _selector(workload: Workload) -> JsonObject:
    return dict(sorted((workload.pod_labels or {"app": workload.name}).items()))


def _deployment_status(view: DeploymentView) -> JsonObject:
    staying = [p for p in view.pods if not p.terminating and p.phase not in _FINISHED]
    ready = sum(pod.ready for pod in staying)
    # maxUnavailable 25 % is rounded down: with fewer than four replicas all have to be there.
    available = ready >= view.replicas - view.replicas // 4
    settled = len(staying) == view.replicas == ready
    status: JsonObject = {
        "availableReplicas": ready,
        "conditions": [
            {
                "message": "Deployment has minimum availability."
                if available
                else "Deployment does not have minimum availability.",
                "reason": "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
                "status": str(available),
                "type": "Available",
            },
            {
                "message": _progress(view, settled=settled),
                "reason": "NewReplicaSetAvailable" if settled else "ReplicaSetUpdated",
                "status": "True",
                "type": "Progressing",
            },
        ],
        "readyReplicas": ready,
        "replicas": len(staying),
        "unavailableReplicas": max(view.replicas - ready, 0),
        "updatedReplicas": len(staying),
    }
    return {key: value for key, value in status.items() if value != 0}


def _progress(view: DeploymentView, *, settled: bool) -> str:
    """The controller's sentence; the ReplicaSet's name is the pods' without their suffix."""
    names = {_replica_set(pod.name) for pod in view.pods} or {view.workload.name}
    done = "has successfully progressed." if settled else "is progressing."
    return f'ReplicaSet "{max(names)}" {done}'


def _replica_set(pod_name: str) -> str:
    return pod_name.rpartition("-")[0]


def _container(workload: Workload) -> JsonObject:
    """``containers[0]`` of the pod template."""
    gpus = {workload.gpu_resource: str(workload.gpus)} if workload.gpus else {}
    limits, requests = {**gpus, **workload.limits}, {**gpus, **workload.requests}
    resources = {
        key: dict(sorted(amounts.items()))
        for key, amounts in (("limits", limits), ("requests", requests))
        if amounts
    }
    found: JsonObject = {
        "command": list(workload.command),
        "env": [{"name": name, "value": value} for name, value in workload.env.items()],
        "image": workload.image,
        "livenessProbe": _probe(workload.liveness_probe, workload.port),
        "name": workload.container,
        "ports": [{"containerPort": workload.port, "protocol": "TCP"}],
        "readinessProbe": _probe(workload.readiness_probe, workload.port),
        "resources": resources,
        "startupProbe": _probe(workload.startup_probe, workload.port),
    }
    return {key: value for key, value in found.items() if value not in (None, [], "")}


def _probe(probe: Probe | None, port: int) -> JsonObject | None:
    if probe is None:
        return None
    asked: JsonObject
    if probe.command is not None:
        asked = {"exec": {"command": list(probe.command)}}
    elif probe.tcp:
        asked = {"tcpSocket": {"port": probe.port or port}}
    else:
        path, scheme = probe.path or "/", probe.scheme
        asked = {"httpGet": {"path": path, "port": probe.port or port, "scheme": scheme}}
    return asked | {
        "failureThreshold": probe.failure_threshold,
        "initialDelaySeconds": _number(probe.initial_delay),
        "periodSeconds": _number(probe.period),
        "successThreshold": probe.success_threshold,
        "timeoutSeconds": _number(probe.timeout),
    }


def pod(found: Pod, workload: Workload | None = None) -> JsonObject:
    """``v1`` Pod. *workload* None: its Deployment is gone, the template unknown."""
    container: JsonObject = {"name": "main"} if workload is None else _container(workload)
    if found.port is not None:
        container["ports"] = [
            {"containerPort": found.port, "hostPort": found.port, "protocol": "TCP"}
        ]
    grace = None if workload is None else _number(workload.termination_grace_period)
    return {
        "apiVersion": POD.api_version,
        "kind": POD.kind,
        "metadata": _pod_metadata(found, grace),
        "spec": {
            "containers": [container],
            "hostNetwork": True,
            "nodeName": "" if _unscheduled(found) else NODE,
            "terminationGracePeriodSeconds": 30 if grace is None else grace,
        },
        "status": _pod_status(found, container),
    }


def _pod_metadata(found: Pod, grace: float | None) -> JsonObject:
    replica_set = _replica_set(found.name)
    annotations = {
        "stoker/gpus": ",".join(str(gpu) for gpu in found.gpu_ids),
        "stoker/log-file": found.log_file,
        "stoker/pid": "" if found.pid is None else str(found.pid),
    }
    owner = {
        "apiVersion": "apps/v1",
        "controller": True,
        "kind": "ReplicaSet",
        "name": replica_set or found.workload,
    }
    return metadata(
        POD,
        found.namespace,
        found.name,
        found.created_at,
        labels=found.labels,
        annotations={key: value for key, value in annotations.items() if value},
        # When a pod began to terminate is not recorded; kubectl only asks whether it does.
        deletionTimestamp=rfc3339(found.created_at) if found.terminating else None,
        deletionGracePeriodSeconds=grace if found.terminating else None,
        generateName=f"{replica_set}-" if replica_set else None,
        ownerReferences=[owner],
    )


def _unscheduled(found: Pod) -> bool:
    """Pending for want of a GPU: no process yet, and nothing of a container to tell."""
    return (
        found.phase == "Pending"
        and found.pid is None
        and found.restarts == 0
        and found.reason in ("", "Unschedulable")
        and bool(found.message)
    )


def _pod_status(found: Pod, container: Mapping[str, Any]) -> JsonObject:
    unscheduled = _unscheduled(found)
    scheduled: JsonObject = {"status": str(not unscheduled), "type": "PodScheduled"}
    if unscheduled:
        scheduled |= {"reason": "Unschedulable", "message": found.message}
    started = None if found.started_at is None else rfc3339(found.started_at)
    status: JsonObject = {
        "conditions": [
            {"status": str(found.ready), "type": "Ready"},
            {"status": str(found.ready), "type": "ContainersReady"},
            scheduled,
        ],
        "containerStatuses": None if unscheduled else [_container_status(found, container)],
        "hostIP": None if unscheduled else found.host,
        "phase": found.phase,
        "podIP": None if found.port is None else found.host,
        "startTime": started,
    }
    return {key: value for key, value in status.items() if value is not None}


def _container_status(found: Pod, container: Mapping[str, Any]) -> JsonObject:
    state: JsonObject
    if found.phase in _FINISHED:
        reason = found.reason or ("Error" if found.phase == "Failed" else "Completed")
        state = {"terminated": {"reason": reason, "message": found.message}}
    elif found.reason or found.started_at is None:
        reason = found.reason or "ContainerCreating"
        state = {"waiting": {"reason": reason, "message": found.message}}
    else:
        state = {"running": {"startedAt": rfc3339(found.started_at)}}
    last: JsonObject = {}
    if found.last_restart_at is not None:
        last = {"terminated": {"finishedAt": rfc3339(found.last_restart_at), "reason": "Error"}}
    return {
        "image": container.get("image", ""),
        "lastState": last,
        "name": container["name"],
        "ready": found.ready,
        "restartCount": found.restarts,
        "started": found.started_at is not None,
        "state": state,
    }


def event(found: Event) -> JsonObject:
    """``v1`` Event."""
    about = found.about
    # The API server names events by object and nanosecond of the first; so the order is of time.
    name = f"{about.name}.{int(found.first_seen * 1e6):x}"
    told = f"{about.kind}/{found.type}/{found.reason}/{found.message}/{found.source}"
    meta = metadata(EVENT, about.namespace, name, found.first_seen)
    meta["uid"] = uid(EVENT, about.namespace, f"{name}/{told}", found.first_seen)
    return {
        "apiVersion": EVENT.api_version,
        "count": found.count,
        "firstTimestamp": rfc3339(found.first_seen),
        "involvedObject": {
            "apiVersion": _API_VERSIONS.get(about.kind, "v1"),
            "kind": about.kind,
            "name": about.name,
            "namespace": about.namespace,
        },
        "kind": EVENT.kind,
        "lastTimestamp": rfc3339(found.last_seen),
        "message": found.message,
        "metadata": meta,
        "reason": found.reason,
        "source": {"component": found.source},
        "type": found.type,
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value
