"""The order in which the API server looks at an object that is to be created.

Decoding, unknown fields, defaults, validation. ``Strict`` is what kubectl asks for; without it
unknown fields are dropped with a warning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from stoker.resources.admission import autoscaling, autoscalingrules, objectmeta, structural
from stoker.resources.admission.structural import Cause, Rule, Schema

CREATED, BAD_REQUEST, INVALID = 201, 400, 422
_KEDA = "keda.sh/v1alpha1"
# kind -> the schema that it has, and whether it lives in a namespace
_CUSTOM: dict[str, tuple[str, bool]] = {
    "ScaledObject": ("ScaledObject", True),
    "TriggerAuthentication": ("TriggerAuthentication", True),
    "ClusterTriggerAuthentication": ("TriggerAuthentication", False),
}
KINDS = frozenset({*_CUSTOM, autoscaling.KIND})
_DEFAULT_MAX_REPLICAS = 100


def _bounds(spec: Mapping[str, Any]) -> bool:
    """``!has(self.minReplicaCount) || self.minReplicaCount <= (has(self.maxReplicaCount) ...``."""
    least, most = spec.get("minReplicaCount"), spec.get("maxReplicaCount", _DEFAULT_MAX_REPLICAS)
    return least is None or least <= most


_RULES: Mapping[str, Rule] = {
    "minReplicaCount must be less than or equal to maxReplicaCount": _bounds,
}


@dataclass(frozen=True, slots=True)
class Admission:
    """A verdict. ``code`` is the HTTP status, ``stored`` the object, None when it is refused."""

    code: int
    message: str = ""
    causes: tuple[Cause, ...] = ()
    warnings: tuple[str, ...] = ()
    stored: dict[str, Any] | None = None

    @property
    def allowed(self) -> bool:
        """Whether the object is created."""
        return self.code == CREATED


def admit(
    manifest: Mapping[str, Any],
    *,
    kind: str,
    namespace: str,
    strict: bool,
    duplicates: tuple[str, ...] = (),
    kubernetes_version: str = autoscalingrules.DEFAULT_KUBERNETES,
) -> Admission:
    """What the API server says when *manifest* is created as a *kind* in *namespace*.

    Args:
        manifest: the object as plain data.
        kind: what the request's path says: one of :data:`KINDS`.
        namespace: what the request's path says.
        strict: ``fieldValidation=Strict``, else ``Warn``.
        duplicates: keys that the YAML gives twice, in the server's words.
        kubernetes_version: of the server.
    """
    content = deepcopy(dict(manifest))
    if kind == autoscaling.KIND:
        return _admit_autoscaler(content, namespace, duplicates, kubernetes_version, strict=strict)
    content = structural.whole_numbers(content)
    schema, namespaced = _schema(_CUSTOM[kind][0]), _CUSTOM[kind][1]
    early = _undecodable(content, kind) or _wrong_namespace(
        content, namespace, namespaced=namespaced
    )
    if early is not None:
        return early
    unknown = [*duplicates, *(f'unknown field "{path}"' for path in _prune(content, schema))]
    if strict and unknown:
        return _strict_refusal(content, kind, unknown)
    structural.default(content, schema)
    meta = content.setdefault("metadata", {})
    found = list(objectmeta.validate_metadata(meta))
    if content.get("kind") != kind:
        message = f'Invalid value: "{content.get("kind")}": must be {kind}'
        return Admission(INVALID, causes=(Cause("kind", "FieldValueInvalid", message),))
    found += structural.validate(content, schema)
    found += structural.check_rules(content, schema, _RULES, found)
    warnings = tuple(unknown)
    if found:
        return Admission(INVALID, causes=tuple(found), warnings=warnings)
    _settle_namespace(meta, namespace, namespaced=namespaced)
    return Admission(CREATED, warnings=warnings, stored=content)


def _undecodable(content: Mapping[str, Any], kind: str) -> Admission | None:
    version, named = content.get("apiVersion"), content.get("kind")
    if not isinstance(version or "", str) or not isinstance(named or "", str):
        return Admission(BAD_REQUEST, "json: cannot unmarshal into Go struct field of type string")
    if not named:
        return Admission(BAD_REQUEST, "Object 'Kind' is missing")
    if (version or "") != _KEDA:
        message = (
            f"the API version in the data ({version or ''}) does not match the expected API "
            f"version ({_KEDA})"
        )
        return Admission(BAD_REQUEST, message)
    problem = objectmeta.malformed(content.get("metadata"))
    if problem is not None:
        head = f'{kind} in version "v1alpha1" cannot be handled as a {kind}: '
        return Admission(BAD_REQUEST, head + problem)
    return None


def _wrong_namespace(
    content: Mapping[str, Any], namespace: str, *, namespaced: bool = True
) -> Admission | None:
    named = (content.get("metadata") or {}).get("namespace")
    if not namespaced or not named or named == namespace:
        return None
    message = (
        "the namespace of the provided object does not match the namespace sent on the request"
    )
    return Admission(BAD_REQUEST, message)


def _settle_namespace(meta: dict[str, Any], namespace: str, *, namespaced: bool) -> None:
    if namespaced:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)


def _strict_refusal(content: Mapping[str, Any], kind: str, unknown: list[str]) -> Admission:
    version = str(content.get("apiVersion", "")).rsplit("/", 1)[-1]
    message = (
        f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: '
        + ", ".join(unknown)
    )
    return Admission(BAD_REQUEST, message)


def _prune(content: dict[str, Any], schema: Schema) -> list[str]:
    """Unknown fields, those of ``metadata`` too, taken out."""
    meta = content.get("metadata")
    content.pop("status", None)  # of a subresource: dropped without a word
    unknown = list(structural.prune({k: v for k, v in content.items() if k != "metadata"}, schema))
    for path in unknown:
        if "." not in path and "[" not in path:
            del content[path]
    if isinstance(meta, dict):
        for key in [key for key in meta if key not in objectmeta.FIELDS]:
            del meta[key]
            unknown.append(f"metadata.{key}")
        for key in [key for key, value in meta.items() if value is None]:
            del meta[key]
    elif "metadata" in content:
        del content["metadata"]  # null
    return unknown


def _admit_autoscaler(
    content: dict[str, Any],
    namespace: str,
    duplicates: tuple[str, ...],
    kubernetes_version: str,
    *,
    strict: bool,
) -> Admission:
    decoded = autoscaling.decode(content)
    if isinstance(decoded, str):
        return Admission(BAD_REQUEST, decoded)
    wrong = _wrong_namespace(content, namespace)
    if wrong is not None:
        return wrong
    unknown = [*duplicates, *(f'unknown field "{path}"' for path in decoded)]
    if strict and unknown:
        return _strict_refusal(content, autoscaling.KIND, unknown)
    meta = content.setdefault("metadata", {})
    found = [
        *objectmeta.validate_metadata(meta),
        *autoscalingrules.validate(content, kubernetes_version),
    ]
    if found:
        return Admission(INVALID, causes=tuple(found), warnings=tuple(unknown))
    meta["namespace"] = namespace
    return Admission(CREATED, warnings=tuple(unknown), stored=autoscaling.stored(content))


@cache
def _schema(name: str) -> Schema:
    text = (files("stoker.resources.admission") / "keda.json").read_text(encoding="utf-8")
    schema: Schema = json.loads(text)[name]
    return schema
