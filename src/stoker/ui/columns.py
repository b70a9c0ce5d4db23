"""The columns of each kind, as kube-apiserver 1.36 and KEDA 2.20 tell kubectl to print them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.api.kinds import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    DEPLOYMENT,
    EVENT,
    HPA,
    INFERENCE_SERVICE,
    LLM_INFERENCE_SERVICE,
    POD,
    SCALED_OBJECT,
    TRIGGER,
    TRIGGER_AUTHENTICATION,
    VLLM_RUNTIME,
    Kind,
)
from stoker.ui.ages import age

JsonObject = dict[str, Any]
_NONE = "<none>"
_UNKNOWN = "<unknown>"
_MAX_METRICS = 2  # more are counted: `4/5 (avg), 14/5 + 1 more...`
_FINISHED_REASONS = {"Succeeded": "Completed", "Failed": "Error"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading and how it looks at an object. *wide*: only with ``-o wide``."""

    heading: str
    cell: Callable[[JsonObject, float], str]
    wide: bool = False


def columns_of(kind: Kind, *, wide: bool = False) -> tuple[Column, ...]:
    """The columns of *kind*, in order."""
    return tuple(column for column in _COLUMNS[kind.kind] if wide or not column.wide)


def at(found: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """The value at a dotted *path*, *default* where the way ends."""
    value: Any = found
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return default if value is None else value


def _text(path: str, default: str = "") -> Callable[[JsonObject, float], str]:
    def cell(found: JsonObject, now: float) -> str:  # noqa: ARG001 - cells share one form
        return str(at(found, path, default))

    return cell


def _since(path: str) -> Callable[[JsonObject, float], str]:
    def cell(found: JsonObject, now: float) -> str:
        return age(at(found, path), now)

    return cell


def _condition(type_: str) -> Callable[[JsonObject, float], str]:
    def cell(found: JsonObject, now: float) -> str:  # noqa: ARG001
        for condition in at(found, "status.conditions", ()):
            if condition["type"] == type_:
                return str(condition["status"])
        return ""

    return cell


def _reason(type_: str) -> Callable[[JsonObject, float], str]:
    def cell(found: JsonObject, now: float) -> str:  # noqa: ARG001
        for condition in at(found, "status.conditions", ()):
            if condition["type"] == type_:
                return str(condition.get("reason", ""))
        return ""

    return cell


def _addresses(found: JsonObject, now: float) -> str:  # noqa: ARG001
    return ",".join(str(one["url"]) for one in at(found, "status.addresses", ()))


def _reference(found: JsonObject, now: float) -> str:  # noqa: ARG001
    target = found["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


def _targets(found: JsonObject, now: float) -> str:  # noqa: ARG001
    specs: Sequence[JsonObject] = at(found, "spec.metrics", ())
    if not specs:
        return _NONE
    shown = [f"{current}/{target}" for current, target in metric_pairs(found)]
    listed = ", ".join(shown[:_MAX_METRICS])
    more = len(shown) - _MAX_METRICS
    return f"{listed} + {more} more..." if more > 0 else listed


_SOURCES = ("external", "resource", "containerResource", "pods", "object")


def metric_pairs(found: JsonObject) -> list[tuple[str, str]]:
    """For each metric of an HPA: current value and target, ``(avg)`` in that of an External one.

    The statuses are in the order of the specs, but a metric that failed is missing there: so they
    are matched by what they are about, where kubectl goes by position.
    """
    statuses = {_identity(status): status for status in at(found, "status.currentMetrics", ())}
    pairs = []
    for spec in at(found, "spec.metrics", ()):
        key = source_key(spec)
        current = at(statuses.get(_identity(spec), {}), f"{key}.current", {})
        if key in {"resource", "containerResource"}:
            pairs.append(_resource_pair(spec[key], current))
            continue
        target = spec[key]["target"]
        if "averageValue" in target:
            shared = "" if key == "pods" else " (avg)"  # a Pods metric is an average anyway
            pairs.append(
                (current.get("averageValue", _UNKNOWN), f"{target['averageValue']}{shared}")
            )
        else:
            pairs.append((current.get("value", _UNKNOWN), str(target.get("value", _NONE))))
    return pairs


def source_key(metric: JsonObject) -> str:
    """Under which key the source of a metric stands: ``external``, ``containerResource`` ...

    In a status it is "" for a metric that has no value: all it has is an empty type.
    """
    return next((key for key in _SOURCES if key in metric), "")


def _identity(metric: JsonObject) -> str:
    """What tells a metric from others of its HPA, in its spec as in its status."""
    source = metric.get(source_key(metric), {})
    parts = {key: part for key, part in source.items() if key not in {"current", "target"}}
    return f"{source_key(metric)} {json.dumps(parts, sort_keys=True)}"


def _resource_pair(resource: JsonObject, current: JsonObject) -> tuple[str, str]:
    """Percent of the requests, or a quantity a pod."""
    name, target = resource["name"], resource["target"]
    if "averageUtilization" in target:
        percent = current.get("averageUtilization")
        shown = _UNKNOWN if percent is None else f"{percent}%"
        return f"{name}: {shown}", f"{target['averageUtilization']}%"
    return f"{name}: {current.get('averageValue', _UNKNOWN)}", str(target["averageValue"])


def _ready_of_wanted(found: JsonObject, now: float) -> str:  # noqa: ARG001
    return f"{at(found, 'status.readyReplicas', 0)}/{at(found, 'spec.replicas', 0)}"


def _containers(key: str) -> Callable[[JsonObject, float], str]:
    def cell(found: JsonObject, now: float) -> str:  # noqa: ARG001
        containers = at(found, "spec.template.spec.containers", ())
        return ",".join(str(container.get(key, "")) for container in containers)

    return cell


def labels_text(labels: Mapping[str, str] | None) -> str:
    """``a=1,b=2``, ``<none>`` without any."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _selector(found: JsonObject, now: float) -> str:  # noqa: ARG001
    return labels_text(at(found, "spec.selector.matchLabels"))


def _ready_containers(found: JsonObject, now: float) -> str:  # noqa: ARG001
    statuses = at(found, "status.containerStatuses", ())
    ready = sum(bool(status["ready"]) for status in statuses)
    return f"{ready}/{len(found['spec']['containers'])}"


def pod_status(found: JsonObject) -> str:
    """STATUS: the phase, or what a container has to say about it, or that it is on its way out."""
    status = str(at(found, "status.phase", "Unknown"))
    status = str(at(found, "status.reason", status))
    for container in reversed(at(found, "status.containerStatuses", ())):
        waiting = at(container, "state.waiting.reason", "")
        terminated = at(container, "state.terminated.reason", "")
        status = waiting or terminated or status
    if at(found, "metadata.deletionTimestamp"):
        return "Terminating"
    return _FINISHED_REASONS.get(status, status)


def _restarts(found: JsonObject, now: float) -> str:
    statuses = at(found, "status.containerStatuses", ())
    count = sum(int(status["restartCount"]) for status in statuses)
    finished = [at(status, "lastState.terminated.finishedAt") for status in statuses]
    last = max((time for time in finished if time), default=None)
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


def _address(found: JsonObject, now: float) -> str:  # noqa: ARG001
    """IP, and the port when the pod shares the machine's address: there it tells replicas apart."""
    ip = at(found, "status.podIP", _NONE)
    ports = at(found, "spec.containers", ({},))[0].get("ports", ())
    if at(found, "spec.hostNetwork") and ip != _NONE and ports:
        return f"{ip}:{ports[0].get('hostPort', ports[0]['containerPort'])}"
    return str(ip)


def _event_object(found: JsonObject, now: float) -> str:  # noqa: ARG001
    about = found["involvedObject"]
    return f"{about['kind'].lower()}/{about['name']}"


def _message(found: JsonObject, now: float) -> str:  # noqa: ARG001
    return str(found.get("message", "")).strip()


def _first(path: str) -> Callable[[JsonObject, float], str]:
    """The name of the first item of a list; kubectl prints one value of several."""

    def cell(found: JsonObject, now: float) -> str:  # noqa: ARG001
        items = at(found, path, ())
        return str(items[0].get("name", "")) if items else ""

    return cell


def _errors(found: JsonObject, now: float) -> str:
    """How many, and since when it fails if it does."""
    since = at(found, "status.failingSince")
    count = str(at(found, "status.errors", 0))
    return f"{count} (since {age(since, now)})" if since else count


def _last_success(found: JsonObject, now: float) -> str:
    at_ = at(found, "status.lastSuccess")
    return f"{age(at_, now)} ago" if at_ else _NONE


_NAME = Column("NAME", _text("metadata.name"))
_AGE = Column("AGE", _since("metadata.creationTimestamp"))
# As kubectl prints what an object does not have: nothing, and of a list its first item.
_SECRET_SOURCES = (
    Column("PODIDENTITY", _text("spec.podIdentity.provider")),
    Column("SECRET", _first("spec.secretTargetRef")),
    Column("ENV", _first("spec.env")),
)
_VAULT = Column("VAULTADDRESS", _text("spec.hashiCorpVault.address"))
_USERS = (
    Column("SCALEDOBJECTS", _text("status.scaledobjects"), wide=True),
    Column("SCALEDJOBS", _text("status.scaledjobs"), wide=True),
)

_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    SCALED_OBJECT.kind: (
        _NAME,
        Column("SCALETARGETKIND", _text("status.scaleTargetKind")),
        Column("SCALETARGETNAME", _text("spec.scaleTargetRef.name")),
        Column("MIN", _text("spec.minReplicaCount")),
        Column("MAX", _text("spec.maxReplicaCount")),
        Column("READY", _condition("Ready")),
        Column("ACTIVE", _condition("Active")),
        Column("FALLBACK", _condition("Fallback")),
        Column("PAUSED", _condition("Paused")),
        Column("TRIGGERS", _text("status.triggersTypes")),
        Column("AUTHENTICATIONS", _text("status.authenticationsTypes")),
        _AGE,
    ),
    HPA.kind: (
        _NAME,
        Column("REFERENCE", _reference),
        Column("TARGETS", _targets),
        Column("MINPODS", _text("spec.minReplicas", "<unset>")),
        Column("MAXPODS", _text("spec.maxReplicas")),
        Column("REPLICAS", _text("status.currentReplicas", "0")),
        _AGE,
    ),
    DEPLOYMENT.kind: (
        _NAME,
        Column("READY", _ready_of_wanted),
        Column("UP-TO-DATE", _text("status.updatedReplicas", "0")),
        Column("AVAILABLE", _text("status.availableReplicas", "0")),
        _AGE,
        Column("CONTAINERS", _containers("name"), wide=True),
        Column("IMAGES", _containers("image"), wide=True),
        Column("SELECTOR", _selector, wide=True),
    ),
    POD.kind: (
        _NAME,
        Column("READY", _ready_containers),
        Column("STATUS", lambda found, _: pod_status(found)),
        Column("RESTARTS", _restarts),
        _AGE,
        Column("IP", _address, wide=True),
        Column("NODE", lambda found, _: at(found, "spec.nodeName", "") or _NONE, wide=True),
        Column("NOMINATED NODE", lambda *_: _NONE, wide=True),
        Column("READINESS GATES", lambda *_: _NONE, wide=True),
    ),
    INFERENCE_SERVICE.kind: (
        _NAME,
        Column("URL", _text("status.url")),
        Column("READY", _condition("Ready")),
        # of Knative's revisions, which Standard mode has not
        Column("PREV", lambda *_: ""),
        Column("LATEST", lambda *_: ""),
        Column("PREVROLLEDOUTREVISION", lambda *_: ""),
        Column("LATESTREADYREVISION", lambda *_: ""),
        _AGE,
    ),
    LLM_INFERENCE_SERVICE.kind: (
        _NAME,
        Column("URL", _text("status.url")),
        Column("READY", _condition("Ready")),
        Column("REASON", _reason("Ready")),
        _AGE,
        Column("URLS", _addresses, wide=True),
    ),
    VLLM_RUNTIME.kind: (_NAME, _AGE),
    EVENT.kind: (
        Column("LAST SEEN", _since("lastTimestamp")),
        Column("TYPE", _text("type")),
        Column("REASON", _text("reason")),
        Column("OBJECT", _event_object),
        Column("SUBOBJECT", _text("involvedObject.fieldPath"), wide=True),
        Column("SOURCE", _text("source.component"), wide=True),
        Column("MESSAGE", _message),
        Column("FIRST SEEN", _since("firstTimestamp"), wide=True),
        Column("COUNT", _text("count", "1"), wide=True),
        Column("NAME", _text("metadata.name"), wide=True),
    ),
    TRIGGER.kind: (
        _NAME,
        Column("TYPE", _text("spec.type")),
        Column("VALUE", _text("status.value", _UNKNOWN)),
        Column("TARGET", _text("status.target", _UNKNOWN)),
        Column("ACTIVE", _text("status.active")),
        Column("ERRORS", _errors),
        Column("LAST SUCCESS", _last_success),
        Column("SCALEDOBJECT", _text("spec.scaledObject"), wide=True),
        Column("LATENCY", _text("status.latency", _NONE), wide=True),
        Column("ERROR", _text("status.error", _NONE), wide=True),
    ),
    TRIGGER_AUTHENTICATION.kind: (_NAME, *_SECRET_SOURCES, _VAULT, *_USERS),
    CLUSTER_TRIGGER_AUTHENTICATION.kind: (
        _NAME,
        *_SECRET_SOURCES,
        Column("FILEPATH", _text("spec.filePath")),
        _VAULT,
        *_USERS,
    ),
}
