"""The idle connections to one replica, the one that was used last first."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from stoker.gateway.outbound import Outbound

# uvicorn, and so vLLM, closes an idle connection after 5 s.
KEEP_ALIVE = 4.0


class Pool:
    """Connections to *url*: ``http://host:port/prefix``, ``https://...`` or ``unix:/path``."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.unix = parts.path if parts.scheme == "unix" else None
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.host = parts.hostname or "localhost"
        self.port = parts.port or (443 if self.tls else 80)
        self.prefix = b"" if self.unix else parts.path.rstrip("/").encode()
        authority = "localhost" if self.unix else parts.netloc.rpartition("@")[2]
        self.host_line = f"Host: {authority}\r\n\r\n".encode()
        self.connections = 0  # idle or not
        self.dialled = 0  # on their way
        self._idle: list[Outbound] = []

    def take(self, now: float) -> Outbound | None:
        """A connection that is not about to be closed."""
        while self._idle:
            outbound = self._idle.pop()
            if outbound.transport is None or outbound.transport.is_closing():
                continue
            if now - outbound.idle_since < KEEP_ALIVE:
                return outbound
            outbound.close()
        return None

    def put(self, outbound: Outbound) -> None:
        """A connection is idle."""
        self._idle.append(outbound)

    def discard(self, outbound: Outbound) -> None:
        """A connection is gone."""
        self.connections -= 1
        if outbound in self._idle:
            self._idle.remove(outbound)

    def close_idle(self, now: float, age: float = KEEP_ALIVE) -> None:
        """Close those that have been idle for *age* seconds."""
        old = [outbound for outbound in self._idle if now - outbound.idle_since >= age]
        for outbound in old:
            self._idle.remove(outbound)
            outbound.close()
