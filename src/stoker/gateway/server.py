"""The gateway: the seam to the rest, and the paths that it answers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version

import aiohttp
from aiohttp import web

from stoker.clock import Clock
from stoker.errors import ConflictError
from stoker.gateway import openai
from stoker.gateway.dispatch import Backend, Dispatcher, Ticket
from stoker.gateway.forward import REQUEST_ID, Arrival, Forwarder, request_id
from stoker.gateway.openai import Refusal
from stoker.gateway.page import page
from stoker.gateway.stats import CLIENT_GONE, ModelStats, Stats

_MIB = 1 << 20
_PARSE_IN_THREAD = _MIB  # json.loads takes about 5 ms a MiB, in which nothing else would move
_CONNECT_TIMEOUT = 5.0
# uvicorn, and so vLLM, closes an idle connection after 5 s. One that is used at that moment fails.
_KEEP_ALIVE = 4.0
_CUT_OFF = 0.05  # after the grace; aiohttp takes 0 for "no limit"


class Gateway:
    """One OpenAI endpoint for all models.

    A request for a model without a ready replica waits up to *hold_timeout* seconds, at most
    *queue_limit* of them and *queue_bytes* of their bodies a model. *on_held* is called with the
    model when one begins to wait because no replica is ready. There is no limit to the length of a
    stream, only to the silence in it: *idle_timeout* seconds.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        hold_timeout: float = 600.0,
        queue_limit: int = 1000,
        queue_bytes: int = 64 * _MIB,
        max_body: int = 64 * _MIB,
        idle_timeout: float = 600.0,
    ) -> None:
        self._clock = clock
        self._host = host
        self._port = port
        self._hold_timeout = hold_timeout
        self._max_body = max_body
        self._idle_timeout = idle_timeout
        self._dispatcher = Dispatcher(
            queue_limit=queue_limit, queue_bytes=queue_bytes, hold_timeout=hold_timeout
        )
        self._stats = Stats()
        self._started_at = clock.now()
        self._open = 0
        self._idle = asyncio.Event()
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._forwarder: Forwarder | None = None

    # -- the seam --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises:
            ConflictError: the port is taken.
        """
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=self._idle_timeout
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._forwarder = Forwarder(self._session, self._dispatcher, self._clock)
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=_CUT_OFF)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self._close()
            why = os.strerror(error.errno or 0)  # asyncio's own text says the address twice
            raise ConflictError(
                f"the gateway cannot listen on {self._host}:{self._port}: {why}",
                hint="choose another port with `--gateway-port`",
            ) from None

    async def stop(self, grace: float = 30.0) -> None:
        """Refuse new requests and those that wait, let the others finish for *grace* seconds."""
        self._stopping = True
        self._dispatcher.close()
        if self._open:
            self._idle.clear()
            try:
                async with asyncio.timeout(grace):
                    await self._idle.wait()
            except TimeoutError:
                pass  # what is not finished now is cut off
        await self._close()

    @property
    def port(self) -> int:
        """The port that it listens on; after `start` the real one if 0 was asked for."""
        if self._runner is not None and self._runner.addresses:
            return int(self._runner.addresses[0][1])
        return self._port

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://{self._host}:{self.port}"

    @property
    def on_held(self) -> Callable[[str], None]:
        """Called with the model when a request begins to wait because no replica is ready."""
        return self._dispatcher.on_held

    @on_held.setter
    def on_held(self, callback: Callable[[str], None]) -> None:
        self._dispatcher.on_held = callback

    def set_models(self, models: Mapping[str, Sequence[str]]) -> None:
        """The models that exist, even at zero replicas, each with its aliases."""
        self._dispatcher.set_models(models)
        for name in models:
            self._stats[name]  # the counter exists from now on, so that rate() sees a first request

    def set_backends(self, model: str, backends: Sequence[Backend]) -> None:
        """The replicas of *model* that are ready and not terminating.

        Those that wait leave in the order in which they came.
        """
        self._dispatcher.set_backends(model, backends)
        self._stats[model]

    def in_flight(self, pod: str) -> int:
        """Requests that were sent to the pod and are not finished."""
        return self._dispatcher.in_flight(pod)

    def held(self, model: str) -> int:
        """Requests that wait for a replica of *model*."""
        return self._dispatcher.held(model)

    def stats(self, model: str) -> ModelStats:
        """The traffic of *model* now."""
        return self._stats.snapshot(model, held=self._dispatcher.held(model), now=self._clock.now())

    def page(self) -> str:
        """What ``/metrics`` shows."""
        return page(self._stats, self._dispatcher)

    # -- requests --------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._open += 1
        try:
            if self._stopping:
                return self._refused(request, Refusal.stopping())
            if request.path in openai.INFERENCE_PATHS:
                return await self._infer(request)
            return self._answer(request)
        except Refusal as refusal:
            return self._refused(request, refusal)
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    def _answer(self, request: web.BaseRequest) -> web.Response:
        """What the gateway knows itself."""
        path = request.path.rstrip("/")
        if path.startswith("/v1/models/"):
            answer: Callable[[], web.Response] = partial(
                self._model, path.removeprefix("/v1/models/")
            )
        elif path == "/v1/models":
            answer = self._models
        elif path == "/health":
            answer = web.Response
        elif path == "/version":
            answer = partial(_json, {"version": version("stoker")})
        elif path == "/metrics":
            answer = self._metrics
        else:
            message = f"No such path: {request.method} {request.path}."
            raise Refusal(404, "invalid_request_error", message, code="not_found")
        if request.method not in {"GET", "HEAD"}:
            raise _not_allowed(request, "GET")
        return answer()

    def _models(self) -> web.Response:
        cards = [self._card(name) for name in self._dispatcher.models]
        return _json({"object": "list", "data": cards})

    def _model(self, name: str) -> web.Response:
        model = self._dispatcher.resolve(name)
        if model is None:
            raise Refusal.unknown_model(name, self._dispatcher.models)
        return _json(self._card(model))

    def _card(self, name: str) -> dict[str, object]:
        return openai.model_card(
            name,
            aliases=self._dispatcher.aliases(name),
            ready=len(self._dispatcher.backends(name)),
            created=self._started_at,
        )

    def _metrics(self) -> web.Response:
        return web.Response(
            body=self.page().encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _infer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            raise _not_allowed(request, "POST")
        try:
            body = await self._read(request)
            model = await self._model_of(body)
        except Refusal as refusal:
            if refusal.code == "model_not_found":
                self._stats.unknown_model += 1
            else:
                self._stats.bad_requests += 1
            raise
        return await self._forward(model, Arrival(request, body, self._clock.now()))

    async def _forward(self, model: str, arrival: Arrival) -> web.StreamResponse:
        counters = self._stats[model]
        counters.incoming += 1
        deadline = asyncio.get_running_loop().time() + self._hold_timeout
        ticket = Ticket(model, len(arrival.body), deadline)
        if self._forwarder is None:
            raise Refusal.stopping()
        code = 500
        try:
            response = await self._forwarder.forward(arrival, ticket, counters)
            code = response.status
        except Refusal as refusal:
            code = refusal.status
            raise
        except (asyncio.CancelledError, ConnectionError):
            code = CLIENT_GONE
            raise asyncio.CancelledError from None  # what aiohttp ends a request with, unlogged
        finally:
            counters.by_code[code] += 1
            counters.duration.observe(self._clock.now() - arrival.at)
        return response

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The body, as long as it is not too long."""
        length = request.content_length
        if length is not None and length > self._max_body:
            raise self._too_large()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = bytearray()
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > self._max_body:
                raise self._too_large()
        return bytes(body)

    async def _model_of(self, body: bytes) -> str:
        if len(body) > _PARSE_IN_THREAD:
            name = await asyncio.to_thread(openai.model_of, body)
        else:
            name = openai.model_of(body)
        models = self._dispatcher.models
        if name is None:
            if len(models) != 1:
                known = ", ".join(f"`{model}`" for model in sorted(models)) or "none"
                message = f"`model` is missing. Models here: {known}."
                raise Refusal.bad_request(message, param="model")
            return models[0]  # as vLLM, which has one
        model = self._dispatcher.resolve(name)
        if model is None:
            raise Refusal.unknown_model(name, models)
        return model

    def _too_large(self) -> Refusal:
        message = f"The body is longer than {self._max_body} bytes."
        return Refusal(413, "invalid_request_error", message, code="request_too_large")

    def _refused(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        headers = {"Content-Type": "application/json", REQUEST_ID: request_id(request)}
        if refusal.retry_after is not None:
            headers["Retry-After"] = str(refusal.retry_after)
        if refusal.status == 405:
            headers["Allow"] = refusal.param or ""
        response = web.Response(status=refusal.status, body=refusal.body(), headers=headers)
        if self._stopping or refusal.status == 413:
            response.force_close()
        return response

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        self._runner = self._session = self._forwarder = None


def _json(answer: object) -> web.Response:
    return web.Response(
        body=json.dumps(answer).encode(), headers={"Content-Type": "application/json"}
    )


def _not_allowed(request: web.BaseRequest, allowed: str) -> Refusal:
    message = f"{request.path} takes {allowed}, not {request.method}."
    return Refusal(405, "invalid_request_error", message, code="method_not_allowed", param=allowed)
