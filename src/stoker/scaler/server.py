"""The service on its ports: gRPC with health and reflection, and a page of metrics."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from stoker.clock import Clock
from stoker.errors import ConflictError
from stoker.protocols.externalscaler import SERVICE, handler
from stoker.scaler.page import metrics_page
from stoker.scaler.service import ScalerService
from stoker.transport.grpc_server import GrpcServer
from stoker.transport.tls import TlsFiles

FIRST_READ: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class ScalerOptions:
    """Flags of `stoker scaler`. Durations are in seconds; *metrics_port* None is no page."""

    host: str = "127.0.0.1"
    port: int = 9091
    metrics_port: int | None = None
    interval: float = 5.0
    max_age: float = 30.0
    grace: float = 5.0
    tls: TlsFiles | None = None


class ScalerServer:
    """Samples and serves. :meth:`start` it, and :meth:`stop` it."""

    def __init__(self, service: ScalerService, options: ScalerOptions, clock: Clock) -> None:
        self.service = service
        self.options = options
        self.port = options.port
        self.metrics_port = options.metrics_port
        self._clock = clock
        self._health: Any = None
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, and serve when every source was read once, or :data:`FIRST_READ` has passed.

        Raises ConflictError, InputError, MachineError.
        """
        samplers = self.service.samplers.values()
        try:
            server = GrpcServer(
                [handler(self.service)],
                host=self.options.host,
                port=self.options.port,
                tls=self.options.tls,
                max_message_bytes=2**20,
                register=self._register,
            )
            await server.start(what="the external scaler", flag="--port")
            self.port = server.port
            self._stack.push_async_callback(server.stop, self.options.grace)
            if self.options.metrics_port is not None:
                self.metrics_port = await self._serve_page(self.options.metrics_port)
        except BaseException:
            await self._stack.aclose()
            raise
        first = [asyncio.create_task(one.sample(self._clock.now())) for one in samplers]
        _, late = await asyncio.wait(first, timeout=FIRST_READ)
        for task in late:
            task.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        self._tasks = [
            asyncio.create_task(sampler.run(self._clock, self.options.interval))
            for sampler in samplers
        ]
        await self._say(serving=True)

    async def stop(self) -> None:
        """Say that it ends, let streams end and calls finish, and give everything back."""
        await self._say(serving=False)
        self.service.end_streams()
        await self._stack.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sampler in self.service.samplers.values():
            await sampler.close()

    async def failed(self) -> None:
        """Wait for what must not happen: the end of a sampler. Raises what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _register(self, server: Any) -> None:
        """The health service and reflection, as `grpcurl` and probes of Kubernetes ask them."""
        from grpc_health.v1 import health, health_pb2_grpc  # noqa: PLC0415 - an extra
        from grpc_reflection.v1alpha import reflection  # noqa: PLC0415

        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)

    async def _say(self, *, serving: bool) -> None:
        from grpc_health.v1 import health_pb2  # noqa: PLC0415

        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

    async def _serve_page(self, port: int) -> int:
        async def page(_: web.Request) -> web.Response:
            text = metrics_page(self.service, self._clock.now())
            return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4"})

        app = web.Application()
        app.router.add_get("/metrics", page)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self.options.host, port).start()
        except OSError as error:
            raise ConflictError(
                f"the page of metrics cannot listen on {self.options.host}:{port}: "
                f"{os.strerror(error.errno or 0)}",
                hint="choose another port with `--metrics-port`",
            ) from None
        found: int = runner.addresses[0][1]
        return found
