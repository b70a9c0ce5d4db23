"""API keys: who may send, how much, and to which models.

The file is YAML, or a Kubernetes Secret with a key a name. Only digests stay in memory. Looking up
the digest of what a client sent tells nothing about the keys by its time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stoker.errors import InputError
from stoker.gateway.openai import Refusal
from stoker.gateway.policy import Priority
from stoker.gateway.shared.table import Cell, Row

_log = logging.getLogger(__name__)
_LOOK_EVERY = 1.0
_BURST = 10.0  # seconds' worth of requests that may come at once, at least one
_ROUNDING = 1e-6  # of a request
_RUNNING, _FULL_AT = range(2)  # of a key's cell in the table of all processes
_NS = 1e9
_FIELDS = {
    "admin",
    "concurrency",
    "key",
    "models",
    "name",
    "priority",
    "requestsPerMinute",
    "sha256",
}


class Usage:
    """What runs of one API key, and how much of its rate is used up: in all gateway processes."""

    __slots__ = ("_cell", "_full_at", "_running")

    def __init__(self) -> None:
        self._running = 0
        self._full_at = 0.0
        self._cell: Cell | None = None  # None: there is one process

    @property
    def running(self) -> int:
        """Requests that run."""
        return self._running + (self._cell.others(_RUNNING) if self._cell else 0)

    @property
    def full_at(self) -> float:
        """When the bucket of its rate is full again; it is the latest that any process says."""
        return (
            max(self._full_at, self._cell.highest(_FULL_AT) / _NS) if self._cell else self._full_at
        )

    @full_at.setter
    def full_at(self, at: float) -> None:
        self._full_at = at
        if self._cell:
            self._cell.put(_FULL_AT, round(at * _NS))

    @property
    def is_shared(self) -> bool:
        """Whether other processes see it."""
        return self._cell is not None

    def share(self, cell: Cell) -> None:
        """Let other processes see it from now on."""
        self._cell = cell
        cell.put(_RUNNING, self._running)
        cell.put(_FULL_AT, round(self._full_at * _NS))

    def add(self, requests: int) -> None:
        """So many more run, or fewer."""
        self._running += requests
        if self._cell:
            self._cell.put(_RUNNING, self._running)


@dataclass(slots=True)
class Sender:
    """The holder of one API key, and what runs of theirs. ``None`` limits nothing."""

    name: str
    requests_per_minute: float | None = None
    concurrency: int | None = None
    models: frozenset[str] | None = None
    priority: Priority = Priority.NORMAL
    admin: bool = False
    usage: Usage = field(default_factory=Usage)

    def begin(self, now: float) -> None:
        """Count one request in.

        Raises:
            Refusal: it is one too many.
        """
        usage = self.usage
        if self.concurrency is not None and usage.running >= self.concurrency:
            message = f"{self.concurrency} requests of this API key are running already."
            raise Refusal(429, "rate_limit_error", message, code="concurrency_limit", retry_after=1)
        if self.requests_per_minute is not None:
            gap = 60 / self.requests_per_minute
            most = max(1.0, _BURST / gap)
            full_at = max(usage.full_at, now)
            allowed = most - (full_at - now) / gap
            if allowed < 1 - _ROUNDING:
                wait = max(1, round((1 - allowed) * gap))
                message = f"This API key may send {self.requests_per_minute:g} requests a minute."
                raise Refusal(429, "rate_limit_error", message, code="rate_limit", retry_after=wait)
            usage.full_at = full_at + gap
        usage.add(1)

    def end(self) -> None:
        """Count one request out."""
        self.usage.add(-1)

    @property
    def is_limited(self) -> bool:
        """Whether it matters what other processes have of it."""
        return self.concurrency is not None or self.requests_per_minute is not None


class Keys:
    """The keys of one file, read again when it changes.

    Attributes:
        row: What this gateway process has in hand, for the others; None: there are no others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._senders = read_keys(path)
        self._stamp = _stamp(path)
        self._looked_at = 0.0
        self.row: Row | None = None

    def sender(self, token: bytes) -> Sender:
        """Who sends *token*.

        Raises:
            Refusal: it is nobody's.
        """
        digest = hashlib.sha256(token).digest()
        found = self._senders.get(digest) if token else None
        if found is None:
            what = "The API key is not valid." if token else "There is no API key in the request."
            message = f"{what} Send it as `Authorization: Bearer KEY`."
            raise Refusal(401, "invalid_request_error", message, code="invalid_api_key")
        if self.row is not None and found.is_limited and not found.usage.is_shared:
            found.usage.share(self.row.cell("key", digest.hex()))
        return found

    def reload_if_changed(self, now: float) -> None:
        """Look at the file, at most once a second. A file that is not right changes nothing."""
        if now - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = now
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            senders = read_keys(self._path)
        except InputError as error:
            _log.warning("the API keys stay as they were: %s", error)
            return
        for digest, sender in senders.items():
            if digest in self._senders:
                sender.usage = self._senders[digest].usage  # the old limits' requests still run
        self._senders = senders


def bearer(read: Mapping[bytes, bytes]) -> bytes:
    """The API key among the headers: Bearer, or X-Api-Key as Anthropic's clients send it."""
    scheme, _, token = read.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return read.get(b"x-api-key", b"").strip()


def read_keys(path: Path) -> dict[bytes, Sender]:
    """The senders of a file of keys, by the digest of their key.

    Raises:
        InputError: the file cannot be read or is not what it should be.
    """
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the API keys: {error}") from None
    if isinstance(document, dict) and document.get("kind") == "Secret":
        entries = _secret_entries(document, path)
    elif isinstance(document, dict) and isinstance(document.get("keys"), list):
        entries = document["keys"]
    else:
        raise InputError(
            f"{path}: there is no list `keys`",
            hint="write `keys: [{name: team-a, key: sk-...}]`, or a Secret with a key a name",
        )
    senders: dict[bytes, Sender] = {}
    for number, entry in enumerate(entries):
        digest, sender = _read_entry(entry, f"{path}: `keys[{number}]`")
        if digest in senders:
            raise InputError(f"{path}: `keys[{number}]` is the key of another entry, too")
        senders[digest] = sender
    return senders


def _read_entry(entry: Any, where: str) -> tuple[bytes, Sender]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InputError(f"{where} needs a `name`")
    if unknown := sorted(set(map(str, entry)) - _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise InputError(f"{where}: `{unknown[0]}` is not known", hint=f"known: {known}")
    models = entry.get("models")
    if models is not None and not isinstance(models, list):
        raise InputError(f"{where}: `models` must be a list of names")
    priority = entry.get("priority", "normal")
    if priority not in {"normal", "low"}:
        raise InputError(f"{where}: `priority` is {priority!r}, must be normal or low")
    return _digest(entry, where), Sender(
        entry["name"],
        requests_per_minute=_number(entry, "requestsPerMinute", where),
        concurrency=None if (n := _number(entry, "concurrency", where)) is None else int(n),
        models=None if models is None else frozenset(map(str, models)),
        priority=Priority.LOW if priority == "low" else Priority.NORMAL,
        admin=entry.get("admin") is True,
    )


def _digest(entry: Mapping[str, Any], where: str) -> bytes:
    key, digest = entry.get("key"), entry.get("sha256")
    if (key is None) == (digest is None):
        raise InputError(f"{where} needs either `key` or `sha256`")
    if key is not None:
        if not isinstance(key, str) or not key:
            raise InputError(f"{where}: `key` must be a text that is not empty")
        return hashlib.sha256(key.encode()).digest()
    try:
        raw = bytes.fromhex(str(digest))
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise InputError(
            f"{where}: `sha256` must be 64 hexadecimal digits",
            hint='printf %s "$KEY" | sha256sum',
        )
    return raw


def _number(entry: Mapping[str, Any], field: str, where: str) -> float | None:
    value = entry.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise InputError(f"{where}: `{field}` is {value!r}, must be a number above 0")
    return float(value)


def _secret_entries(document: Mapping[str, Any], path: Path) -> list[dict[str, str]]:
    try:
        decoded = {
            name: base64.b64decode(str(value), validate=True).decode()
            for name, value in (document.get("data") or {}).items()
        }
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InputError(f"{path}: `data` of the Secret is not base64") from None
    plain = {name: str(value) for name, value in (document.get("stringData") or {}).items()}
    return [{"name": str(name), "key": value.strip()} for name, value in (decoded | plain).items()]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
