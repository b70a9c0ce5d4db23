"""A queue by AMQP: a passive declaration, on a channel of a connection that is shared."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from stoker.errors import MachineError, StokerError
from stoker.triggers.connections import Lease, Pool, Tls
from stoker.triggers.http import service_hint
from stoker.triggers.rabbitmq.queues import QueueStatus, Selection

# What fails is told once a change, by whoever polls; these tell it at every attempt.
for _name in ("aio_pika", "aiormq"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_TIMEOUT = 30.0  # seconds to connect, as KEDA's client waits


class AmqpConnection:
    """One connection, made when it is first needed."""

    def __init__(self, url: str, tls: Tls, name: str) -> None:
        self._url = url
        self._tls = tls
        self._name = name
        self._lock = asyncio.Lock()
        self._connection: Any = None

    async def messages(self, queue: str) -> int:
        """How many messages are ready. Raises StokerError."""
        connection = await self._connected()
        channel = await connection.channel(publisher_confirms=False)
        try:
            declared = await channel.declare_queue(queue, passive=True)
            return int(declared.declaration_result.message_count or 0)
        finally:
            await channel.close()

    async def close(self) -> None:
        """Close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> Any:
        import aio_pika  # noqa: PLC0415 - an extra

        async with self._lock:
            if self._connection is not None and not self._connection.is_closed:
                return self._connection
            context = self._tls.context() if self._url.startswith("amqps:") else None
            self._connection = await aio_pika.connect(
                self._url,
                ssl_context=context,
                timeout=_TIMEOUT,
                client_properties={"connection_name": self._name},
            )
            return self._connection


class AmqpSource:
    """Asks over the connection that all triggers with the same address share."""

    def __init__(
        self, host: str, username: str, password: str, tls: Tls, name: str, pool: Pool
    ) -> None:
        self._host = host
        self._user = (username, password) if username and password else None
        self._tls = tls
        self._name = name
        self._pool = pool
        self._connection: Lease[AmqpConnection] | None = None

    async def status(self, selection: Selection) -> QueueStatus:
        """The messages of the queue that are ready. Raises StokerError."""
        try:
            import aio_pika.exceptions  # noqa: PLC0415
        except ImportError:
            raise MachineError(
                "the Python package `aio-pika` is not installed",
                hint="pip install 'stoker[rabbitmq]', or ask the management API: host: http://...",
            ) from None
        if self._connection is None:
            self._connection = self._lease(self.url(selection))
        try:
            async with asyncio.timeout(_TIMEOUT):
                return QueueStatus(await self._connection.value.messages(selection.queue))
        except aio_pika.exceptions.ChannelNotFoundEntity as error:
            raise StokerError(f'Exception (404) Reason: "{error}"') from None
        except aio_pika.exceptions.ProbableAuthenticationError:
            raise StokerError(
                'Exception (403) Reason: "username or password not allowed"',
                hint="the credentials are missing or wrong",
            ) from None
        except TimeoutError:
            raise StokerError("i/o timeout", hint=f"no answer in {_TIMEOUT:g} s") from None
        except (aio_pika.exceptions.AMQPError, OSError, RuntimeError, ValueError) as error:
            raise StokerError(self._told(error), hint=self._hint()) from None

    def url(self, selection: Selection) -> str:
        """The address with what takes the place of its parts."""
        parts = urlsplit(self._host)
        netloc, path = parts.netloc, parts.path
        if self._user is not None:
            name, password = (quote(text, safe="") for text in self._user)
            netloc = f"{name}:{password}@{netloc.rpartition('@')[2]}"
        if selection.vhost:
            path = f"/{quote(selection.vhost, safe='')}"
        return urlunsplit(parts._replace(netloc=netloc, path=path))

    async def close(self) -> None:
        """Give back the connection."""
        if self._connection is not None:
            await self._connection.release()
            self._connection = None

    def _lease(self, url: str) -> Lease[AmqpConnection]:
        def make() -> tuple[AmqpConnection, Callable[[], Awaitable[object]]]:
            connection = AmqpConnection(url, self._tls, self._name)
            return connection, connection.close

        return self._pool.lease(("amqp", url, self._tls), make)

    def _told(self, error: Exception) -> str:
        parts = urlsplit(self._host)
        if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
            port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
            return f"dial tcp {parts.hostname}:{port}: connect: connection refused"
        text = str(error) or type(error).__name__
        if "Name or service not known" in text or "name resolution" in text:
            return f"dial tcp: lookup {parts.hostname}: no such host"
        return text.replace(parts.netloc, parts.netloc.rpartition("@")[2])

    def _hint(self) -> str | None:
        return service_hint(urlsplit(self._host).hostname or "")
