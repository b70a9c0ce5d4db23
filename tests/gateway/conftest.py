"""A scripted OpenAI server, a gateway and a client, all real, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from stoker.clock import steady
from stoker.gateway.inbound import Inbound
from stoker.gateway.listen import open_sockets
from stoker.gateway.page import page
from stoker.gateway.plane import Plane
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.report import dump
from stoker.gateway.settings import Limits
from stoker.gateway.stats import ModelStats, Snapshot

# A stream as vLLM sends it: the role, two tokens, the usage, the end.
EVENTS = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    b"data: [DONE]\n\n",
)


Answer = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


class _Dropped(asyncio.CancelledError):
    """Ends a handler whose connection is gone."""


class Engine:
    """A model server that answers as its ``answer`` says; what it saw is in ``requests``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self.answer: Answer = self.default
        self.gate = asyncio.Event()  # a stream waits for it after its first event
        self.gate.set()
        self.cancelled = 0
        self._runner: web.ServerRunner | None = None
        self.port = 0

    @property
    def backend(self) -> EndpointSpec:
        return EndpointSpec(self.name, f"http://127.0.0.1:{self.port}")

    async def start(self) -> None:
        server = web.Server(self._handle, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()  # `read` has a limit of 1 MiB
        self.requests.append((request, body))
        try:
            return await self.answer(request, body)
        except _Dropped:
            raise
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def default(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A chat completion, streamed if that was asked for."""
        if json.loads(body).get("stream"):
            return await self.stream(request)
        await self.gate.wait()
        return web.json_response(
            {
                "choices": [{"message": {"content": self.name}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 7},
            }
        )

    async def drop(self, request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
        """Close the connection without a byte."""
        request.transport.close()
        raise _Dropped

    def write(self, data: bytes) -> Answer:
        """Write bytes to the connection, whatever they are, and close it."""

        async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
            request.transport.write(data)
            return await self.drop(request, body)

        return answer

    def status(self, code: int, **headers: str) -> Answer:
        """Answer *code*."""

        async def answer(_request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
            return web.Response(status=code, text=f"engine says {code}", headers=headers)

        return answer

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
            await self.gate.wait()
        await response.write_eof()
        return response


class Served:
    """A data plane that listens on 127.0.0.1, in this process."""

    def __init__(self, plane: Plane, server: asyncio.AbstractServer, url: str) -> None:
        self.plane = plane
        self.url = url
        self._server = server

    def set_models(self, models: dict[str, list[str]], **settings: object) -> None:
        self.plane.set_models(
            [ModelSettings(name, tuple(aliases), **settings) for name, aliases in models.items()]
        )

    def set_backends(self, model: str, backends: list[EndpointSpec]) -> None:
        self.plane.set_endpoints(model, backends)

    def snapshot(self) -> Snapshot:
        return Snapshot.of([dump(self.plane)])

    def in_flight(self, pod: str) -> int:
        return sum(e.in_flight for (_, name), e in self.snapshot().endpoints.items() if name == pod)

    def held(self, model: str) -> int:
        return self.plane.dispatcher.held(model)

    def stats(self, model: str) -> ModelStats:
        return self.snapshot().stats(model)

    def page(self) -> str:
        return page(self.snapshot())

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def on_held(self) -> Callable[[str], None]:
        return self.plane.on_held

    @on_held.setter
    def on_held(self, callback: Callable[[str], None]) -> None:
        self.plane.on_held = callback

    async def stop(self, grace: float = 30.0) -> None:
        await self.plane.stop(grace)
        self._server.close()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def engine(stack):
    """Start a scripted engine."""

    async def start(name: str = "pod-1") -> Engine:
        made = Engine(name)
        await made.start()
        stack.push_async_callback(made.stop)
        return made

    return start


@pytest.fixture
def gateway(stack):
    """Serve the model `m` with alias `alias`; options are of `ModelSettings` or `Limits`."""

    async def start(*engines: Engine, keys=None, access_log=None, tls=None, **options) -> Served:
        of_limits = {name for name in options if name in Limits.__dataclass_fields__}
        limits = Limits(**{name: options.pop(name) for name in of_limits})
        plane = Plane(
            asyncio.get_running_loop(),
            limits,
            now=steady,
            created=0.0,
            keys=keys,
            access_log=access_log,
        )
        [listening] = open_sockets("127.0.0.1", 0, 1)
        port = listening.getsockname()[1]
        server = await plane.sockets.listen(lambda: Inbound(plane), listening, tls)
        made = Served(plane, server, f"http{'s' if tls else ''}://127.0.0.1:{port}")
        made.set_models({"m": ["alias"]}, **options)
        made.set_backends("m", [engine.backend for engine in engines])
        stack.push_async_callback(made.stop, 0.0)
        return made

    return start


@pytest.fixture
async def client(stack) -> aiohttp.ClientSession:
    return await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))


@pytest.fixture
def post(client):
    """Send a chat request for `m` to a gateway."""

    def send(gateway: Served, path: str = "/v1/chat/completions", headers=None, **body: object):
        body = {"model": "m", "messages": []} | body
        headers = {"Content-Type": "application/json"} | (headers or {})
        data = io.BytesIO(json.dumps(body).encode())
        return asyncio.ensure_future(
            _whole(client.post(gateway.url + path, data=data, headers=headers))
        )

    return send


async def _whole(request) -> tuple[int, bytes, object]:
    async with request as response:
        return response.status, await response.read(), response.headers


@pytest.fixture
def until():
    """Give the sockets the turns that they need for a condition to become true."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - conditions are of many kinds
                await asyncio.sleep(0.002)

    return wait


@pytest.fixture
def events() -> tuple[bytes, ...]:
    return EVENTS
