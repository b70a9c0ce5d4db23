"""Structural schemas of custom resources: pruning, defaulting and validation.

*Source*: ``k8s.io/apiextensions-apiserver`` (``pruning``, ``defaulting``) and
``k8s.io/kube-openapi/pkg/validation/validate`` of Kubernetes 1.36, and recorded answers of its API
server. A schema is the mapping that a CRD holds as ``openAPIV3Schema``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

Schema = Mapping[str, Any]
_INT32: Final = 2**31
_INT64: Final = 2**63
_EMPTY: Schema = {}
_BLOCKED = (
    "some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation"
)
_BLOCKING = {
    "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany",
    "FieldValueTypeInvalid",
}  # fmt: skip


class Cause(NamedTuple):
    """One reason of a refusal, as in ``details.causes`` of a Status."""

    field: str  # spec.triggers[0].type; <nil> where the server names none
    reason: str  # FieldValueRequired ...
    message: str


def prune(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Take unknown fields out of *value*, in place, and name them."""
    if isinstance(value, dict):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return
        properties, others = schema.get("properties", _EMPTY), schema.get("additionalProperties")
        for key in list(value):
            inner = f"{path}.{key}" if path else key
            if key in properties:
                yield from prune(value[key], properties[key], inner)
            elif others:
                yield from prune(value[key], others if isinstance(others, dict) else _EMPTY, inner)
            else:
                del value[key]
                yield inner
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from prune(item, schema.get("items", _EMPTY), f"{path}[{index}]")


def default(value: Any, schema: Schema) -> None:
    """Fill in defaults, in place. A null where none is allowed counts as absent."""
    if isinstance(value, dict):
        properties, others = schema.get("properties", _EMPTY), schema.get("additionalProperties")
        for key in list(value):
            inner = properties.get(key, others)
            if not isinstance(inner, dict):
                continue
            if value[key] is None and not inner.get("nullable"):
                del value[key]
            else:
                default(value[key], inner)
        for key, inner in properties.items():
            if key not in value and "default" in inner:
                value[key] = inner["default"]
    elif isinstance(value, list):
        for item in value:
            default(item, schema.get("items", _EMPTY))


def whole_numbers(value: Any) -> Any:
    """*value* with ``1000.0`` as 1000: JSON has one kind of number, and so has the server."""
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _INT64:
        return int(value)
    return value


def validate(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """What is wrong with *value*, beyond its rules in CEL."""
    wrong_type = _wrong_type(value, schema, path)
    if wrong_type is not None:
        yield wrong_type
    if "enum" in schema and value not in schema["enum"]:
        names = ", ".join(f'"{name}"' for name in schema["enum"])
        message = f"Unsupported value: {_shown(value)}: supported values: {names}"
        yield Cause(path, "FieldValueNotSupported", message)
    match value:
        case bool() | None:
            return
        case dict():
            yield from _mapping(value, schema, path)
        case list():
            yield from _list(value, schema, path)
        case str():
            yield from _string(value, schema, path)
        case int() | float():
            yield from _number(value, schema, path)


def _wrong_type(value: Any, schema: Schema, path: str) -> Cause | None:
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return None
        wanted = "integer,string"
    else:
        wanted = schema.get("type", "")
        if not wanted or _is(value, wanted):
            return None
    found = _kind(value)
    named = schema.get("format") if wanted == "integer" else None
    message = (
        f'Invalid value: "{found}": {path} in body must be of type {named or wanted}: "{found}"'
    )
    return Cause(path, "FieldValueTypeInvalid", message)


def _is(value: Any, wanted: str) -> bool:
    if wanted == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds: dict[str, type] = {"string": str, "boolean": bool, "object": dict, "array": list}
    return isinstance(value, kinds.get(wanted, object))


_KINDS: dict[type, str] = {
    type(None): "null", bool: "boolean", int: "integer", float: "float64", str: "string",
    list: "array",
}  # fmt: skip


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "object")


def _mapping(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    properties, others = schema.get("properties", _EMPTY), schema.get("additionalProperties")
    for key in schema.get("required", ()):
        if key not in value:
            yield Cause(f"{path}.{key}" if path else key, "FieldValueRequired", "Required value")
    for key, item in value.items():
        inner = properties.get(key, others)
        if isinstance(inner, dict):
            yield from validate(item, inner, f"{path}.{key}" if path else key)


def _list(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        yield _limit(path, len(value), f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield Cause(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most}")
    for index, item in enumerate(value):
        yield from validate(item, schema.get("items", _EMPTY), f"{path}[{index}]")


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    least, most = schema.get("minLength"), schema.get("maxLength")
    if least is not None and len(value) < least:
        yield _limit(path, f'"{value}"', f"should be at least {least} chars long")
    if most is not None and len(value) > most:
        yield Cause(path, "FieldValueTooLong", f"Too long: may not be more than {most} bytes")
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(pattern, value):
        yield _limit(path, f'"{value}"', f"should match '{pattern}'")


def _number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and value < least:
        yield _limit(path, value, f"should be greater than or equal to {least}")
    if most is not None and value > most:
        yield _limit(path, value, f"should be less than or equal to {most}")
    bits = {"int32": _INT32, "int64": _INT64}.get(schema.get("format", ""))
    if bits and not (isinstance(value, int) and -bits <= value < bits):
        kind = f"type integer with format {schema['format']}"
        message = f'Invalid value: "": Checked value must be of {kind} in {path}'
        yield Cause("<nil>", "FieldValueInvalid", message)


def _limit(path: str, value: object, rest: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {value}: {path} in body {rest}")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value}"


Rule = Callable[[Mapping[str, Any]], bool]
"""A validation rule in CEL, by hand: whether the object that has it satisfies it."""


def check_rules(
    value: Any, schema: Schema, rules: Mapping[str, Rule], found: list[Cause]
) -> Iterator[Cause]:
    """The CEL *rules* (by their messages) of *schema* on *value*.

    The server asks none where *found* holds something that would make them fail to run, and says
    so.
    """
    places = list(_rule_places(value, schema, ""))
    if not _has_rules(schema):
        return
    if any(cause.reason in _BLOCKING for cause in found):
        yield Cause("<nil>", "FieldValueInvalid", f"Invalid value: null: {_BLOCKED}")
        return
    for path, node, messages in places:
        for message in messages:
            if not rules[message](node):
                yield Cause(path, "FieldValueInvalid", f"Invalid value: {message}")


def _has_rules(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    inner = [*schema.get("properties", _EMPTY).values(), schema.get("items")]
    return "rules" in schema or any(map(_has_rules, [*inner, schema.get("additionalProperties")]))


def _rule_places(value: Any, schema: Schema, path: str) -> Iterator[tuple[str, Any, list[str]]]:
    if "rules" in schema and isinstance(value, dict):
        yield path, value, schema["rules"]
    if isinstance(value, dict):
        for key, item in value.items():
            inner = schema.get("properties", _EMPTY).get(key)
            if isinstance(inner, dict):
                yield from _rule_places(item, inner, f"{path}.{key}" if path else key)
