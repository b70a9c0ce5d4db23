"""A small HTTP/1.1 client that costs little a streamed chunk.

One :class:`asyncio.Protocol` a connection: what arrives goes to the answer in the same call, with
no task, queue or object in between.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from stoker.clock import Clock
from stoker.errors import InputError
from stoker.load.answer import TRUNCATED, Answer

# uvicorn, and so vLLM, closes an idle connection after 5 s. One that is used at that moment fails.
_MAX_IDLE = 4.0
_MAX_HEAD = 65536
_CHUNKED = -1  # how the body ends, when not by a length
_TO_CLOSE = -2


class HttpFailure(Exception):  # noqa: N818 - a result to be counted
    """No answer, or not all of it."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go."""

    host: str
    port: int
    secure: bool
    prefix: str  # of the path, without the `/v1`

    @classmethod
    def parse(cls, url: str) -> Origin:
        """From what a person writes: with or without ``http://`` and ``/v1``.

        Raises:
            InputError: it is not an address.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"`{url}` is not a URL", hint="try http://localhost:8000")
        secure = parts.scheme == "https"
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls(parts.hostname, port or (443 if secure else 80), secure, prefix)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.prefix}"


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._over: asyncio.Future[None] | None = None
        self._buffer = b""
        self._in_body = False
        self._left = 0  # bytes of the body or chunk that are still to come, or how it ends
        self._chunked = False
        self._heard = False
        self._keep_alive = False

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent."""
        return self._keep_alive and self._transport is not None and self._over is None

    async def exchange(self, request: bytes, answer: Answer) -> None:
        """Send *request* and feed *answer* until it is there.

        Raises:
            HttpFailure: it did not come, or not whole.
        """
        if self._transport is None:
            raise HttpFailure("disconnected", "the connection was closed before the request")
        self._answer, self._heard, self._in_body = answer, False, False
        self._over = over = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await over
        finally:
            self._answer = self._over = None

    def close(self) -> None:
        """Give the connection up."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the server, or broken."""
        self._transport = None
        if self._over is None or self._over.done():
            return
        if self._in_body and self._left == _TO_CLOSE and exc is None:
            self._finish()
        elif self._heard:
            self._fail(TRUNCATED, "the connection was closed within the answer")
        else:
            why = f": {exc}" if exc else ""
            self._fail("disconnected", f"the connection was closed without an answer{why}")

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        if self._over is None or self._over.done():
            self.close()  # nobody asked
            return
        self._heard = True
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        if not self._in_body:
            data = self._head(data)
        if self._in_body and not self._over.done():
            (self._chunks if self._chunked else self._plain)(data)

    # -- the answer's parts ----------------------------------------------------------------------

    def _head(self, data: bytes) -> bytes:
        """Read the head; what follows it. Empty while it is not whole."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._buffer = data
            if len(data) > _MAX_HEAD:
                self._fail("malformed", "the head of the answer does not end")
            return b""
        status_line, *lines = head.split(b"\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        parts = status_line.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            self._fail("malformed", f"not HTTP: {status_line[:40]!r}")
            return b""
        status = int(parts[1])
        if status < 200:
            return self._head(rest) if rest else b""  # 100 Continue and the like
        self._framing(parts[0], status, fields)
        if self._answer is not None:
            self._answer.begin(status, fields.get(b"content-type", b"").decode("latin-1"))
        self._in_body = True
        return rest

    def _framing(self, version: bytes, status: int, fields: dict[bytes, bytes]) -> None:
        connection = fields.get(b"connection", b"")
        self._keep_alive = b"close" not in connection and version == b"HTTP/1.1"
        self._chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        length = fields.get(b"content-length", b"")
        if self._chunked:
            self._left = _CHUNKED
        elif status in {204, 304}:
            self._left = 0
        elif length.isdigit():
            self._left = int(length)
        else:
            self._left, self._keep_alive = _TO_CLOSE, False

    def _plain(self, data: bytes) -> None:
        if data and self._answer is not None:
            self._answer.feed(data, self._clock.now())
        if self._left != _TO_CLOSE:
            self._left -= len(data)
            if self._left <= 0:
                self._finish()

    def _chunks(self, data: bytes) -> None:
        """Take chunks apart. `_left` counts a chunk's bytes and its line end, or is _CHUNKED."""
        now = self._clock.now()
        at = 0
        while at < len(data):
            if self._left == _CHUNKED:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                size = _chunk_size(data[at:end])
                if size is None:
                    self._fail("malformed", f"not a chunk size: {data[at : at + 20]!r}")
                    return
                if size == 0:
                    self._trailer(data, end)
                    return
                at, self._left = end + 2, size + 2
            take = min(self._left, len(data) - at)
            # The last two bytes of a chunk are its line end.
            payload = data[at : at + min(take, max(self._left - 2, 0))]
            at, self._left = at + take, self._left - take
            if payload and self._answer is not None:
                self._answer.feed(payload, now)
            if self._left == 0:
                self._left = _CHUNKED
        self._buffer = data[at:]

    def _trailer(self, data: bytes, end: int) -> None:
        """After the last chunk, its size line ending at *end*: perhaps trailers, a blank line."""
        if b"\r\n\r\n" in data[end:]:
            self._finish()
        else:
            self._buffer = b"0" + data[end:]

    def _finish(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _fail(self, kind: str, detail: str) -> None:
        self._keep_alive = False
        if self._over is not None and not self._over.done():
            self._over.set_exception(HttpFailure(kind, detail))


def _chunk_size(line: bytes) -> int | None:
    try:
        return int(line.split(b";", 1)[0], 16)
    except ValueError:
        return None


@dataclass(slots=True)
class Client:
    """Connections to one server, used again while they are fresh."""

    origin: Origin
    clock: Clock
    headers: tuple[tuple[str, str], ...] = ()
    _idle: list[tuple[float, Connection]] = field(default_factory=list)
    _tls: ssl.SSLContext | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        body = _Body()
        await self._exchange("GET", path, b"", body)
        return body.status, body.content

    async def post(self, path: str, body: bytes, answer: Answer) -> None:
        """Send JSON and feed *answer*.

        Raises:
            HttpFailure: no whole answer came.
        """
        await self._exchange("POST", path, body, answer)

    def close(self) -> None:
        """Close what is idle."""
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _exchange(self, method: str, path: str, body: bytes, answer: Answer) -> None:
        connection = await self._connection()
        try:
            await connection.exchange(self._head(method, path, len(body)) + body, answer)
        except BaseException:
            connection.close()  # the server must know that nobody waits for the rest
            raise
        if connection.reusable:
            self._idle.append((self.clock.now(), connection))
        else:
            connection.close()

    async def _connection(self) -> Connection:
        while self._idle:
            since, connection = self._idle.pop()  # the one that was used last
            if connection.reusable and self.clock.now() - since < _MAX_IDLE:
                return connection
            connection.close()
        if self.origin.secure and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self.clock), self.origin.host, self.origin.port, ssl=self._tls
            )
        except ConnectionRefusedError as error:
            raise HttpFailure("refused", str(error)) from None
        except OSError as error:
            raise HttpFailure("unreachable", str(error)) from None
        return connection

    def _head(self, method: str, path: str, length: int) -> bytes:
        origin = self.origin
        lines = [
            f"{method} {origin.prefix}{path} HTTP/1.1",
            f"Host: {str(origin).removesuffix(origin.prefix).split('://', 1)[1]}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Body(Answer):
    """An answer that is only kept."""

    __slots__ = ()

    @property
    def content(self) -> bytes:
        return b"".join(self._body)
