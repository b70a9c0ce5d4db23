"""Kubernetes' strategic merge of a runtime's pod with what an InferenceService says.

Only lists whose items have a name of their own are merged, by that name; other lists are replaced.
Arguments are an exception that KServe makes: those of the service follow those of the runtime.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
}
_PLACEHOLDER: Final = re.compile(r"\{\{\s*\.(\w+)(?:\.([\w./-]+))?\s*\}\}")


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """*base* with what *patch* says. Null removes a key."""
    result = dict(base)
    for key, value in patch.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = merged(old, value)
        elif isinstance(value, list) and isinstance(old, list) and key in _MERGE_KEYS:
            result[key] = _merged_list(old, value, _MERGE_KEYS[key])
        else:
            result[key] = value
    return result


def _merged_list(base: list[Any], patch: list[Any], name: str) -> list[Any]:
    """Items of the same name are merged in place; new ones stand first, as the API server does."""

    def key(item: Any) -> str | int | None:
        found = item.get(name) if isinstance(item, Mapping) else None
        return found if isinstance(found, str | int) else None

    by_name = {key(item): item for item in patch if key(item) is not None}
    known = {key(item) for item in base} - {None}
    new = [item for item in patch if key(item) not in known]
    kept = [merged(item, by_name[key(item)]) if key(item) in by_name else item for item in base]
    return [*new, *kept]


def merged_container(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A container of a runtime with that of a service. Arguments are put one after the other."""
    result = merged(base, patch)
    first, second = base.get("args") or [], patch.get("args") or []
    if isinstance(first, list) and isinstance(second, list) and (first or second):
        result["args"] = [*first, *second]
    return result


def listed(value: object) -> list[Any]:
    """*value* where it is a list. What is wrong otherwise is told by the reader of the result."""
    return value if isinstance(value, list) else []


def filled(value: Any, metadata: Mapping[str, Any]) -> Any:
    """*value* with ``{{.Name}}``, ``{{.Labels.x}}`` and the like replaced; unknown ones stay."""

    def one(match: re.Match[str]) -> str:
        field, key = match[1], match[2]
        found = metadata.get(field[:1].lower() + field[1:])
        if key is not None:
            found = found.get(key) if isinstance(found, Mapping) else None
        return str(found) if isinstance(found, str) else match[0]

    if isinstance(value, str):
        return _PLACEHOLDER.sub(one, value)
    if isinstance(value, Mapping):
        return {key: filled(item, metadata) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, metadata) for item in value]
    return value
