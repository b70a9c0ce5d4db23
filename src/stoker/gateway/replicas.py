"""Connections to replicas: the idle ones of each, new ones, and bodies that come from disk."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from stoker.gateway.outbound import Outbound
from stoker.gateway.policy import Endpoint, Failure, Stage
from stoker.gateway.pool import Pool
from stoker.gateway.spool import Spooled

if TYPE_CHECKING:
    from stoker.gateway.exchange import Exchange
    from stoker.gateway.plane import Plane
    from stoker.gateway.sockets import Sockets

_SPOOL_AHEAD: Final = 1 << 20  # bytes that a replica may be behind


class Replicas:
    """Takes requests to replicas."""

    def __init__(self, plane: Plane, sockets: Sockets) -> None:
        self._plane = plane
        self._sockets = sockets
        self._pools: dict[str, Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Send *exchange* to *endpoint*, over a connection that is there or a new one."""
        exchange.attempt += 1
        pool = self._pools.get(endpoint.url)
        if pool is None:
            pool = self._pools[endpoint.url] = Pool(endpoint.url)
        outbound = pool.take(self._plane.coarse)
        if outbound is not None:
            outbound.start(exchange)
        else:
            self._dial_soon(exchange, endpoint, pool)

    def send_anew(self, exchange: Exchange) -> None:
        """Send it to the same replica over a new connection."""
        endpoint = exchange.endpoint
        if endpoint is not None:
            exchange.attempt += 1
            pool = self._pools.setdefault(endpoint.url, Pool(endpoint.url))
            self._dial_soon(exchange, endpoint, pool)

    def spool(self, exchange: Exchange) -> None:
        """Let its body wait on disk."""
        self.spawn(self._spool(exchange))

    def send_spooled(self, exchange: Exchange, outbound: Outbound) -> None:
        """Read a body from disk as fast as the replica takes it."""
        self.spawn(self._send_spooled(exchange, outbound))

    def close_idle(self, now: float) -> None:
        """Close what has been idle for long."""
        for url, pool in tuple(self._pools.items()):
            pool.close_idle(now)
            if not pool.connections and not pool.dialled:
                del self._pools[url]

    def close(self, now: float) -> None:
        """Close all that is idle, and give up what is on its way."""
        for pool in self._pools.values():
            pool.close_idle(now, age=0.0)
        for task in tuple(self._tasks):
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let *work* go on by itself, until `close`."""
        task = self._plane.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- inside ----------------------------------------------------------------------------------

    def _dial_soon(self, exchange: Exchange, endpoint: Endpoint, pool: Pool) -> None:
        pool.dialled += 1  # a pool that were given up meanwhile would never close the connection
        self.spawn(self._dial(exchange, endpoint, pool, exchange.attempt))

    async def _dial(self, exchange: Exchange, endpoint: Endpoint, pool: Pool, attempt: int) -> None:
        try:
            async with asyncio.timeout(self._plane.limits.connect_timeout):
                outbound = await self._connect(pool)
        except (OSError, TimeoutError, ssl.SSLError):
            if exchange.attempt == attempt and exchange.endpoint is endpoint:
                self._plane.failed(exchange, Failure.CONNECT)
            return
        finally:
            pool.dialled -= 1
        if exchange.attempt == attempt and exchange.endpoint is endpoint:
            outbound.start(exchange)
        else:
            outbound.close()

    async def _connect(self, pool: Pool) -> Outbound:
        def make() -> Outbound:
            return Outbound(self._plane, pool)

        if pool.unix is not None:
            outbound: Outbound = await self._sockets.connect_unix(make, pool.unix)
        else:
            outbound = await self._sockets.connect(make, pool.host, pool.port, pool.tls)
        return outbound

    async def _spool(self, exchange: Exchange) -> None:
        try:
            spooled = await asyncio.to_thread(Spooled.write, exchange.body)
        except OSError:
            self._plane.count("spool_errors")  # it waits in memory, then
            return
        if exchange.stage == Stage.HELD and exchange.spooled is None:
            exchange.spooled, exchange.body = spooled, b""
        else:
            spooled.close()

    async def _send_spooled(self, exchange: Exchange, outbound: Outbound) -> None:
        spooled, offset = exchange.spooled, 0
        while spooled is not None and offset < spooled.size:
            piece = await asyncio.to_thread(spooled.read, offset)
            while outbound.backlog > _SPOOL_AHEAD and outbound.exchange is exchange:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            if outbound.exchange is not exchange or not piece:
                return
            outbound.write(piece)
            offset += len(piece)
