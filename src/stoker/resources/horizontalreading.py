"""From a HorizontalPodAutoscaler document to a ScalingSpec."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.horizontalpodautoscaler import (
    ContainerResourceSource,
    ExternalSource,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerSpecV1,
    HorizontalPodAutoscalerV1,
    LabelSelector,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
    ObjectSource,
    PodsSource,
    Reference,
    ResourceSource,
)
from stoker.resources.horizontalrules import DEFAULT_KUBERNETES, refusals
from stoker.resources.metadata import ObjectMeta
from stoker.resources.quantity import canonical_quantity, parse_quantity
from stoker.resources.validation import validate
from stoker.scaling.spec import (
    HpaMetric,
    MetricType,
    ObjectReference,
    ScaleTargetRef,
    ScalingSpec,
    SpecKind,
    TriggerSpec,
)

DEFAULT_UTILIZATION = 80  # percent of cpu: what an HPA without metrics gets


@dataclass(frozen=True, slots=True)
class _Source:
    """What the five types of metrics have in common."""

    name: str
    target: MetricTarget
    container: str = ""
    described_object: ObjectReference | None = None
    selector: LabelSelector | None = None


def read_horizontal_pod_autoscaler(
    manifest: Manifest, namespace: str, *, kubernetes_version: str = DEFAULT_KUBERNETES
) -> tuple[ScalingSpec | None, tuple[InputError, ...]]:
    """The ScalingSpec of an HPA, or everything that the API server would refuse in it.

    Args:
        manifest: the object.
        namespace: of an object that names none.
        kubernetes_version: ``minReplicas: 0`` is allowed from 1.37 on.
    """
    if manifest.api_version == "autoscaling/v1":
        first, errors = validate(HorizontalPodAutoscalerV1, manifest.content, manifest.origin)
        if first is None:
            return None, errors
        resource = _second_version(first)
    else:
        second, errors = validate(HorizontalPodAutoscaler, manifest.content, manifest.origin)
        if second is None:
            return None, errors
        resource = second
    spec = resource.spec or HorizontalPodAutoscalerSpec()
    errors = tuple(refusals(spec, manifest.origin, kubernetes_version))
    if errors:
        return None, errors
    return _scaling_spec(resource.metadata, spec, namespace), ()


def _second_version(first: HorizontalPodAutoscalerV1) -> HorizontalPodAutoscaler:
    spec = first.spec or HorizontalPodAutoscalerSpecV1()
    percent = spec.target_cpu_utilization_percentage
    metrics = None
    if percent is not None:
        target = MetricTarget(type="Utilization", average_utilization=percent)
        metrics = [MetricSpec(type="Resource", resource=ResourceSource(name="cpu", target=target))]
    return HorizontalPodAutoscaler(
        api_version="autoscaling/v2",
        kind="HorizontalPodAutoscaler",
        metadata=first.metadata,
        spec=HorizontalPodAutoscalerSpec(
            scale_target_ref=spec.scale_target_ref,
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            metrics=metrics,
        ),
    )


def _scaling_spec(
    meta: ObjectMeta, spec: HorizontalPodAutoscalerSpec, namespace: str
) -> ScalingSpec:
    """With the API server's defaults. What it refuses has been told."""
    target = spec.scale_target_ref or Reference()
    metrics = [_metric(item) for item in spec.metrics or ()] or [_DEFAULT_METRIC]
    return ScalingSpec(
        kind=SpecKind.HPA,
        name=meta.name,
        namespace=meta.namespace or namespace,
        target=ScaleTargetRef(target.name or "", target.kind or "", target.api_version or ""),
        triggers=tuple(
            TriggerSpec(index, metric.type, metric_type=metric.target_type, metric=metric)
            for index, metric in enumerate(metrics)
        ),
        min_replica_count=1 if spec.min_replicas is None else spec.min_replicas,
        max_replica_count=spec.max_replicas,
        behavior=spec.behavior.behavior() if spec.behavior else None,
        labels=MappingProxyType(dict(meta.labels or {})),
        annotations=MappingProxyType(dict(meta.annotations or {})),
    )


_DEFAULT_METRIC = HpaMetric(
    "Resource", "cpu", float(DEFAULT_UTILIZATION), MetricType.UTILIZATION, str(DEFAULT_UTILIZATION)
)


def _metric(item: MetricSpec) -> HpaMetric:
    source = _source(item)
    of_pods = item.type in {"Resource", "ContainerResource"}
    kind, text = _target(source.target, utilization=of_pods, value=not of_pods)
    if item.type == "Object" and source.target.type != kind:
        text = ""  # here the controller goes by the type
    selector = source.selector
    return HpaMetric(
        type=item.type or "",
        name=source.name,
        target=_number(kind, text) if text else None,
        target_type=kind,
        target_text=text,
        container=source.container,
        described_object=source.described_object,
        match_labels=None
        if selector is None
        else MappingProxyType(dict(selector.match_labels or {})),
        match_expressions=()
        if selector is None
        else tuple(
            (one.key, one.operator, tuple(one.values or ()))
            for one in selector.match_expressions or ()
        ),
    )


def _number(kind: MetricType, text: str) -> float:
    return float(text) if kind is MetricType.UTILIZATION else float(parse_quantity(text))


def _target(target: MetricTarget, *, utilization: bool, value: bool) -> tuple[MetricType, str]:
    """The value that the controller compares with; "" when it is not one of those it looks at."""
    if target.average_value is not None:
        return MetricType.AVERAGE_VALUE, canonical_quantity(target.average_value)
    if value and target.value is not None:
        return MetricType.VALUE, canonical_quantity(target.value)
    if utilization and target.average_utilization is not None:
        return MetricType.UTILIZATION, str(target.average_utilization)
    return MetricType.AVERAGE_VALUE, ""


def _source(item: MetricSpec) -> _Source:
    nothing = MetricTarget()
    match item.type:
        case "Resource":
            resource = item.resource or ResourceSource()
            return _Source(resource.name or "", resource.target or nothing)
        case "ContainerResource":
            of_one = item.container_resource or ContainerResourceSource()
            return _Source(of_one.name or "", of_one.target or nothing, of_one.container or "")
        case "Pods":
            source: PodsSource | ExternalSource | ObjectSource = item.pods or PodsSource()
        case "Object":
            source = item.object or ObjectSource()
        case _:
            source = item.external or ExternalSource()
    metric = source.metric or MetricIdentifier()
    about = source.described_object if isinstance(source, ObjectSource) else None
    reference = (
        ObjectReference(about.kind or "", about.name or "", about.api_version or "")
        if about
        else None
    )
    return _Source(
        metric.name or "",
        source.target or nothing,
        described_object=reference,
        selector=metric.selector,
    )
