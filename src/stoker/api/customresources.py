"""InferenceService, LLMInferenceService and VLLMRuntime, as their controllers show them.

The spec is the user's own. The status is what KServe's controllers and production-stack's operator
write into it, in Standard mode, from the Deployment that they made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.api.kinds import VLLM_RUNTIME, Kind, resolve
from stoker.api.objects import metadata
from stoker.api.views import DeploymentView
from stoker.api.workloads import deployment
from stoker.clock import rfc3339

JsonObject = dict[str, Any]


def custom_resource(source: Mapping[str, Any], view: DeploymentView, url: str) -> JsonObject:
    """The resource with its status.

    Args:
        source: as the user wrote it.
        view: the Deployment that it became, and its pods.
        url: where requests for its model go.
    """
    kind = resolve(str(source["kind"]))
    written = source["metadata"]
    made = deployment(view)
    status = (
        _runtime_status(made)
        if kind is VLLM_RUNTIME
        else _service_status(kind, made, url, view.created_at)
    )
    return {
        "apiVersion": str(source["apiVersion"]),
        "kind": kind.kind,
        "metadata": metadata(
            kind,
            view.workload.namespace,
            str(written["name"]),
            view.created_at,
            labels=written.get("labels"),
            annotations=written.get("annotations"),
            generation=1,
        ),
        "spec": source["spec"],
        "status": status,
    }


def _available(made: JsonObject) -> JsonObject:
    found: JsonObject = next(
        one for one in made["status"]["conditions"] if one["type"] == "Available"
    )
    return found


def _service_status(kind: Kind, made: JsonObject, url: str, created_at: float) -> JsonObject:
    """KServe in Standard mode: ready as the Deployment is available."""
    available = _available(made)
    is_ready = available["status"] == "True"
    since = rfc3339(created_at)  # when a condition changed is not recorded
    ready: JsonObject = {"lastTransitionTime": since, "status": available["status"]}
    if not is_ready:
        ready |= {"reason": available["reason"], "message": available["message"]}
    workload = "PredictorReady" if kind.kind == "InferenceService" else "WorkloadsReady"
    status: JsonObject = {"conditions": [{**ready, "type": workload}, {**ready, "type": "Ready"}]}
    if kind.kind == "InferenceService":
        status["components"] = {"predictor": {"url": url}}
        status["deploymentMode"] = "Standard"
    if is_ready:
        status["url"] = url
        status["addresses" if kind.kind != "InferenceService" else "address"] = (
            {"url": url} if kind.kind == "InferenceService" else [{"url": url}]
        )
    return dict(sorted(status.items()))


def _runtime_status(made: JsonObject) -> JsonObject:
    """The operator's own words for the state of its Deployment."""
    status, wanted = made["status"], made["spec"]["replicas"]
    available = status.get("availableReplicas", 0)
    missing = status.get("unavailableReplicas", 0)
    if available == wanted and not missing:
        state = "Ready"
    elif status.get("updatedReplicas", 0) and missing:
        state = "Updating"
    else:
        state = "NotReady" if missing else "Unknown"
    return {"modelStatus": state, "replicas": status.get("replicas", 0)}
