"""What `stoker render` prints: the objects that upstream would create of files, in several forms.

Nothing is asked of a cluster. KEDA's HorizontalPodAutoscaler is the one that its operator makes
when the ScaledObject is created; the API server would add defaults and a status.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from stoker.api.objects import horizontal_pod_autoscaler
from stoker.api.views import HpaView, MetricView
from stoker.errors import InputError
from stoker.resources import Bundle
from stoker.resources.document import Manifest
from stoker.resources.kserve.export import inference_services
from stoker.scaling.spec import ScalingSpec
from stoker.triggers.assumptions import build_assuming
from stoker.triggers.base import TriggerContext

JsonObject = dict[str, Any]
Form = Literal["keda", "hpa", "kserve"]
COMPOSITE: Final = "composite-metric"
SCALED_OBJECT: Final = "scaledobject.keda.sh/name"  # label of the HPAs that KEDA makes
_METADATA: Final = ("name", "namespace", "labels", "annotations")
_OF_KEDA: Final = frozenset(
    {
        "ClusterTriggerAuthentication",
        "Deployment",
        "ScaledObject",
        "StatefulSet",
        "TriggerAuthentication",
    }
)


@dataclass(slots=True)
class Rendering:
    """Objects, and what could not be said in them: a sentence each."""

    objects: list[JsonObject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def render(bundle: Bundle, to: Form | None = None) -> Rendering:
    """The objects of *bundle*.

    Args:
        bundle: what was read.
        to: None for everything that upstream would create; ``keda`` for ScaledObjects and what they
            scale, ``hpa`` for HorizontalPodAutoscalers alone, ``kserve`` for InferenceServices.
    """
    match to:
        case "kserve":
            services = inference_services(bundle)
            return Rendering(services.objects, services.notes)
        case "hpa":
            return _as_hpa(bundle)
        case "keda":
            return _as_keda(bundle)
        case _:
            return _all(bundle)


def _all(bundle: Bundle) -> Rendering:
    done, specs = Rendering(), _specs(bundle)
    for manifest in _rendered(bundle):
        done.objects.append(dict(manifest.content))
        spec = specs.get(id(manifest))
        if spec is not None:
            done.objects.extend(_hpa(spec, done.notes))
    return done


def _as_keda(bundle: Bundle) -> Rendering:
    done = Rendering()
    for manifest in _rendered(bundle):
        if manifest.kind in _OF_KEDA:
            done.objects.append(dict(manifest.content))
        elif manifest.kind == "HorizontalPodAutoscaler":
            done.notes.append(f"HorizontalPodAutoscaler {manifest.name} is not a ScaledObject")
    return done


def _as_hpa(bundle: Bundle) -> Rendering:
    done, specs = Rendering(), _specs(bundle)
    for manifest in _rendered(bundle):
        spec = specs.get(id(manifest))
        if manifest.kind == "HorizontalPodAutoscaler":
            done.objects.append(dict(manifest.content))
        elif spec is not None:
            found = list(_hpa(spec, done.notes))
            done.objects.extend(found)
            if found:
                done.notes.extend(f"ScaledObject {spec.name}: {text}" for text in _lost(spec))
    return done


def _rendered(bundle: Bundle) -> Iterator[Manifest]:
    """All objects, without those that others were made of, and the HPAs that KEDA makes anew."""
    sources = {id(one) for one in bundle.translated}
    made_anew = {spec.name for spec in _specs(bundle).values()}
    return (
        one for one in bundle.objects if id(one) not in sources and _owner(one) not in made_anew
    )


def _owner(manifest: Manifest) -> str | None:
    """The ScaledObject that KEDA made an HPA of, None for what is no HPA of KEDA's."""
    metadata = manifest.content.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if manifest.kind != "HorizontalPodAutoscaler" or not isinstance(labels, dict):
        return None
    name = labels.get(SCALED_OBJECT)
    return str(name) if name is not None else None


def _specs(bundle: Bundle) -> dict[int, ScalingSpec]:
    """What the ScaledObjects say, by the identity of their manifests."""
    specs = {
        id(one.scaled_object): one.scaling
        for one in bundle.applications
        if one.scaled_object is not None and one.scaling is not None
    }
    return specs | {id(one.manifest): one.scaling for one in bundle.unattached}


# -- the HPA of KEDA -----------------------------------------------------------------------------


def _hpa(spec: ScalingSpec, notes: list[str]) -> Iterator[JsonObject]:
    """The HPA of a ScaledObject; none, and a note, where its metrics cannot be named."""
    try:
        metrics = tuple(_metrics(spec))
    except InputError as error:
        notes.append(f"no HPA of ScaledObject {spec.name}: {error.message}")
        return
    hpa = horizontal_pod_autoscaler(HpaView(spec, 0.0, metrics))
    metadata = hpa["metadata"]
    kept = {key: metadata[key] for key in _METADATA if key in metadata}
    yield {
        "apiVersion": hpa["apiVersion"],
        "kind": hpa["kind"],
        "metadata": kept,
        "spec": hpa["spec"],
    }


def _metrics(spec: ScalingSpec) -> Iterator[MetricView]:
    """One a trigger, or the formula's. Raises InputError for a trigger that is not known here."""
    modifiers = spec.modifiers
    if modifiers is not None:
        yield MetricView(COMPOSITE, modifiers.target, modifiers.metric_type)
        return
    for item in spec.triggers:
        trigger = build_assuming(item, TriggerContext(lambda _address: None))
        yield MetricView(trigger.metric_name, trigger.target, item.metric_type)


def _lost(spec: ScalingSpec) -> Iterator[str]:
    """What of a ScaledObject is not in its HPA."""
    if not spec.has_only_resource_triggers:
        yield "its External metrics are served by KEDA, as long as the ScaledObject is there"
    if spec.min_replicas == 0:
        yield "minReplicaCount 0 is minReplicas 1: KEDA, not the HPA, goes to zero and wakes"
    if spec.idle_replica_count is not None:
        yield "idleReplicaCount has no place in an HPA"
    if spec.fallback is not None:
        yield "fallback has no place in an HPA"
    if spec.modifiers is not None:
        yield "the formula has no place in an HPA, only its result"
