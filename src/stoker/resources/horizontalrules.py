"""What the API server refuses in a HorizontalPodAutoscaler, beyond the shape of its fields.

*Source*: ``pkg/apis/autoscaling/validation/validation.go`` of Kubernetes 1.36, and recorded
answers of its API server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stoker.errors import InputError
from stoker.resources.document import Origin, Path
from stoker.resources.horizontalpodautoscaler import (
    HorizontalPodAutoscalerSpec,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
    Reference,
)
from stoker.resources.hpa import HPABehavior
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import describe, did_you_mean
from stoker.scaling.settings import ControllerSettings

DEFAULT_KUBERNETES = "1.36"
METRIC_TYPES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")
_GATE = "minReplicas 0 needs Kubernetes 1.37 (gate HPAScaleToZero): --kubernetes-version 1.37"


@dataclass(frozen=True, slots=True)
class _Rules:
    """Makes errors with the place and the name of a field."""

    origin: Origin

    def error(self, path: Path, message: str, hint: str | None = None) -> InputError:
        """*message* follows the name of the field."""
        name = self.origin.name(path)
        return InputError(f"`{name}` {message}", hint=hint, place=self.origin.place(path))

    def foreign(self, path: Path, message: str) -> InputError:
        """The field should not be there at all: its key is the place."""
        place = self.origin.place(path, key=True)
        return InputError(f"`{self.origin.name(path)}` {message}", place=place)

    def required(self, path: Path, hint: str | None = None) -> InputError:
        return self.error(path, "is required", hint)


def refusals(
    spec: HorizontalPodAutoscalerSpec, origin: Origin, kubernetes_version: str
) -> Iterator[InputError]:
    """Everything that the API server of *kubernetes_version* would refuse in *spec*."""
    rules = _Rules(origin)
    zero = ControllerSettings(kubernetes_version=kubernetes_version).scale_to_zero
    yield from _bounds(rules, spec, zero_allowed=zero)
    target = spec.scale_target_ref
    path: Path = ("spec", "scaleTargetRef")
    if target is None:
        yield rules.required(path)
    else:
        yield from _reference(rules, target, path)
        yield from _api_version(rules, target, (*path, "apiVersion"))
    for index, metric in enumerate(spec.metrics or ()):
        yield from _metric(rules, metric, ("spec", "metrics", index))
    if spec.behavior is not None:
        yield from _behavior(rules, spec.behavior, ("spec", "behavior"))


def _bounds(
    rules: _Rules, spec: HorizontalPodAutoscalerSpec, *, zero_allowed: bool
) -> Iterator[InputError]:
    least, most = spec.min_replicas, spec.max_replicas
    path: Path = ("spec", "minReplicas")
    floor = 0 if zero_allowed else 1
    if least is not None and least < floor:
        hint = _GATE if least == 0 else None
        yield rules.error(path, f"must be at least {floor}, not {least}", hint)
    elif least == 0:
        types = {metric.type for metric in spec.metrics or ()}
        if not types & {"Object", "External"}:
            hint = "resource metrics cannot say when to wake"
            yield rules.error(path, "0 needs at least one Object or External metric", hint)
    path = ("spec", "maxReplicas")
    if most is None:
        yield rules.required(path, "a number above 0")
    elif most < 1:
        yield rules.error(path, f"must be at least 1, not {most}")
    elif most < (1 if least is None else least):
        yield rules.error(path, f"must be at least minReplicas {least}, not {most}")


def _reference(rules: _Rules, reference: Reference, path: Path) -> Iterator[InputError]:
    for key, value in (("kind", reference.kind), ("name", reference.name)):
        if not value:
            yield rules.required((*path, key))
        else:
            yield from _segment(rules, value, (*path, key))


def _segment(rules: _Rules, value: str, path: Path) -> Iterator[InputError]:
    """A name that becomes part of a URL's path."""
    if value in {".", ".."}:
        yield rules.error(path, f"may not be `{value}`")
    for sign in ("/", "%"):
        if sign in value:
            yield rules.error(path, f"may not contain `{sign}`, not {describe(value)}")


def _api_version(rules: _Rules, reference: Reference, path: Path) -> Iterator[InputError]:
    version = reference.api_version or ""
    if version.count("/") > 1:
        yield rules.error(path, f"must be GROUP/VERSION, not {describe(version)}")
    elif not version:
        yield rules.required(path, "apps/v1 for a Deployment")
    elif "/" not in version and reference.kind != "ReplicationController":
        hint = "a Deployment is in apps/v1"
        yield rules.error(path, f"must name a group, not {describe(version)}", hint)


def _metric(rules: _Rules, metric: MetricSpec, path: Path) -> Iterator[InputError]:
    kind = metric.type or ""
    expected = METRIC_TYPES.get(kind)
    if expected is None:
        known = ", ".join(METRIC_TYPES)
        hint = did_you_mean(kind, METRIC_TYPES) or f"one of {known}"
        at = (*path, "type")
        yield (
            rules.error(at, f"must be one of {known}, not {describe(kind)}", hint)
            if (kind)
            else rules.required(at, hint)
        )
        return
    given = {
        "containerResource": metric.container_resource,
        "external": metric.external,
        "object": metric.object,
        "pods": metric.pods,
        "resource": metric.resource,
    }
    present = {key for key, source in given.items() if source is not None}
    if expected not in present:
        yield rules.required((*path, expected), f"what a metric of type {kind} is about")
    for key in sorted(present - {expected}):
        yield rules.foreign((*path, key), f"is not for a metric of type {kind}")
    if expected in present:
        yield from _CHECKS[kind](rules, metric, (*path, expected))


def _of_pods(rules: _Rules, metric: MetricSpec, path: Path) -> Iterator[InputError]:
    source = metric.pods
    if source is None:
        return
    yield from _identifier(rules, source.metric, path)
    yield from _target(rules, source.target, path)
    average = source.target.average_value if source.target else None
    if average is None:
        yield rules.required((*path, "target", "averageValue"))


def _of_object(rules: _Rules, metric: MetricSpec, path: Path) -> Iterator[InputError]:
    source = metric.object
    if source is None:
        return
    about = source.described_object
    at = (*path, "describedObject")
    if about is None or not (about.kind or about.name):
        yield rules.required(at, "the object that the metric belongs to: kind, name, apiVersion")
    else:
        yield from _reference(rules, about, at)
    yield from _identifier(rules, source.metric, path)
    yield from _target(rules, source.target, path)
    yield from _value_or_average(rules, source.target, path)


def _of_external(rules: _Rules, metric: MetricSpec, path: Path) -> Iterator[InputError]:
    source = metric.external
    if source is None:
        return
    yield from _identifier(rules, source.metric, path)
    yield from _target(rules, source.target, path)
    yield from _value_or_average(rules, source.target, path)
    target = source.target
    if target is not None and target.value is not None and target.average_value is not None:
        hint = "value is shared by nobody, averageValue by all replicas: write one of them"
        yield rules.error((*path, "target", "value"), "cannot stand beside averageValue", hint)


def _of_resource(rules: _Rules, metric: MetricSpec, path: Path) -> Iterator[InputError]:
    source = metric.resource
    if source is not None:
        yield from _resource(rules, source.name, source.target, path)


def _of_container(rules: _Rules, metric: MetricSpec, path: Path) -> Iterator[InputError]:
    source = metric.container_resource
    if source is None:
        return
    if not source.container:
        yield rules.required((*path, "container"))
    yield from _resource(rules, source.name, source.target, path)


_CHECKS: dict[str, Callable[[_Rules, MetricSpec, Path], Iterator[InputError]]] = {
    "ContainerResource": _of_container,
    "External": _of_external,
    "Object": _of_object,
    "Pods": _of_pods,
    "Resource": _of_resource,
}


def _resource(
    rules: _Rules, name: str | None, target: MetricTarget | None, path: Path
) -> Iterator[InputError]:
    if not name:
        yield rules.required((*path, "name"), "cpu or memory")
    yield from _target(rules, target, path)
    percent = target.average_utilization if target else None
    average = target.average_value if target else None
    if percent is None and average is None:
        yield rules.required((*path, "target", "averageUtilization"), "or averageValue")
    if percent is not None and average is not None:
        yield rules.error(
            (*path, "target", "averageValue"), "cannot stand beside averageUtilization"
        )


def _identifier(rules: _Rules, metric: MetricIdentifier | None, path: Path) -> Iterator[InputError]:
    at = (*path, "metric", "name")
    if metric is None or not metric.name:
        yield rules.required(at)
    else:
        yield from _segment(rules, metric.name, at)


def _target(rules: _Rules, target: MetricTarget | None, path: Path) -> Iterator[InputError]:
    path = (*path, "target")
    kind = target.type if target else None
    known = ", ".join(_TARGET_TYPES)
    if not kind:
        yield rules.required((*path, "type"), f"one of {known}")
    elif kind not in _TARGET_TYPES:
        hint = did_you_mean(kind, _TARGET_TYPES)
        yield rules.error((*path, "type"), f"must be one of {known}, not {describe(kind)}", hint)
    if target is None:
        return
    for key, text in (("value", target.value), ("averageValue", target.average_value)):
        if text is not None and parse_quantity(text) <= 0:
            yield rules.error((*path, key), f"must be more than 0, not {text}")
    percent = target.average_utilization
    if percent is not None and percent < 1:
        yield rules.error((*path, "averageUtilization"), f"must be more than 0, not {percent}")


def _value_or_average(
    rules: _Rules, target: MetricTarget | None, path: Path
) -> Iterator[InputError]:
    if target is None or (target.value is None and target.average_value is None):
        yield rules.required((*path, "target", "averageValue"), "or value")


def _behavior(rules: _Rules, behavior: HPABehavior, path: Path) -> Iterator[InputError]:
    """What KEDA's copy of the field lets pass: its schema is the same, its handling is not."""
    for key, side in (("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down)):
        if side is not None and side.policies == []:
            yield rules.error((*path, key, "policies"), "must not be empty", "leave it out")
