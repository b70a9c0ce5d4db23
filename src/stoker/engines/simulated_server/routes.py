"""The HTTP server: vLLM's routes over :class:`Batching`."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, web

from stoker.clock import Clock
from stoker.engines.metrics_page import MetricsPage
from stoker.engines.simulated_server.answers import VERSION, Answer, Chunks
from stoker.engines.simulated_server.api import ApiError, read_job
from stoker.engines.simulated_server.batching import Batching
from stoker.engines.simulated_server.options import Options
from stoker.engines.simulated_server.sinks import Stream, Whole
from stoker.simulator.engine import Request

log = logging.getLogger("vllm")

_MAX_BODY_BYTES = 64 * 1024 * 1024
_QUIET = frozenset({"/health", "/metrics", "/load", "/ping", "/version"})  # not logged, not counted
_BUSY = "The engine is currently busy. Please try again later."
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The application. ``draining`` makes it refuse new requests and stay healthy."""

    def __init__(
        self, options: Options, batching: Batching, metrics: MetricsPage, clock: Clock
    ) -> None:
        self.draining = False
        self._options = options
        self._batching = batching
        self._metrics = metrics
        self._clock = clock
        self._started = int(clock.now())

    def application(self) -> web.Application:
        """The routes, with errors, accounting and the access log around them."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[self._account])
        app.router.add_get("/health", self._empty)
        app.router.add_route("*", "/ping", self._empty)
        app.router.add_get("/version", self._version)
        app.router.add_get("/load", self._load)
        app.router.add_get("/metrics", self._metrics_page)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        return app

    @web.middleware
    async def _account(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _QUIET:
            return await self._answer(request, handler)
        began = self._clock.now()
        response = await self._answer(request, handler)
        now = self._clock.now()
        route = request.match_info.route.resource
        self._metrics.answered(
            "none" if route is None else route.canonical,
            request.method,
            response.status,
            now - began,
            now,
        )
        log.info('%s - "%s %s" %d', request.remote, request.method, request.path, response.status)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._authorize(request)
            return await handler(request)
        except ApiError as error:
            return web.json_response(error.body(), status=error.status)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return web.json_response(
                ApiError(error.status, error.reason).body(), status=error.status
            )

    def _authorize(self, request: web.Request) -> None:
        key = self._options.api_key
        if key is None or not request.path.startswith("/v1"):
            return
        if request.headers.get("Authorization") != f"Bearer {key}":
            raise web.HTTPUnauthorized

    async def _empty(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _load(self, _: web.Request) -> web.Response:
        load = self._batching.in_flight if self._options.track_load else 0
        return web.json_response({"server_load": load})

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.text().encode(),
            headers={"Content-Type": "text/plain; version=1.0.0; charset=utf-8"},
        )

    async def _models(self, _: web.Request) -> web.Response:
        cards: list[dict[str, Any]] = [
            {
                "id": name,
                "object": "model",
                "created": self._started,
                "owned_by": "vllm",
                "root": self._options.model,
                "parent": None,
                "max_model_len": self._options.limits.max_model_len,
                "permission": [],
            }
            for name in self._options.served_names
        ]
        return web.json_response({"object": "list", "data": cards})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        job = read_job(await request.read(), self._options, chat=chat)
        self._admit()
        name = request.headers.get("X-Request-Id") or uuid.uuid4().hex[:16]
        answer = Answer(job, f"{'chatcmpl' if chat else 'cmpl'}-{name}", int(self._clock.now()))
        # Two clients may send the same X-Request-Id: the engine needs a name of its own.
        model_request = Request(
            uuid.uuid4().hex,
            job.prompt_tokens,
            job.max_tokens,
            job.natural_tokens,
            job.prefix_hashes,
        )
        try:
            if job.stream:
                return await self._stream(request, answer, model_request)
            sink = Whole(asyncio.get_running_loop().create_future())
            self._batching.submit(model_request, sink)
            end = await sink.ended
            return _json(answer.whole(end.output_tokens, end.reason))
        except asyncio.CancelledError:  # the client has gone
            self._batching.cancel(model_request.id)
            raise

    def _admit(self) -> None:
        if self.draining:
            raise ApiError(503, _BUSY)
        most = self._options.max_num_queued_reqs
        if most is not None and self._batching.engine.waiting >= most:
            self._metrics.rejected("max_num_queued_reqs")
            raise ApiError(503, _BUSY)

    async def _stream(
        self, request: web.Request, answer: Answer, model_request: Request
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8"},
        )
        framed = request.version >= HttpVersion11
        if framed:
            response.enable_chunked_encoding()
        # This sends the headers at once, as vLLM does: the first token may be minutes away.
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            raise asyncio.CancelledError  # the client went while the headers were made
        ended = asyncio.get_running_loop().create_future()
        sink = Stream(ended, Chunks(answer), transport, framed=framed)
        self._batching.submit(model_request, sink)
        await ended
        await response.write_eof()
        return response


def _json(value: Any) -> web.Response:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return web.Response(body=body, content_type="application/json")
