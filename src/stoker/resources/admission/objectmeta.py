"""``metadata``: decoding and validation as for every object.

*Source*: ``k8s.io/apimachinery/pkg/api/validation/objectmeta.go`` and ``util/validation``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stoker.resources.admission.structural import Cause

_TEXTS = {
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion",
    "creationTimestamp", "deletionTimestamp",
}  # fmt: skip
_MAPS = {"labels", "annotations"}
_NUMBERS = {"generation", "deletionGracePeriodSeconds"}
_LISTS = {"ownerReferences", "finalizers", "managedFields"}
FIELDS = frozenset({*_TEXTS, *_MAPS, *_NUMBERS, *_LISTS})

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_MAX_ANNOTATIONS = 256 * 1024  # bytes of all keys and values
_MAX_NAME, _MAX_PART = 253, 63


_KINDS: dict[str, type] = {
    **dict.fromkeys(_TEXTS, str), **dict.fromkeys(_MAPS, dict), **dict.fromkeys(_NUMBERS, int),
    **dict.fromkeys(_LISTS, list),
}  # fmt: skip


def malformed(meta: Any) -> str | None:
    """Why *meta* cannot be decoded, None when it can."""
    if meta is None:
        return None
    if not isinstance(meta, dict):
        return f"json: cannot unmarshal {_go(meta)} into Go struct field .metadata of ObjectMeta"
    for key, value in meta.items():
        kind = _KINDS.get(key, object)
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            return _mismatch(key, value, kind)
        if isinstance(value, dict) and key in _MAPS:
            for item in value.values():
                if not isinstance(item, str | None):
                    return _mismatch(key, item, str)
    return None


def _mismatch(key: str, value: object, kind: type) -> str:
    go = {str: "string", dict: "map[string]string", int: "int64", list: "[]string"}[kind]
    found = _go(value)
    return f"json: cannot unmarshal {found} into Go struct field ObjectMeta.metadata.{key} of {go}"


def _go(value: object) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def validate_metadata(meta: dict[str, Any]) -> Iterator[Cause]:
    """What is wrong with a decoded *meta*."""
    name, generate = meta.get("name") or "", meta.get("generateName") or ""
    if not name and not generate:
        message = "Required value: name or generateName is required"
        yield Cause("metadata.name", "FieldValueRequired", message)
    for problem in subdomain_problems(name) if name else ():
        yield _invalid("metadata.name", name, problem)
    for problem in subdomain_problems(generate.rstrip("-") + "x") if generate else ():
        yield _invalid("metadata.generateName", generate, problem)
    yield from _labels(meta.get("labels") or {})
    yield from _annotations(meta.get("annotations") or {})
    for finalizer in meta.get("finalizers") or ():
        for problem in _qualified_problems(str(finalizer)):
            yield _invalid("metadata.finalizers", finalizer, problem)


def _labels(labels: dict[str, str | None]) -> Iterator[Cause]:
    for key, value in labels.items():
        for problem in _qualified_problems(key):
            yield _invalid("metadata.labels", key, problem)
        for problem in label_value_problems(value or ""):
            yield _invalid("metadata.labels", value, problem)


def _annotations(annotations: dict[str, str | None]) -> Iterator[Cause]:
    for key in annotations:
        for problem in _qualified_problems(key.lower()):
            yield _invalid("metadata.annotations", key, problem)
    size = sum(len(k.encode()) + len((v or "").encode()) for k, v in annotations.items())
    if size > _MAX_ANNOTATIONS:
        message = f"Too long: may not be more than {_MAX_ANNOTATIONS} bytes"
        yield Cause("metadata.annotations", "FieldValueTooLong", message)


def subdomain_problems(name: str) -> Iterator[str]:
    """Why *name* is no RFC 1123 subdomain."""
    if len(name) > _MAX_NAME:
        yield f"must be no more than {_MAX_NAME} bytes"
    if not _SUBDOMAIN.fullmatch(name):
        yield (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character"
        )


def label_value_problems(value: str) -> Iterator[str]:
    """Why *value* cannot be a label's."""
    if len(value) > _MAX_PART:
        yield f"must be no more than {_MAX_PART} bytes"
    if not _LABEL_VALUE.fullmatch(value):
        yield (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character"
        )


def _qualified_problems(name: str) -> Iterator[str]:
    parts = name.split("/")
    if len(parts) > 2:
        yield "a qualified name must consist of a name with an optional DNS subdomain prefix"
        return
    if len(parts) == 2:
        if not parts[0]:
            yield "prefix part must be non-empty"
        else:
            yield from (f"prefix part {text}" for text in subdomain_problems(parts[0]))
    last = parts[-1]
    if not last:
        yield "name part must be non-empty"
    elif len(last) > _MAX_PART:
        yield f"name part must be no more than {_MAX_PART} bytes"
    if not _NAME_PART.fullmatch(last):
        yield (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
            "and end with an alphanumeric character"
        )


def _invalid(field: str, value: object, problem: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f'Invalid value: "{value}": {problem}')
