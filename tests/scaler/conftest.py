"""A scaler with scripted sources, served on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_health")
pytest.importorskip("grpc_reflection")

from stoker.clock import FixedClock  # noqa: E402
from stoker.protocols.externalscaler import Client  # noqa: E402
from stoker.scaler.sampling import Sampler  # noqa: E402
from stoker.scaler.server import ScalerOptions, ScalerServer  # noqa: E402
from stoker.scaler.service import ScalerService  # noqa: E402
from stoker.scaling.observation import TriggerReading  # noqa: E402
from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec  # noqa: E402

NOW = 1_700_000_000.0


class Source:
    """A trigger that says what a test has put there."""

    def __init__(self, index: int = 0, target: float = 5.0) -> None:
        self.index = index
        self.metric_name = f"s{index}-prometheus"
        self.target = target
        self.value: float | None = 0.0
        self.active = False
        self.error: str | None = None
        self.reads = 0
        self.closed = False

    async def read(self, _: float) -> TriggerReading:
        self.reads += 1
        failed = self.error is not None
        return TriggerReading(
            self.index, self.metric_name, None if failed else self.value, self.target,
            active=self.active and not failed, error=self.error, trigger_name=f"t{self.index}",
        )  # fmt: skip

    async def close(self) -> None:
        self.closed = True


def sampler(name: str = "llama", sources: int = 1, max_age: float = 30.0, **fields) -> Sampler:
    """A sampler over new :class:`Source` objects, which are its ``_triggers``."""
    triggers = tuple(TriggerSpec(i, "prometheus", name=f"t{i}") for i in range(sources))
    spec = ScalingSpec(name, ScaleTargetRef(name), triggers, **fields)
    return Sampler(spec, [Source(i) for i in range(sources)], max_age=max_age)


@dataclass
class Serving:
    """A server and a client of it."""

    server: ScalerServer
    client: Client
    clock: FixedClock
    channel: object


@pytest.fixture
async def serve() -> AsyncIterator:
    async with AsyncExitStack() as stack:

        async def start(*samplers: Sampler, **options) -> Serving:
            clock = FixedClock(NOW)
            options = {"port": 0, "interval": 3600.0, "grace": 1.0} | options
            server = ScalerServer(ScalerService(samplers, clock), ScalerOptions(**options), clock)
            for one in samplers:  # tests sample when they want to
                one.run = _never
            await server.start()
            stack.push_async_callback(_stop, server)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            stack.push_async_callback(channel.close)
            return Serving(server, Client(channel), clock, channel)

        yield start


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


async def _stop(server: ScalerServer) -> None:
    if server._tasks:
        await server.stop()
        server._tasks = []
