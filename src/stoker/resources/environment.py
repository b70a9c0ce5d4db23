"""Environment variables of a container: references, ``envFrom`` and ``$(NAME)``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")

Sources = Mapping[tuple[str, str], Mapping[str, str]]  # (Secret or ConfigMap, name) -> its values

# What a pod is told of itself, where one machine has an answer. Its name is not known yet.
_FIELDS = {
    "status.podIP": "127.0.0.1",
    "status.podIPs": "127.0.0.1",
    "status.hostIP": "127.0.0.1",
    "spec.nodeName": "localhost",
}


def expand(text: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` as the kubelet expands it: unknown names stay, ``$$`` is a dollar."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[1] is None else env.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def resolve_env(
    variables: Iterable[Mapping[str, Any]],
    env_from: Iterable[Mapping[str, Any]],
    sources: Sources,
    namespace: str,
) -> dict[str, str]:
    """The variables whose value is known here.

    A reference to a Secret that no file defines is left out, so that the user's own environment can
    provide it.
    """
    env: dict[str, str] = {}
    for item in env_from:
        env.update(_from(item, sources))
    for variable in variables:
        value = _value(variable, sources, namespace)
        if value is not None:
            env[variable["name"]] = expand(value, env)
    return env


def _from(item: Mapping[str, Any], sources: Sources) -> Mapping[str, str]:
    prefix = item.get("prefix") or ""
    for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = item.get(key)
        if isinstance(reference, dict):
            values = sources.get((kind, str(reference.get("name", ""))), {})
            return {prefix + name: value for name, value in values.items()}
    return {}


def _value(variable: Mapping[str, Any], sources: Sources, namespace: str) -> str | None:
    source = variable.get("valueFrom")
    if not isinstance(source, dict):
        return str(variable.get("value") or "")
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = source.get(key)
        if isinstance(reference, dict):
            values = sources.get((kind, str(reference.get("name", ""))), {})
            return values.get(str(reference.get("key", "")))
    field = source.get("fieldRef")
    path = field.get("fieldPath") if isinstance(field, dict) else None
    return namespace if path == "metadata.namespace" else _FIELDS.get(str(path))


def source_values(content: Mapping[str, Any]) -> dict[str, str]:
    """The values of a Secret or a ConfigMap document; binary ones are left out."""
    values = {}
    for name, value in _mapping(content.get("data")).items():
        if content.get("kind") != "Secret":
            values[name] = str(value)
            continue
        try:
            values[name] = base64.b64decode(str(value), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    values.update({name: str(v) for name, v in _mapping(content.get("stringData")).items()})
    return values


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
