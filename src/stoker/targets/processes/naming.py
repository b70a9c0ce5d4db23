"""Names as a ReplicaSet makes them: ``{deployment}-{template hash}-{five characters}``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from types import MappingProxyType

from stoker.errors import StokerError
from stoker.resources.workload import Workload
from stoker.targets.base import Engine

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # of k8s.io/apimachinery/pkg/util/rand: no bad words
_NOT_IN_TEMPLATE = ("name", "namespace", "model", "aliases", "replicas", "labels", "origin")


def template_hash(workload: Workload, engine: Engine) -> str:
    """Ten hex digits over all that makes a running replica what it is.

    The engine's command line is part of it: another cold start or another ``--engine`` is another
    template, and a replica of it is replaced rather than adopted.
    """
    plain = {field: getattr(workload, field) for field in workload.__slots__}
    template = {key: value for key, value in plain.items() if key not in _NOT_IN_TEMPLATE}
    try:
        argv = engine.launch(workload, 0, tuple(range(workload.gpus))).argv
    except StokerError:  # told when a replica is started
        argv = ()
    text = json.dumps([engine.name, argv, template], default=_plain, sort_keys=True)
    return sha256(text.encode()).hexdigest()[:10]


def pod_name(deployment: str, template: str) -> str:
    """A new pod's name."""
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(5))
    return f"{deployment}-{template}-{suffix}"


def _plain(value: object) -> object:
    if isinstance(value, Mapping | MappingProxyType):
        return dict(value)
    return asdict(value)  # type: ignore[call-overload]  # a Probe
