"""What a request wants: a page of the gateway's own, or a model, by its path and its body."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from stoker.gateway import openai
from stoker.gateway.exchange import Exchange
from stoker.gateway.keys import bearer
from stoker.gateway.openai import Refusal
from stoker.gateway.page import page
from stoker.gateway.policy import Priority, fingerprint
from stoker.gateway.report import dump
from stoker.gateway.stats import Snapshot

if TYPE_CHECKING:
    from stoker.gateway.plane import Plane

_JSON_PATHS = frozenset(path.encode() for path in openai.INFERENCE_PATHS)
_FORM_PATHS = frozenset(path.encode() for path in openai.FORM_PATHS)
_ENGINES = b"/engines/"
_PAGES = frozenset({b"/v1/models", b"/health", b"/version", b"/metrics"})
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_PROMETHEUS_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class Intake:
    """Finds out what requests want; those for a model go on to `Plane.arrive`."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._run = os.urandom(6).hex().encode()
        self._numbers = count(1)

    def take(self, exchange: Exchange) -> None:
        """Answer *exchange* or send it on its way.

        Raises:
            Refusal: it is not what can be answered.
        """
        asked = exchange.asked
        exchange.request_id = asked.request_id or b"%b-%x" % (self._run, next(self._numbers))
        path = asked.bare
        if path in _JSON_PATHS:
            self._json(exchange)
        elif path in _FORM_PATHS:
            self._form(exchange)
        elif path.startswith(_ENGINES):
            self._engine(exchange, path)
        else:
            self._own(exchange, path)

    # -- for a model -----------------------------------------------------------------------------

    def _json(self, exchange: Exchange) -> None:
        _only(exchange, b"POST")
        self._admit(exchange)
        plane = self._plane
        limit = plane.limits.max_body
        try:
            encoding = b"" if exchange.asked.plain else exchange.read.get(b"content-encoding")
            if encoding:
                exchange.body = openai.decompress(exchange.body, encoding, limit)
            envelope = openai.read_json(exchange.body, prefix=plane.prefix_affinity)
            model = self._resolve(envelope.model)
        except Refusal as refusal:
            self._count(refusal)
            raise
        exchange.stream = envelope.stream
        if envelope.priority:
            exchange.priority = envelope.priority
        if envelope.prefix:
            exchange.affinity = fingerprint(envelope.prefix)
        self._send(exchange, model)

    def _form(self, exchange: Exchange) -> None:
        _only(exchange, b"POST")
        self._admit(exchange)
        try:
            envelope = openai.read_form(exchange.body, exchange.read.get(b"content-type", b""))
            model = self._resolve(envelope.model)
        except Refusal as refusal:
            self._count(refusal)
            raise
        exchange.stream = envelope.stream
        self._send(exchange, model)

    def _engine(self, exchange: Exchange, path: bytes) -> None:
        """``/engines/MODEL/PATH``: any path of the engine. Names of models may have slashes."""
        self._admit(exchange)
        raw = path.removeprefix(_ENGINES)
        cuts = [index for index, letter in enumerate(raw) if letter == ord("/")] + [len(raw)]
        known = ((_plain(raw[:cut]), raw[cut:]) for cut in reversed(cuts))
        resolve = self._plane.dispatcher.resolve
        name, rest = next(((n, rest) for n, rest in known if resolve(n)), (None, b""))
        model = None if name is None else resolve(name)
        if model is None:
            first = _plain(raw.partition(b"/")[0])
            refusal = Refusal.unknown_model(first, self._plane.dispatcher.models)
            self._count(refusal)
            raise refusal
        target = _plain(rest) or "/"
        admin = exchange.sender is not None and exchange.sender.admin
        if openai.is_administration(target) and not admin:
            message = f"{target} administers the engine; it takes an API key with `admin: true`."
            raise Refusal(403, "invalid_request_error", message, code="administration")
        exchange.path = (rest or b"/") + exchange.path[len(path) :]
        self._send(exchange, model)

    def _admit(self, exchange: Exchange) -> None:
        """Ask for the API key, and whether its holder may send one more."""
        keys = self._plane.keys
        if keys is None:
            # Whoever shares a key shares its turns in the queue; it is the engine that knows it.
            if not exchange.asked.plain and b"authorization" in exchange.read:
                exchange.key = exchange.read[b"authorization"].decode("latin-1")
            return
        try:
            sender = keys.sender(bearer(exchange.read))
        except Refusal:
            self._plane.count("unauthorized")
            raise
        sender.begin(exchange.began)
        exchange.sender = sender
        exchange.sender_name = exchange.key = sender.name
        exchange.priority = sender.priority

    def _send(self, exchange: Exchange, model: str) -> None:
        plane = self._plane
        sender = exchange.sender
        if sender is not None and sender.models is not None and model not in sender.models:
            allowed = [name for name in plane.dispatcher.models if name in sender.models]
            raise Refusal.unknown_model(model, allowed)
        counters = plane.counters[model]
        counters.incoming += 1
        exchange.model = model
        exchange.counters = counters
        exchange.size = len(exchange.body)
        asked = exchange.asked
        plain = False  # unpacked
        if not asked.plain:
            self._heed(exchange, asked.read)
            plain = b"content-encoding" in asked.read and asked.bare in _JSON_PATHS
        passed = asked.passed_on(exchange.path, keyed=plane.keys is not None, plain=plain)
        exchange.head = b"%b%b\r\nContent-Length: %d\r\n" % (
            passed,
            exchange.request_id,
            exchange.size,
        )
        plane.arrive(exchange)

    def _heed(self, exchange: Exchange, read: dict[bytes, bytes]) -> None:
        """What a client asks for in headers."""
        if b"x-stoker-priority" in read:
            exchange.priority = max(exchange.priority, _priority(read[b"x-stoker-priority"]))
        if b"x-request-timeout" in read:
            exchange.deadline = exchange.began + _timeout(read[b"x-request-timeout"])
        if self._plane.session_header in read:
            exchange.affinity = fingerprint(read[self._plane.session_header])

    def _resolve(self, name: str | None) -> str:
        dispatcher = self._plane.dispatcher
        if name is None:
            models = dispatcher.models
            if len(models) == 1:
                return models[0]  # as vLLM, which has one
            known = ", ".join(f"`{model}`" for model in sorted(models)) or "none"
            message = f"`model` is missing. Models here: {known}."
            raise Refusal.bad_request(message, param="model")
        model = dispatcher.resolve(name)
        if model is None:
            raise Refusal.unknown_model(name, dispatcher.models)
        return model

    def _count(self, refusal: Refusal) -> None:
        unknown = refusal.code == "model_not_found"
        self._plane.count("unknown_model" if unknown else "bad_requests")

    # -- the gateway's own pages -----------------------------------------------------------------

    def _own(self, exchange: Exchange, path: bytes) -> None:
        plane = self._plane
        path = path.rstrip(b"/")
        one = path.startswith(b"/v1/models/")
        if not one and path not in _PAGES:
            shown = path.decode("latin-1") or "/"
            message = f"No such path: {exchange.method.decode()} {shown}."
            raise Refusal(404, "invalid_request_error", message, code="not_found")
        _only(exchange, b"GET", b"HEAD")
        if path.startswith(b"/v1/models"):
            if plane.keys is not None:
                self._admit(exchange)
            plane.respond(exchange, orjson.dumps(self._models(exchange, path)))
        elif path == b"/health":
            if plane.stopping:
                message = "The gateway is stopping."
                raise Refusal(503, "service_unavailable", message, code="stopping")
            plane.respond(exchange, b"")
        elif path == b"/version":
            plane.respond(exchange, orjson.dumps({"version": _version()}))
        elif plane.page is not None:
            plane.respond_later(exchange, plane.page)
        else:
            text = page(Snapshot.of([dump(plane)]))
            plane.respond(exchange, text.encode(), _PROMETHEUS_TEXT)

    def _models(self, exchange: Exchange, path: bytes) -> dict[str, Any]:
        sender = exchange.sender
        allowed = [
            name
            for name in self._plane.dispatcher.models
            if sender is None or sender.models is None or name in sender.models
        ]
        if path == b"/v1/models":
            return {"object": "list", "data": [self._card(name) for name in allowed]}
        name = unquote(path.removeprefix(b"/v1/models/").decode("ascii"))
        model = self._plane.dispatcher.resolve(name)
        if model is None or model not in allowed:
            raise Refusal.unknown_model(name, allowed)
        return self._card(model)

    def _card(self, name: str) -> dict[str, Any]:
        dispatcher = self._plane.dispatcher
        return openai.model_card(
            name,
            aliases=dispatcher.settings(name).aliases,
            ready=dispatcher.ready(name),
            waits=dispatcher.held(name) > 0,
            created=self._plane.created,
        )


def _plain(path: bytes) -> str:
    return unquote(path.decode("latin-1"))


def _only(exchange: Exchange, *methods: bytes) -> None:
    if exchange.method not in methods:
        allowed = b", ".join(methods).decode()
        message = (
            f"{exchange.path.partition(b'?')[0].decode('latin-1')} takes {allowed}, "
            f"not {exchange.method.decode()}."
        )
        raise Refusal(
            405, "invalid_request_error", message, code="method_not_allowed", param=allowed
        )


def _priority(value: bytes) -> Priority:
    word = value.strip().lower()
    if word in {b"low", b"normal"}:
        return Priority.LOW if word == b"low" else Priority.NORMAL
    message = "`X-Stoker-Priority` must be `normal` or `low`."
    raise Refusal.bad_request(message, param="X-Stoker-Priority")


def _timeout(value: bytes) -> float:
    match = _SECONDS.fullmatch(value.decode("latin-1").strip())
    seconds = float(match.group(1)) * _UNITS[match.group(2)] if match else 0.0
    if seconds <= 0:
        message = "`X-Request-Timeout` must be a time above 0, such as `30`, `30s` or `500ms`."
        raise Refusal.bad_request(message, param="X-Request-Timeout")
    return seconds


@lru_cache(maxsize=1)
def _version() -> str:
    return version("stoker")
