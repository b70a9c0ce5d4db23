"""Triggers and TriggerAuthentications in Kubernetes form. Neither shows a secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stoker.api.kinds import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    TRIGGER,
    TRIGGER_AUTHENTICATION,
)
from stoker.api.objects import metadata
from stoker.clock import rfc3339
from stoker.resources.authentication import Authentication
from stoker.scaling.numbers import plain
from stoker.scaling.spec import ScalingSpec
from stoker.triggers.polling import TriggerRecord

JsonObject = dict[str, Any]


def trigger(record: TriggerRecord, spec: ScalingSpec, created_at: float) -> JsonObject:
    """One metric of a trigger: what it is, and how its reads went."""
    status: JsonObject = {
        "active": record.active,
        "errors": record.errors,
        "reads": record.requests,
        "target": plain(record.target),
    }
    if record.value is not None:
        status["value"] = plain(round(record.value, 3))
    if record.requests:
        status["latency"] = f"{record.latency * 1000:.0f}ms"
    if record.last_success is not None:
        status["lastSuccess"] = rfc3339(record.last_success)
    if record.failing_since is not None:
        status["failingSince"] = rfc3339(record.failing_since)
        status["error"] = record.last_error
    own = record.spec
    found: JsonObject = {
        "index": own.index,
        "metric": record.metric_name,
        "metricType": str(own.metric_type),
        "scaledObject": spec.name,
        "type": own.type,
    }
    if own.name:
        found["name"] = own.name
    name = f"{spec.name}-{record.metric_name}"
    return {
        "apiVersion": TRIGGER.api_version,
        "kind": TRIGGER.kind,
        "metadata": metadata(TRIGGER, spec.namespace, name, created_at),
        "spec": dict(sorted(found.items())),
        "status": dict(sorted(status.items())),
    }


def authentication(
    found: Authentication, created_at: float, users: Iterable[str], namespace: str
) -> JsonObject:
    """A TriggerAuthentication or ClusterTriggerAuthentication; *users* are ScaledObjects."""
    cluster = found.kind == CLUSTER_TRIGGER_AUTHENTICATION.kind
    kind = CLUSTER_TRIGGER_AUTHENTICATION if cluster else TRIGGER_AUTHENTICATION
    content = found.manifest.content
    own = content.get("metadata") or {}
    listed = ",".join(sorted(users))
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": metadata(
            kind,
            # the objects of a cluster have no namespace; here they are shown where one looks
            found.namespace or namespace,
            found.name,
            created_at,
            labels=own.get("labels"),
            annotations=own.get("annotations"),
        ),
        "spec": _without_credentials(content.get("spec") or {}),
        "status": {"scaledobjects": listed} if listed else {},
    }


def _without_credentials(spec: JsonObject) -> JsonObject:
    """The spec as written, but for the one place where a token may stand in it."""
    vault = spec.get("hashiCorpVault")
    if not isinstance(vault, dict) or "credential" not in vault:
        return dict(spec)
    hidden = dict.fromkeys(vault["credential"] or {}, "***")
    return {**spec, "hashiCorpVault": {**vault, "credential": hidden}}
