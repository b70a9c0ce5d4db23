"""Where connections come from: of clients, and to replicas.

Without TLS they are those of `stoker.gateway.epoll`, if that has been compiled (`make compiled`);
else, and with TLS, uvloop's. Both have asyncio's interface, so nobody else needs to know.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

try:
    from stoker.gateway import epoll  # type: ignore[attr-defined]  # exists only where compiled
except ImportError:
    epoll = None

BACKLOG = 1024


class Listener(Protocol):
    """What takes connections."""

    def close(self) -> None:
        """Take no more."""


class Sockets:
    """The connections of one event loop.

    Args:
        loop: It.
        own: Use sockets of our own, if they have been compiled.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, own: bool = True) -> None:
        self._loop = loop
        self._poller: Any = epoll.Poller(loop) if own and epoll is not None else None

    async def listen(
        self,
        factory: Callable[[], Any],
        listening: socket.socket,
        tls: ssl.SSLContext | None,
    ) -> Listener:
        """Take connections of *listening*."""
        listening.setblocking(False)  # noqa: FBT003 - the socket's own signature
        if self._poller is not None and tls is None:
            return cast("Listener", self._poller.listen(listening, factory))
        if listening.family == socket.AF_UNIX:
            return await self._loop.create_unix_server(factory, sock=listening, backlog=BACKLOG)
        return await self._loop.create_server(factory, sock=listening, backlog=BACKLOG, ssl=tls)

    async def connect_unix(self, factory: Callable[[], Any], path: str) -> Any:
        """Connect to the Unix socket *path*. The protocol of it. Raises OSError."""
        if self._poller is None:
            _, protocol = await self._loop.create_unix_connection(factory, path)
            return protocol
        return await self._connect(factory, socket.AF_UNIX, path)

    async def connect(
        self,
        factory: Callable[[], Any],
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
    ) -> Any:
        """Connect to *host* and *port*. The protocol of it. Raises OSError."""
        if self._poller is None or tls is not None:
            _, protocol = await self._loop.create_connection(factory, host, port, ssl=tls)
            return protocol
        if host[:1].isdigit() and ":" not in host:  # most addresses need no looking up
            return await self._connect(factory, socket.AF_INET, (host, port))
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        refused: OSError | None = None
        for family, _, _, _, address in found:
            try:
                return await self._connect(factory, family, address)
            except OSError as error:
                refused = error
        raise refused or OSError(f"{host} has no address")

    async def _connect(self, factory: Callable[[], Any], family: int, address: Any) -> Any:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003
            await self._loop.sock_connect(sock, address)
            protocol = factory()
            self._poller.connected(sock, protocol)
        except BaseException:
            sock.close()
            raise
        return protocol

    def close(self) -> None:
        """Let go of all that is left."""
        if self._poller is not None:
            self._poller.close()
