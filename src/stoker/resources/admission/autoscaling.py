"""A HorizontalPodAutoscaler as the API server decodes, defaults and stores it.

*Source*: ``pkg/apis/autoscaling/v2/defaults.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from stoker.errors import InputError
from stoker.resources.admission import objectmeta
from stoker.resources.quantity import canonical_quantity, parse_quantity

KIND: Final = "HorizontalPodAutoscaler"
_API_VERSION = "autoscaling/v2"
FIRST: Final = "autoscaling/v1"
_INT32 = 2**31

# What a field holds: a mapping of fields, a list of one kind, or a kind of scalar.
_REFERENCE = {"kind": "string", "name": "string", "apiVersion": "string"}
_TARGET = {
    "type": "string", "value": "quantity", "averageValue": "quantity",
    "averageUtilization": "int32",
}  # fmt: skip
_SELECTOR = {
    "matchLabels": "strings",
    "matchExpressions": [{"key": "string", "operator": "string", "values": ["string"]}],
}
_METRIC = {"name": "string", "selector": _SELECTOR}
_RULES = {
    "stabilizationWindowSeconds": "int32",
    "selectPolicy": "string",
    "policies": [{"type": "string", "value": "int32", "periodSeconds": "int32"}],
    "tolerance": "quantity",
}
SPEC = {
    "scaleTargetRef": _REFERENCE,
    "minReplicas": "int32",
    "maxReplicas": "int32",
    "metrics": [
        {
            "type": "string",
            "object": {"describedObject": _REFERENCE, "metric": _METRIC, "target": _TARGET},
            "external": {"metric": _METRIC, "target": _TARGET},
            "pods": {"metric": _METRIC, "target": _TARGET},
            "resource": {"name": "string", "target": _TARGET},
            "containerResource": {"name": "string", "container": "string", "target": _TARGET},
        }
    ],
    "behavior": {"scaleUp": _RULES, "scaleDown": _RULES},
}
_FIRST_SPEC = {
    "scaleTargetRef": _REFERENCE,
    "minReplicas": "int32",
    "maxReplicas": "int32",
    "targetCPUUtilizationPercentage": "int32",
}


def decode(content: dict[str, Any]) -> list[str] | str:
    """Take unknown fields and nulls out of *content* and write quantities as the server does.

    Returns:
        the paths of unknown fields, or why it cannot be decoded at all.
    """
    content["apiVersion"] = content.get("apiVersion") or _API_VERSION
    content["kind"] = content.get("kind") or KIND
    version = content["apiVersion"]
    if version not in {_API_VERSION, FIRST} or content["kind"] != KIND:
        short = str(version).rsplit("/", 1)[-1]
        return (
            f'{KIND} in version "{short}" cannot be handled as a {KIND}: no kind '
            f'"{content["kind"]}" is registered for version "{version}"'
        )
    content.pop("status", None)
    fields = {
        "apiVersion": "string",
        "kind": "string",
        "metadata": "any",
        "spec": _FIRST_SPEC if version == FIRST else SPEC,
    }
    unknown: list[str] = []
    problem = _decode(content, fields, "", unknown)
    problem = problem or objectmeta.malformed(content.get("metadata"))
    if problem:
        return f'{KIND} in version "v2" cannot be handled as a {KIND}: {problem}'
    meta = content.get("metadata") or {}
    for key in [key for key in meta if key not in objectmeta.FIELDS]:
        del meta[key]
        unknown.append(f"metadata.{key}")
    return unknown


def _decode(value: Any, wanted: Any, path: str, unknown: list[str]) -> str | None:
    """Why *value* is not what is *wanted*; None when it is. Changes it in place."""
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return _mismatch(value, path, "struct")
        return _decode_fields(value, wanted, path, unknown)
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return _mismatch(value, path, "slice")
        for index, item in enumerate(value):
            problem = _decode_item(value, index, item, wanted[0], path, unknown)
            if problem:
                return problem
        return None
    return _decode_scalar(value, wanted, path)


def _decode_fields(
    value: dict[str, Any], wanted: Mapping[str, Any], path: str, unknown: list[str]
) -> str | None:
    for key in list(value):
        inner = f"{path}.{key}" if path else key
        if key not in wanted:
            del value[key]
            unknown.append(inner)
        elif value[key] is None:
            del value[key]
        else:
            problem = _decode(value[key], wanted[key], inner, unknown)
            if problem:
                return problem
            if wanted[key] == "quantity":
                value[key] = _stored_quantity(value[key])
    return None


def _decode_item(
    items: list[Any], index: int, item: Any, wanted: Any, path: str, unknown: list[str]
) -> str | None:
    if item is None:
        items[index] = {} if isinstance(wanted, dict) else ""
        return None
    return _decode(item, wanted, f"{path}[{index}]", unknown)


def _decode_scalar(value: Any, wanted: str, path: str) -> str | None:
    if wanted == "any":
        return None
    if wanted == "int32":
        whole = isinstance(value, int) and not isinstance(value, bool)
        good = whole and -_INT32 <= value < _INT32
    elif wanted == "strings":
        good = isinstance(value, dict) and all(isinstance(v, str | None) for v in value.values())
    elif wanted == "quantity":
        return _quantity_problem(value)
    else:
        good = isinstance(value, str)
    return None if good else _mismatch(value, path, wanted)


def _quantity_problem(value: Any) -> str | None:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError("not a quantity")
        parse_quantity(value)
    except InputError:
        return (
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    return None


def _stored_quantity(value: str | float) -> str:
    return canonical_quantity(value if isinstance(value, str) else repr(value))


def _mismatch(value: Any, path: str, wanted: str) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    found, field = kinds.get(type(value), "object"), re.sub(r"\[\d+\]", "", path)
    return f"json: cannot unmarshal {found} into Go struct field {KIND}.{field} of type {wanted}"


_CPU_80 = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
_ALL_IN_15_SECONDS = {"type": "Percent", "value": 100, "periodSeconds": 15}
_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, _ALL_IN_15_SECONDS],
}
_DOWN = {"selectPolicy": "Max", "policies": [_ALL_IN_15_SECONDS]}


def with_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """*spec* of the second version with what the server fills in."""
    filled = deepcopy(dict(spec))
    filled.setdefault("minReplicas", 1)
    if not filled.get("metrics"):
        filled["metrics"] = [deepcopy(_CPU_80)]
    if "behavior" in filled:
        behavior = filled["behavior"]
        for key, default in (("scaleUp", _UP), ("scaleDown", _DOWN)):
            behavior[key] = {**deepcopy(default), **behavior.get(key, {})}
    return filled


def stored(content: Mapping[str, Any]) -> dict[str, Any]:
    """The object as the server answers with it. *content* is valid."""
    spec = content.get("spec", {})
    if content["apiVersion"] == FIRST:
        first = {"minReplicas": 1, "targetCPUUtilizationPercentage": 80, **spec}
        return {**content, "spec": first, "status": {"currentReplicas": 0, "desiredReplicas": 0}}
    status = {"desiredReplicas": 0, "currentMetrics": None}
    return {**content, "spec": with_defaults(spec), "status": status}
