"""PodMonitor, ServiceMonitor and Service documents: what they say about scraping, with places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stoker.errors import InputError, Place
from stoker.metrics.monitors import Monitor, ServiceFacts, read_monitor
from stoker.resources.document import Manifest, Path

MONITORS: Final = ("PodMonitor", "ServiceMonitor")
# Readers of scraping know no places: their errors name the field, in backquotes, from `spec` on.
_FIELD = re.compile(r"`(spec(?:\.\w+|\[\d+\])*)`")
_PART = re.compile(r"(\w+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class PlacedMonitor:
    """A monitor and where it stands."""

    monitor: Monitor
    origin: Place

    def __str__(self) -> str:
        return f"{self.monitor.kind} {self.monitor.name}"


def read_placed_monitor(manifest: Manifest, namespace: str) -> PlacedMonitor:
    """A document of kind PodMonitor or ServiceMonitor. Raises InputError with its place.

    Args:
        manifest: the object.
        namespace: of an object that names none.
    """
    try:
        monitor = read_monitor(manifest.content, namespace=namespace)
    except InputError as error:
        found = _FIELD.search(error.message)
        place = manifest.place(*_path(found[1])) if found else manifest.place()
        raise InputError(error.message, hint=error.hint, place=place) from None
    return PlacedMonitor(monitor, manifest.place())


def _path(dotted: str) -> Path:
    return tuple(part[1] or int(part[2]) for part in _PART.finditer(dotted))


def read_service(manifest: Manifest, namespace: str) -> ServiceFacts:
    """A document of kind Service. Raises InputError with its place."""
    metadata = _mapping(manifest, "metadata")
    ports: dict[str, int | str] = {}
    listed = _mapping(manifest, "spec").get("ports") or []
    if not isinstance(listed, list):
        raise InputError("`spec.ports` must be a list", place=manifest.place("spec", "ports"))
    for index, entry in enumerate(listed):
        number = entry.get("port") if isinstance(entry, Mapping) else None
        if not isinstance(number, int):
            place = manifest.place("spec", "ports", index)
            raise InputError(f"`spec.ports[{index}]` has no number as `port`", place=place)
        target = entry.get("targetPort")
        ports[str(entry.get("name") or "")] = target if isinstance(target, str | int) else number
    return ServiceFacts(
        manifest.name,
        str(metadata.get("namespace") or namespace),
        ports,
        _texts(manifest, "spec", "selector"),
        _texts(manifest, "metadata", "labels"),
    )


def _mapping(manifest: Manifest, *path: str) -> Mapping[str, object]:
    value: object = manifest.content
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        message = f"`{'.'.join(path)}` must be a mapping"
        raise InputError(message, place=manifest.place(*path))
    return value


def _texts(manifest: Manifest, *path: str) -> dict[str, str]:
    return {str(name): str(text) for name, text in _mapping(manifest, *path).items()}
