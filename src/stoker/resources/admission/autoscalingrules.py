"""What the API server refuses in a decoded HorizontalPodAutoscaler.

*Source*: ``pkg/apis/autoscaling/validation/validation.go`` of Kubernetes 1.36.
:mod:`stoker.resources.horizontalrules` says the same to users, in their words and at their places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stoker.resources.admission import autoscaling
from stoker.resources.admission.structural import Cause
from stoker.resources.quantity import parse_quantity

DEFAULT_KUBERNETES: Final = "1.36"
_GATE_OF_ZERO = (1, 37)  # HPAScaleToZero is on from here
_SOURCES = ("object", "external", "pods", "resource", "containerResource")
_TYPES = {
    "ContainerResource": "containerResource", "External": "external", "Object": "object",
    "Pods": "pods", "Resource": "resource",
}  # fmt: skip
_WHICHEVER = "must set either a target value for metric or a per-pod target"


def validate(content: Mapping[str, Any], kubernetes_version: str) -> Iterator[Cause]:
    """What is wrong with a decoded object."""
    spec = content.get("spec", {})
    if content["apiVersion"] == autoscaling.FIRST:
        spec = _as_second(spec)
    spec = autoscaling.with_defaults(spec)
    floor = 0 if _version(kubernetes_version) >= _GATE_OF_ZERO else 1
    least, most = spec["minReplicas"], spec.get("maxReplicas", 0)
    if least < floor:
        yield _invalid("spec.minReplicas", least, f"must be greater than or equal to {floor}")
    if most < 1:
        yield _required("spec.maxReplicas", "must be set and greater than 0")
    if most < least:
        yield _invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    reference = spec.get("scaleTargetRef", {})
    yield from _reference(reference, "spec.scaleTargetRef")
    yield from _api_version(reference.get("apiVersion", ""), "spec.scaleTargetRef.apiVersion")
    for index, metric in enumerate(spec["metrics"]):
        yield from _metric(metric, f"spec.metrics[{index}]")
    if least == 0 and not {"Object", "External"} & {m.get("type") for m in spec["metrics"]}:
        message = "must specify at least one Object or External metric to support scaling to zero"
        yield Cause("spec.metrics", "FieldValueForbidden", f"Forbidden: {message}")
    for key, rules in spec.get("behavior", {}).items():
        yield from _scaling_rules(rules, f"spec.behavior.{key}")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _as_second(first: Mapping[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in first.items() if key in autoscaling.SPEC}
    percent = first.get("targetCPUUtilizationPercentage")
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return spec


def _reference(reference: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for key in ("kind", "name"):
        yield from _segment(reference.get(key, ""), f"{path}.{key}", "")


def _segment(name: str, path: str, required: str) -> Iterator[Cause]:
    """A name that becomes a part of a URL's path."""
    if not name:
        yield _required(path, required)
    elif name in {".", ".."}:
        yield _invalid(path, name, f"may not be '{name}'")
    else:
        yield from (
            _invalid(path, name, f"may not contain '{sign}'") for sign in "/%" if sign in name
        )


def _api_version(version: str, path: str) -> Iterator[Cause]:
    if version.count("/") > 1:
        yield _invalid(path, version, f"unexpected GroupVersion string: {version}")
    elif "/" not in version or version.startswith("/"):
        yield _invalid(path, version, "apiVersion must specify API group")


def _metric(metric: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind = metric.get("type", "")
    if not kind:
        yield _required(f"{path}.type", "must specify a metric source type")
    if kind not in _TYPES:
        yield _unsupported(f"{path}.type", kind, sorted(_TYPES))
    present = [source for source in _SOURCES if source in metric]
    if present:  # the server looks into the first only
        yield from _source(present[0], metric[present[0]], f"{path}.{present[0]}")
    expected = _TYPES.get(kind)
    if expected is not None and expected not in present:
        message = "must populate information for the given metric source"
        yield _required(f"{path}.{expected}", message)
    if len(present) != 1:
        for source in present:
            if source != expected:
                message = "Forbidden: must populate the given metric source only"
                yield Cause(f"{path}.{source}", "FieldValueForbidden", message)


def _source(kind: str, source: Mapping[str, Any], path: str) -> Iterator[Cause]:
    target = source.get("target", {})
    if kind == "object":
        yield from _reference(source.get("describedObject", {}), f"{path}.describedObject")
    if kind in {"resource", "containerResource"}:
        if not source.get("name"):
            yield _required(f"{path}.name", "must specify a resource name")
        if kind == "containerResource" and not source.get("container"):
            yield _required(f"{path}.container", "must specify a container")
    else:
        name = source.get("metric", {}).get("name", "")
        yield from _segment(name, f"{path}.metric.name", "must specify a metric name")
    yield from _target(target, f"{path}.target")
    yield from _target_of(kind, target, f"{path}.target")


def _target_of(kind: str, target: Mapping[str, Any], path: str) -> Iterator[Cause]:
    has_value, has_average = "value" in target, "averageValue" in target
    if kind in {"resource", "containerResource"}:
        if "averageUtilization" not in target and not has_average:
            message = "must set either a target raw value or a target utilization"
            yield _required(f"{path}.averageUtilization", message)
        if "averageUtilization" in target and has_average:
            message = "Forbidden: may not set both a target raw value and a target utilization"
            yield Cause(f"{path}.averageValue", "FieldValueForbidden", message)
    elif kind == "pods":
        if not has_average:
            message = "must specify a positive target averageValue"
            yield _required(f"{path}.averageValue", message)
    else:
        if not has_value and not has_average:
            yield _required(f"{path}.averageValue", _WHICHEVER)
        if kind == "external" and has_value and has_average:
            message = "Forbidden: may not set both a target value for metric and a per-pod target"
            yield Cause(f"{path}.value", "FieldValueForbidden", message)


def _target(target: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind = target.get("type", "")
    if not kind:
        yield _required(f"{path}.type", "must specify a metric target type")
    if kind not in {"Utilization", "Value", "AverageValue"}:
        yield _invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for key in ("value", "averageValue"):
        if key in target and parse_quantity(target[key]) <= 0:
            yield _invalid(f"{path}.{key}", target[key], "must be positive")
    if target.get("averageUtilization", 1) < 1:
        found = target["averageUtilization"]
        yield _invalid(f"{path}.averageUtilization", found, "must be greater than 0")


def _scaling_rules(rules: Mapping[str, Any], path: str) -> Iterator[Cause]:
    window = rules.get("stabilizationWindowSeconds")
    at = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        yield _invalid(at, window, "must be greater than or equal to zero")
    if window is not None and window > 3600:
        yield _invalid(at, window, "must be less than or equal to 3600")
    if rules["selectPolicy"] not in {"Disabled", "Max", "Min"}:
        allowed = ["Disabled", "Max", "Min"]
        yield _unsupported(f"{path}.selectPolicy", rules["selectPolicy"], allowed)
    if not rules["policies"]:
        yield _required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules["policies"]):
        yield from _policy(policy, f"{path}.policies[{index}]")
    tolerance = rules.get("tolerance")
    if tolerance is not None and parse_quantity(tolerance) < 0:
        yield _invalid(f"{path}.tolerance", tolerance, "must be greater than or equal to 0")


def _policy(policy: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if policy.get("type", "") not in {"Pods", "Percent"}:
        yield _unsupported(f"{path}.type", policy.get("type", ""), ["Percent", "Pods"])
    for key in ("value", "periodSeconds"):
        number = policy.get(key, 0)
        if number <= 0:
            yield _invalid(f"{path}.{key}", number, "must be greater than zero")
    if policy.get("periodSeconds", 0) > 1800:
        period = policy["periodSeconds"]
        yield _invalid(f"{path}.periodSeconds", period, "must be less than or equal to 1800")


def _required(field: str, message: str) -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {message}".removesuffix(": "))


def _invalid(field: str, value: object, message: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else f"{value}"
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {message}")


def _unsupported(field: str, value: str, allowed: list[str]) -> Cause:
    names = ", ".join(f'"{name}"' for name in allowed)
    message = f'Unsupported value: "{value}": supported values: {names}'
    return Cause(field, "FieldValueNotSupported", message)
