"""The control API: what `get`, `describe`, `logs`, `top`, `explain`, `scale` and `pause` talk to.

HTTP with JSON on 127.0.0.1, with a token. A watch answers with a line of JSON for each change, with
a BOOKMARK after the objects that were there at the start, and with an empty line now and then, so
that a dead connection is noticed.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

import stoker
from stoker.api.changes import Changes
from stoker.api.kinds import SCALED_OBJECT, Kind, ServerError, resolve
from stoker.api.views import Overview
from stoker.errors import ConflictError, MachineError, NotFoundError, StokerError
from stoker.tick import Tick

JsonObject = dict[str, Any]
HEARTBEAT = 15.0  # seconds between empty lines of a quiet watch
COALESCE = 0.1  # seconds; what changes together is told together
DEFAULT_TICKS = 20
SHUTDOWN_TIMEOUT = 0.5  # watches end with the run, they are not waited for


class Backend(Protocol):
    """What the control API is a view of. Its methods run on the event loop and return at once."""

    @property
    def changes(self) -> Changes:
        """Notified whenever an object may look different."""
        ...

    def objects(self, kind: Kind) -> list[JsonObject]:
        """All objects of *kind* in Kubernetes form, in any order."""
        ...

    def ticks(self, name: str) -> list[Tick]:
        """The last ticks of a ScaledObject, the newest last. NotFoundError: no such object."""
        ...

    def overview(self) -> Overview:
        """The state of the whole run."""
        ...

    def logs(
        self, pod: str, *, follow: bool, tail: int | None, previous: bool
    ) -> AsyncIterator[bytes]:
        """The output of a replica; *tail* None is all of it. NotFoundError: no such pod."""
        ...

    async def scale(self, kind: Kind, name: str, replicas: int) -> JsonObject:
        """Set the replicas of a Deployment; the object as it is then."""
        ...

    async def annotate(
        self, kind: Kind, name: str, annotations: Mapping[str, str | None]
    ) -> JsonObject:
        """Set annotations, or remove those that are None; the object as it is then."""
        ...


_BACKEND = web.AppKey("backend", Backend)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_app(backend: Backend, token: str) -> web.Application:
    """The control API over *backend*, for those who know *token*."""
    app = web.Application(middlewares=[_authenticated(token), _told])
    app[_BACKEND] = backend
    app.router.add_get("/objects/{kind}", _list)
    app.router.add_get("/objects/{kind}/{name}", _get)
    app.router.add_get("/ticks/{name}", _ticks)
    app.router.add_get("/overview", _overview)
    app.router.add_get("/logs/{pod}", _logs)
    app.router.add_post("/scale", _scale)
    app.router.add_post("/annotate", _annotate)
    app.router.add_get("/version", _version)
    return app


@dataclass(frozen=True, slots=True)
class ControlServer:
    """A control API that listens."""

    url: str
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop. Watches and followed logs end."""
        await self.runner.cleanup()


async def serve_control(backend: Backend, token: str, port: int = 0) -> ControlServer:
    """Listen on 127.0.0.1, on a free port unless one is named."""
    runner = web.AppRunner(
        control_app(backend, token),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        await runner.cleanup()
        why = os.strerror(error.errno or 0)
        raise ConflictError(f"the control API cannot listen on 127.0.0.1:{port}: {why}") from error
    return ControlServer(f"http://127.0.0.1:{runner.addresses[0][1]}", runner)


def _authenticated(token: str) -> Any:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            return _status("Unauthorized", 401, "Unauthorized")
        return await handler(request)

    return check


@web.middleware
async def _told(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer Stoker's errors in the form of a Kubernetes Status."""
    try:
        return await handler(request)
    except ServerError as error:
        return _status(error.reason, error.code, error.message, error.hint)
    except StokerError as error:
        reason, code = _code(error)
        return _status(reason, code, error.message, error.hint)
    except web.HTTPNotFound:
        return _status("NotFound", 404, "the server could not find the requested resource")


def _code(error: StokerError) -> tuple[str, int]:
    match error:
        case NotFoundError():
            return "NotFound", 404
        case ConflictError():
            return "Conflict", 409
        case MachineError():
            return "InternalError", 500
        case _:
            return "BadRequest", 400


def _status(reason: str, code: int, message: str, hint: str | None = None) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": message,
        "hint": hint,
    }
    return web.json_response(body, status=code)


async def _list(request: web.Request) -> web.StreamResponse:
    kind = resolve(request.match_info["kind"])
    backend = request.app[_BACKEND]
    if "watch" in request.query:
        return await _stream(request, _object_changes(backend, kind, None))
    return web.json_response({"kind": "List", "items": _sorted(backend.objects(kind))})


async def _get(request: web.Request) -> web.StreamResponse:
    kind, name = resolve(request.match_info["kind"]), request.match_info["name"]
    backend = request.app[_BACKEND]
    for found in backend.objects(kind):
        if found["metadata"]["name"] == name:
            if "watch" in request.query:
                return await _stream(request, _object_changes(backend, kind, name))
            return web.json_response(found)
    raise kind.not_found(name)


async def _ticks(request: web.Request) -> web.Response:
    name, limit = request.match_info["name"], _integer(request, "limit", DEFAULT_TICKS)
    backend = request.app[_BACKEND]
    try:
        ticks = backend.ticks(name)
    except NotFoundError:
        raise SCALED_OBJECT.not_found(name) from None
    newest = ticks[-limit:] if limit else []
    return web.json_response({"items": [tick.to_dict() for tick in newest]})


async def _overview(request: web.Request) -> web.StreamResponse:
    backend = request.app[_BACKEND]
    if "watch" in request.query:
        return await _stream(request, _overviews(backend))
    return web.json_response(backend.overview())


async def _logs(request: web.Request) -> web.StreamResponse:
    tail = _integer(request, "tail", -1)
    chunks = request.app[_BACKEND].logs(
        request.match_info["pod"],
        follow="follow" in request.query,
        tail=None if tail < 0 else tail,
        previous="previous" in request.query,
    )
    # The first chunk is taken before the headers go out, so that "not found" can still be a 404.
    first = await anext(chunks, None)
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    if first is not None:
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
    await response.write_eof()
    return response


async def _scale(request: web.Request) -> web.Response:
    body = await _body(request)
    kind, name, replicas = resolve(str(body.get("kind"))), body.get("name"), body.get("replicas")
    if not isinstance(name, str) or not isinstance(replicas, int) or isinstance(replicas, bool):
        raise ServerError("name and replicas are needed", reason="BadRequest")
    if replicas < 0:
        raise ServerError("replicas must be at least 0", reason="BadRequest")
    try:
        scaled = await request.app[_BACKEND].scale(kind, name, replicas)
    except NotFoundError:
        raise kind.not_found(name) from None
    return web.json_response(scaled)


async def _annotate(request: web.Request) -> web.Response:
    body = await _body(request)
    kind, name = resolve(str(body.get("kind"))), body.get("name")
    annotations = body.get("annotations")
    if not isinstance(name, str) or not isinstance(annotations, dict):
        raise ServerError("name and annotations are needed", reason="BadRequest")
    if not all(value is None or isinstance(value, str) for value in annotations.values()):
        raise ServerError("annotations are strings, or null to remove", reason="BadRequest")
    try:
        annotated = await request.app[_BACKEND].annotate(kind, name, annotations)
    except NotFoundError:
        raise kind.not_found(name) from None
    return web.json_response(annotated)


async def _version(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp passes it
    return web.json_response({"version": stoker.__version__})


async def _body(request: web.Request) -> JsonObject:
    try:
        body = await request.json()
    except ValueError:
        raise ServerError("the body is not JSON", reason="BadRequest") from None
    if not isinstance(body, dict):
        raise ServerError("the body is not a JSON object", reason="BadRequest")
    return body


def _integer(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise ServerError(f"{name}={text} is not a number", reason="BadRequest") from None


def _sorted(objects: list[JsonObject]) -> list[JsonObject]:
    def key(found: JsonObject) -> tuple[str, str]:
        return found["metadata"].get("namespace", ""), found["metadata"]["name"]

    return sorted(objects, key=key)


async def _object_changes(
    backend: Backend, kind: Kind, name: str | None
) -> AsyncGenerator[JsonObject]:
    """What is there now as ADDED, a BOOKMARK, then the difference at each change."""
    known: dict[str, JsonObject] = {}
    bookmark: JsonObject = {"type": "BOOKMARK", "object": {"kind": kind.kind}}
    first = True
    while True:
        version = backend.changes.version
        found = [o for o in backend.objects(kind) if name in (None, o["metadata"]["name"])]
        now = {o["metadata"]["uid"]: o for o in _sorted(found)}
        for uid in known.keys() - now.keys():
            yield {"type": "DELETED", "object": known[uid]}
        for uid, found_object in now.items():
            if uid not in known:
                yield {"type": "ADDED", "object": found_object}
            elif known[uid] != found_object:
                yield {"type": "MODIFIED", "object": found_object}
        if first:
            yield bookmark
            first = False
        known = now
        await backend.changes.after(version)
        await asyncio.sleep(COALESCE)


async def _overviews(backend: Backend) -> AsyncGenerator[JsonObject]:
    while True:
        version = backend.changes.version
        yield dict(backend.overview())
        await backend.changes.after(version)
        await asyncio.sleep(COALESCE)


async def _stream(request: web.Request, items: AsyncGenerator[JsonObject]) -> web.StreamResponse:
    """Send each item as a line; an empty line when nothing happens for a while."""
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    await response.prepare(request)
    coming = asyncio.create_task(items.__anext__())
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT)
            if not done:
                await response.write(b"\n")
                continue
            line = json.dumps(coming.result(), separators=(",", ":"))
            await response.write(line.encode() + b"\n")
            coming = asyncio.create_task(items.__anext__())
    finally:
        coming.cancel()
