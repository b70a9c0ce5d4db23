"""What KServe's webhook refuses in an InferenceService, and what its controller cannot reconcile.

Source: ``inference_service_validation.go`` and ``component.go`` of KServe 0.20. All that is wrong
is told, where the webhook stops at the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stoker.errors import InputError
from stoker.resources.document import Manifest, Path
from stoker.resources.kserve import names
from stoker.resources.kserve.inferenceservice import (
    InferenceService,
    MetricsSpec,
    MetricTarget,
    Predictor,
)
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import did_you_mean

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PREDICTOR: Path = ("spec", "predictor")
_METRICS: Path = (*_PREDICTOR, "autoScaling", "metrics")
_MEBIBYTE = 2**20
_OF_TYPE = {"Resource": "resource", "External": "external", "PodMetric": "podmetric"}


def problems(service: InferenceService, manifest: Manifest) -> Iterator[InputError]:
    """Everything that KServe would refuse."""
    meta, predictor = service.metadata, service.spec.predictor
    annotations = meta.annotations or {}
    if not _NAME.fullmatch(meta.name):
        yield _error(
            manifest,
            ("metadata", "name"),
            "must be lower-case letters, digits and `-`, beginning with a letter, not "
            f'"{meta.name}"',
        )
    yield from _annotation_problems(annotations, manifest)
    yield from _replica_problems(predictor, manifest)
    mode = names.MODES.get(annotations.get(names.DEPLOYMENT_MODE, "Standard"), "")
    if mode != "Standard":
        return
    match annotations.get(names.AUTOSCALER_CLASS, "hpa"):
        case "keda":
            yield from _keda_problems(predictor, manifest)
        case "hpa":
            yield from _hpa_problems(predictor, manifest)
        case _:
            return


def _error(manifest: Manifest, path: Path, message: str, hint: str | None = None) -> InputError:
    name = manifest.origin.name(path)
    return InputError(f"`{name}` {message}", hint=hint, place=manifest.place(*path))


def _annotation_problems(annotations: dict[str, str], manifest: Manifest) -> Iterator[InputError]:
    for key, allowed in (
        (names.AUTOSCALER_CLASS, names.CLASSES),
        (names.DEPLOYMENT_MODE, tuple(names.MODES)),
    ):
        value = annotations.get(key)
        if value is not None and value not in allowed:
            hint = did_you_mean(value, allowed) or f"one of {', '.join(allowed)}"
            message = f'"{value}" is not supported'
            yield _error(manifest, ("metadata", "annotations", key), message, hint)


def _replica_problems(predictor: Predictor, manifest: Manifest) -> Iterator[InputError]:
    least = 1 if predictor.min_replicas is None else predictor.min_replicas
    most = predictor.max_replicas or 0
    if least < 0:
        yield _error(manifest, (*_PREDICTOR, "minReplicas"), f"must be at least 0, not {least}")
    if most < 0:
        yield _error(manifest, (*_PREDICTOR, "maxReplicas"), f"must be at least 0, not {most}")
    if least > most > 0:
        message = f"must be at most maxReplicas {most}, not {least}"
        yield _error(manifest, (*_PREDICTOR, "minReplicas"), message)


def _hpa_problems(predictor: Predictor, manifest: Manifest) -> Iterator[InputError]:
    metric, target = predictor.scale_metric or "cpu", predictor.scale_target
    if metric not in {"cpu", "memory"}:
        message = f"`{metric}` is for Knative: an HPA scales on cpu or memory"
        yield _error(manifest, (*_PREDICTOR, "scaleMetric"), message, _use_keda())
    if target is not None and not 1 <= target <= 100:
        message = f"must be from 1 to 100 percent, not {target}"
        yield _error(manifest, (*_PREDICTOR, "scaleTarget"), message)
    for index, item in enumerate(_metrics(predictor)):
        path = (*_METRICS, index)
        if item.type != "Resource":
            message = f"`{item.type}` needs KEDA: an HPA of KServe has Resource metrics alone"
            yield _error(manifest, (*path, "type"), message, _use_keda())
        elif item.resource is None:
            yield _missing(manifest, path, "resource")


def _use_keda() -> str:
    return f'annotate it with {names.AUTOSCALER_CLASS}: "keda"'


def _metrics(predictor: Predictor) -> list[MetricsSpec]:
    scaling = predictor.auto_scaling
    return list(scaling.metrics or ()) if scaling else []


def _keda_problems(predictor: Predictor, manifest: Manifest) -> Iterator[InputError]:
    if predictor.scale_metric is not None:
        message = "is not supported with KEDA"
        hint = "write autoScaling.metrics"
        yield _error(manifest, (*_PREDICTOR, "scaleMetric"), message, hint)
    metrics = _metrics(predictor)
    if not metrics:
        path = _METRICS if manifest.origin.exists(_METRICS) else _PREDICTOR
        yield InputError(
            "nothing to scale on: KServe makes a ScaledObject without triggers, which is refused",
            hint="write autoScaling.metrics, or another autoscalerClass",
            place=manifest.place(*path, key=True),
        )
    for index, item in enumerate(metrics):
        yield from _metric_problems(item, manifest, (*_METRICS, index))


def _missing(manifest: Manifest, path: Path, key: str) -> InputError:
    name = manifest.origin.name((*path, key))
    return InputError(f"`{name}` is required", place=manifest.place(*path))


def _metric_problems(item: MetricsSpec, manifest: Manifest, path: Path) -> Iterator[InputError]:
    if item.type is None:
        yield _missing(manifest, path, "type")
        return
    key = _OF_TYPE[item.type]
    if getattr(item, key) is None:
        yield _missing(manifest, path, key)
    elif item.resource is not None and item.type == "Resource":
        yield from _resource_problems(item, manifest, (*path, key))
    else:
        yield from _query_problems(item, manifest, (*path, key))


def _resource_problems(item: MetricsSpec, manifest: Manifest, path: Path) -> Iterator[InputError]:
    resource = item.resource
    assert resource is not None  # noqa: S101 - the caller has looked
    target, type_path = resource.target, (*path, "target", "type")
    if resource.name == "cpu" and target.type != "Utilization":
        message = f"must be Utilization for cpu, not {target.type or 'absent'}"
        yield _error(manifest, type_path, message)
    elif resource.name == "memory" and target.type not in {"AverageValue", "Utilization"}:
        message = f"must be AverageValue or Utilization for memory, not {target.type or 'absent'}"
        yield _error(manifest, type_path, message)
    elif target.type == "AverageValue" and _is_below_a_mebibyte(target):
        message = f"must be at least 1Mi, not {target.average_value}"
        yield _error(manifest, (*path, "target", "averageValue"), message)
    yield from _target_problems(target, manifest, (*path, "target"))


def _is_below_a_mebibyte(target: MetricTarget) -> bool:
    return target.average_value is not None and parse_quantity(target.average_value) < _MEBIBYTE


def _query_problems(item: MetricsSpec, manifest: Manifest, path: Path) -> Iterator[InputError]:
    source = item.external if item.type == "External" else item.podmetric
    assert source is not None  # noqa: S101 - the caller has looked
    if not source.metric.query:
        yield _missing(manifest, (*path, "metric"), "query")
    if not source.metric.backend:
        yield _missing(manifest, (*path, "metric"), "backend")
    if source.target.value is None:
        message = "is required, whatever the type: KServe takes the threshold from it"
        where = manifest.origin.name((*path, "target", "value"))
        place = manifest.place(*path, "target", key=True)
        yield InputError(f"`{where}` {message}", place=place)
    yield from _target_problems(source.target, manifest, (*path, "target"))


def _target_problems(target: MetricTarget, manifest: Manifest, path: Path) -> Iterator[InputError]:
    match target.type:
        case "Utilization":
            percent = target.average_utilization
            if percent is None:
                yield _missing(manifest, path, "averageUtilization")
            elif not 1 <= percent <= 100:
                message = f"must be from 1 to 100 percent, not {percent}"
                yield _error(manifest, (*path, "averageUtilization"), message)
        case "AverageValue" if target.average_value is None:
            yield _missing(manifest, path, "averageValue")
        case _:
            return
