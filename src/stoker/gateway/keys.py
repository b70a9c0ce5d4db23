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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stoker.errors import InputError
from stoker.gateway.openai import Refusal
from stoker.gateway.policy import Priority

_log = logging.getLogger(__name__)
_LOOK_EVERY = 1.0
_BURST = 10.0  # seconds' worth of requests that may come at once, at least one
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


@dataclass(slots=True)
class Sender:
    """The holder of one API key, and what runs of theirs. ``None`` limits nothing."""

    name: str
    requests_per_minute: float | None = None
    concurrency: int | None = None
    models: frozenset[str] | None = None
    priority: Priority = Priority.NORMAL
    admin: bool = False
    running: int = 0
    _allowed: float = 0.0
    _counted_at: float | None = None

    def begin(self, now: float, share: float) -> None:
        """Count one request in; *share* is this process's part of the limits.

        Raises:
            Refusal: it is one too many.
        """
        limit = None if self.concurrency is None else max(1, round(self.concurrency * share))
        if limit is not None and self.running >= limit:
            message = f"{self.concurrency} requests of this API key are running already."
            raise Refusal(429, "rate_limit_error", message, code="concurrency_limit", retry_after=1)
        if self.requests_per_minute is not None:
            rate = self.requests_per_minute * share / 60
            most = max(1.0, rate * _BURST)
            since = 0.0 if self._counted_at is None else now - self._counted_at
            self._allowed = (
                most if self._counted_at is None else min(most, self._allowed + rate * since)
            )
            self._counted_at = now
            if self._allowed < 1:
                wait = max(1, round((1 - self._allowed) / rate))
                message = f"This API key may send {self.requests_per_minute:g} requests a minute."
                raise Refusal(429, "rate_limit_error", message, code="rate_limit", retry_after=wait)
            self._allowed -= 1
        self.running += 1

    def take_over(self, old: Sender) -> None:
        """Go on where *old*, of an earlier reading of the file, was."""
        self._allowed, self._counted_at = old._allowed, old._counted_at


class Keys:
    """The keys of one file, read again when it changes."""

    def __init__(self, path: Path, *, share: float = 1.0) -> None:
        self._path = path
        self.share = share
        self._senders = read_keys(path)
        self._stamp = _stamp(path)
        self._looked_at = 0.0

    def sender(self, token: bytes) -> Sender:
        """Who sends *token*.

        Raises:
            Refusal: it is nobody's.
        """
        found = self._senders.get(hashlib.sha256(token).digest()) if token else None
        if found is None:
            what = "The API key is not valid." if token else "There is no API key in the request."
            message = f"{what} Send it as `Authorization: Bearer KEY`."
            raise Refusal(401, "invalid_request_error", message, code="invalid_api_key")
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
                sender.take_over(self._senders[digest])
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
