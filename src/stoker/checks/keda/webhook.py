"""What KEDA's webhook says of a ScaledObject. It tells one reason; so does this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.checks.keda.cluster import Cluster
from stoker.checks.keda.view import LONGEST_NAME, View
from stoker.scaling.spec import RESOURCE_TRIGGERS, ScaleTargetRef

_TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"


def webhook_refusal(stored: Mapping[str, Any], cluster: Cluster) -> str | None:
    """Why the webhook refuses a ScaledObject, None when it does not."""
    return next(_webhook(View(stored), cluster), None)


def _webhook(view: View, cluster: Cluster) -> Iterator[str]:
    target = view.target
    if (target.api_version, target.kind.lower()) not in cluster.kinds:
        yield f'no matches for kind "{target.kind}" in version "{target.api_version}"'
        return
    yield from _resource_refusals(view, cluster)
    yield from _shared(view, cluster)
    yield from view.modifier_refusals()
    yield from _foreign(view, cluster)
    yield from view.replica_refusals()
    yield from _fallback_refusals(view)
    yield from _name_refusals(view)
    yield from view.trigger_refusals()


def _resource_refusals(view: View, cluster: Cluster) -> Iterator[str]:
    """Triggers of cpu and memory need requests, and cannot wake from zero."""
    for trigger in view.triggers:
        kind = trigger.get("type")
        if kind not in RESOURCE_TRIGGERS:
            continue
        if view.target.kind.lower() not in {"deployment", "statefulset"}:
            return
        containers = cluster.targets.get((view.target.kind.lower(), view.target.name))
        if containers is None:
            yield f'{view.target.kind.lower()}s.apps "{view.target.name}" not found'
            return
        only = trigger["metadata"].get("containerName", "")
        for container in containers:
            if (not only or container.name == only) and kind not in container.resources:
                yield (
                    f"the scaledobject has a {kind} trigger but the container {container.name} "
                    f"doesn't have the {kind} request defined"
                )
        if view.has_only_resource_triggers and not view.spec.get("minReplicaCount"):
            yield (
                "scaledobject has only cpu/memory triggers AND minReplica is 0 (scale to zero "
                "doesn't work in this case)"
            )


def _shared(view: View, cluster: Cluster) -> Iterator[str]:
    for name, target, autoscaler in cluster.scaled_objects:
        if name == view.name:
            continue
        if _same(target, view.target):
            kind = f"{target.api_version}.{target.kind}"
            yield (
                f"the workload '{target.name}' of type '{kind}' is already managed by the "
                f"ScaledObject '{name}'"
            )
        elif autoscaler == view.hpa_name:
            yield f"the HPA '{autoscaler}' is already managed by the ScaledObject '{name}'"


def _same(one: ScaleTargetRef, other: ScaleTargetRef) -> bool:
    return (one.api_version, one.kind, one.name) == (other.api_version, other.kind, other.name)


def _foreign(view: View, cluster: Cluster) -> Iterator[str]:
    for autoscaler in cluster.autoscalers:
        if autoscaler.is_shared or autoscaler.owner == view.name:
            continue
        if not _same(autoscaler.target, view.target):
            continue
        kind = f"{view.target.api_version}.{view.target.kind}"
        if view.annotations.get(_TRANSFER) != "true":
            yield (
                f"the workload '{view.target.name}' of type '{kind}' is already managed by the hpa "
                f"'{autoscaler.name}'"
            )
        elif view.hpa_config.get("name") != autoscaler.name:
            yield (
                f"the existing hpa '{autoscaler.name}' for workload '{view.target.name}' of type "
                f"'{kind}' must be specified by name in advanced settings to enable ownership "
                "transfer"
            )


def _fallback_refusals(view: View) -> Iterator[str]:
    fallback = view.spec.get("fallback")
    if fallback is None:
        return
    if fallback.get("behavior") == "scalingModifiers" and not view.modifiers.get("formula"):
        yield ("scalingModifiers fallback behavior requires scalingModifiers.formula to be defined")
    elif not view.modifiers and view.has_only_resource_triggers:
        yield (
            "at least one trigger (that is not cpu or memory) has to have the `AverageValue` or "
            "`Value` type for the fallback to be enabled"
        )


def _name_refusals(view: View) -> Iterator[str]:
    if len(view.name) > LONGEST_NAME:
        yield (
            f'scaledobject name "{view.name}" is {len(view.name)} characters long; must be no more '
            f"than {LONGEST_NAME} characters because it is used as the "
            '"scaledobject.keda.sh/name" label value'
        )
    elif len(view.hpa_name) > LONGEST_NAME:
        yield (
            f'HPA name "{view.hpa_name}" derived from scaledobject is {len(view.hpa_name)} '
            f"characters long; must be no more than {LONGEST_NAME} characters"
        )
