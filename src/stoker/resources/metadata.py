"""``metadata`` of Kubernetes objects: names and labels as the API server accepts them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from stoker.resources.validation import Model

_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def object_name(value: str) -> str:
    """Refuse what the API server refuses as a name."""
    if len(value) > 253 or not _DNS_SUBDOMAIN.fullmatch(value):
        raise ValueError(
            f"must be lower-case letters, digits, `-` and `.`, and begin and end with a letter or "
            f'digit, not "{value}"'
        )
    return value


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if (
        not _LABEL.fullmatch(name)
        or len(name) > 63
        or (slash and not _DNS_SUBDOMAIN.fullmatch(prefix))
    ):
        raise ValueError(f'has a key that is not a label\'s name: "{key}"')
    return key


def _label_value(value: str) -> str:
    if len(value) > 63 or (value and not _LABEL.fullmatch(value)):
        raise ValueError(
            f"must be at most 63 letters, digits, `-`, `_` and `.`, and begin and end with a "
            f'letter or digit, not "{value}"'
        )
    return value


Labels = dict[
    Annotated[str, AfterValidator(_label_key)], Annotated[str, AfterValidator(_label_value)]
]
Name = Annotated[str, AfterValidator(object_name)]


class ObjectMeta(Model):
    """The fields of ``metadata`` that mean something here, and those that a server adds."""

    name: Name
    namespace: Name | None = None
    labels: Labels | None = None
    annotations: dict[str, str] | None = None
    generate_name: Any = None
    finalizers: Any = None
    owner_references: Any = None
    creation_timestamp: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    uid: Any = None
    resource_version: Any = None
    generation: Any = None
    managed_fields: Any = None
    self_link: Any = None
