"""The file of ``stoker gateway --endpoints``: models, where they are served, and their limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stoker.errors import InputError, InputErrors, Place
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.resources.document import Origin
from stoker.resources.loading import load_documents
from stoker.resources.quantity import parse_duration, parse_quantity
from stoker.resources.validation import Model, validate

_QUEUE = ModelSettings("")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return text
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f"must be http://HOST:PORT, https://HOST or unix:/PATH, not {text!r}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must not have a user, `?` or `#`")
    return text.rstrip("/")


def _seconds(value: str | float) -> float:
    if isinstance(value, int | float):
        return float(value)
    try:
        return parse_duration(value)
    except InputError as error:
        raise ValueError(f"must be a duration: {error.message}") from None


def _bytes(value: str | int) -> int:
    try:
        return int(parse_quantity(value))
    except InputError as error:
        raise ValueError(f"must be a number of bytes: {error.message}") from None


def _name(text: str) -> str:
    if not re.fullmatch(r"[^\s\"`]{1,256}", text):
        raise ValueError("must be a name without blanks")
    return text


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float | int | str, AfterValidator(_seconds)]
Bytes = Annotated[int | str, AfterValidator(_bytes)]
Url = Annotated[str, AfterValidator(_url)]
Limit = Annotated[int, Field(ge=1)]


class EndpointEntry(Model):
    """An item of ``endpoints`` that says more than its address."""

    url: Url
    weight: Annotated[float | int, Field(gt=0)] = 1.0
    limit: Limit | None = None


class QueueEntry(Model):
    """``queue``: what may wait."""

    requests: Annotated[int, Field(ge=0)] = _QUEUE.queue_requests
    bytes: Bytes = _QUEUE.queue_bytes


class ModelEntry(Model):
    """An item of ``models``."""

    name: Name
    aliases: list[Name] = Field(default_factory=list)
    endpoints: list[Url | EndpointEntry] = Field(default_factory=list)
    limit: Limit | None = None
    queue: QueueEntry = Field(default_factory=QueueEntry)
    hold: Seconds = 300.0
    slow_start: Seconds = _QUEUE.slow_start


class EndpointsFile(Model):
    """The file."""

    models: Annotated[list[ModelEntry], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Served:
    """What a file asks for: the models, and the endpoints of each."""

    models: tuple[ModelSettings, ...]
    endpoints: dict[str, tuple[EndpointSpec, ...]]


def read_endpoints(path: Path) -> Served:
    """What the file *path* asks for.

    Raises:
        InputErrors: it cannot be read, or something in it is wrong.
    """
    documents, errors = load_documents([str(path)])
    if errors:
        raise InputErrors(list(errors))
    if len(documents) != 1:
        message = f"there must be one document, not {len(documents)}"
        raise InputErrors([InputError(message, place=Place(str(path)))])
    origin = Origin(documents[0])
    found, problems = validate(EndpointsFile, documents[0].value, origin)
    if found is None:
        raise InputErrors(list(problems))
    _refuse_double_names(found, origin)
    return Served(
        tuple(_settings(entry) for entry in found.models),
        {entry.name: tuple(_endpoints(entry)) for entry in found.models},
    )


def _settings(entry: ModelEntry) -> ModelSettings:
    return ModelSettings(
        entry.name,
        tuple(entry.aliases),
        limit=entry.limit,
        queue_requests=entry.queue.requests,
        queue_bytes=_int(entry.queue.bytes),
        hold=float(entry.hold),
        slow_start=float(entry.slow_start),
    )


def _endpoints(entry: ModelEntry) -> list[EndpointSpec]:
    found: dict[str, EndpointSpec] = {}
    for endpoint in entry.endpoints:
        if isinstance(endpoint, str):
            found[endpoint] = EndpointSpec(endpoint, endpoint)
        else:
            found[endpoint.url] = EndpointSpec(
                endpoint.url, endpoint.url, weight=float(endpoint.weight), limit=endpoint.limit
            )
    return list(found.values())


def _int(value: Any) -> int:
    return int(value)


def _refuse_double_names(found: EndpointsFile, origin: Origin) -> None:
    seen: dict[str, str] = {}
    errors: list[InputError] = []
    for index, entry in enumerate(found.models):
        named: list[tuple[str, tuple[str | int, ...]]] = [(entry.name, ("models", index, "name"))]
        named += [
            (alias, ("models", index, "aliases", number))
            for number, alias in enumerate(entry.aliases)
        ]
        for name, path in named:
            if name in seen:
                message = f"`{origin.name(path)}`: {name} is the name of `{seen[name]}`, too"
                errors.append(InputError(message, place=origin.place(path)))
            seen.setdefault(name, origin.name(path))
    if errors:
        raise InputErrors(errors)
