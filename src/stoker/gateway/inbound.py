"""A client's connection: requests are read strictly and answered in the order in which they came.

llhttp refuses what has more than one reading: Content-Length together with Transfer-Encoding, or
twice; folded lines; line breaks without a carriage return; names with blanks; chunk sizes that are
not hexadecimal digits. What it lets pass and this gateway does not is in `_check_head`.

The module is long because the parser's callbacks and the order of requests share one state.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from stoker.gateway.exchange import Exchange
from stoker.gateway.headers import KIND
from stoker.gateway.heads import RequestHead, outline
from stoker.gateway.openai import Refusal

if TYPE_CHECKING:
    import asyncio

    from stoker.gateway.plane import Plane

_MAX_URL = 8192
_MAX_HEADERS = 100
_BACKLOG = 1 << 16  # bytes of pipelined requests that are read ahead of their turn
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Inbound:
    """One connection of a client: a protocol, as asyncio's transports tell it.

    Attributes:
        current: The request that is being answered.
        deadline: When the connection is closed if nothing comes; infinity while a request runs.
        stalled: Since when the client has not read; None while it does.
    """

    __slots__ = (
        "_backlog",
        "_bad",
        "_body",
        "_body_size",
        "_content_length",
        "_head_size",
        "_hosts",
        "_http10",
        "_idle_size",
        "_in_head",
        "_in_message",
        "_key",
        "_lines",
        "_moved",
        "_parser",
        "_paused",
        "_peer",
        "_plane",
        "_read",
        "_ready",
        "_total_deadline",
        "_transfer",
        "_url",
        "current",
        "deadline",
        "stalled",
        "transport",
    )

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.transport: asyncio.Transport | None = None
        self.current: Exchange | None = None
        self.deadline = math.inf
        self.stalled: float | None = None
        self._parser: httptools.HttpRequestParser | None = None  # not needed yet
        self._key = b""  # of a head that is being read, if it is worth remembering
        self._ready: deque[Exchange] = deque()  # parsed, their turn has not come
        self._backlog: list[bytes] = []  # not parsed
        self._bad: Refusal | None = None  # what to say, and then to close
        self._paused = False
        self._in_message = False
        self._moved = False  # a request has ended, or some body come, in this piece
        self._http10 = False
        self._peer: str | None = None  # "": it has none
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._lines: list[bytes] = []
        self._read: dict[bytes, bytes] = {}
        self._hosts = 0
        self._transfer: bytes | None = None
        self._content_length = 0
        self._head_size = 0  # bytes of all headers
        self._idle_size = 0  # bytes since the last piece of a body, or since the head began
        self._in_head = True
        self._body: list[bytes] = []
        self._body_size = 0
        self._total_deadline = math.inf

    # -- the transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._plane.inbounds.add(self)
        self.deadline = self._plane.now() + self._plane.limits.head_timeout

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is gone
        """The client is gone."""
        self._plane.inbounds.discard(self)
        self.transport = None
        self._ready.clear()
        self._backlog.clear()
        current, self.current = self.current, None
        if current is not None:
            self._plane.client_gone(current)

    def pause_writing(self) -> None:
        """The client reads more slowly than its replica writes."""
        self.stalled = self._plane.now()
        if self.current is not None and self.current.outbound is not None:
            self.current.outbound.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.stalled = None
        if self.current is None:
            self._await_more()
            self._plane.loop.call_soon(self._next)
        elif self.current.outbound is not None:
            self.current.outbound.resume_reading()

    def eof_received(self) -> bool:
        """The client writes no more: it is gone."""
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._bad is not None:
            return
        if self.current is None and not self._backlog and self.stalled is None:
            if self._in_message or self._ready or not self._begin_known(data):
                self._feed(data)
            return
        self._backlog.append(data)
        if not self._paused and sum(map(len, self._backlog)) > _BACKLOG:
            self._paused = True
            if self.transport is not None:
                self.transport.pause_reading()

    def _begin_known(self, data: bytes) -> bool:
        """Begin the request that *data* is, if it is one whole and its head has been read before.

        The parser sees nothing of it, and so stays where it was: between two requests.
        """
        parts = outline(data)
        if parts is None or not parts.is_whole:
            return False
        head = self._plane.request_heads.find(parts.key)
        if head is None:
            self._key = parts.key
            return False
        if parts.length > self._plane.limits.max_body:
            return False
        exchange = Exchange(self, head)
        exchange.body = parts.body
        self._begin(exchange)
        return True

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        if not self._in_message and self.current is None:
            self.deadline = self._plane.now() + self._plane.limits.head_timeout
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The offer is not taken, which is an answer to it (RFC 9110, 7.8); what follows is
            # not read, for it may be of the other protocol.
            self._close_after_last()
        except httptools.HttpParserCallbackError as error:
            refusal = error.__context__
            if not isinstance(refusal, Refusal):
                raise
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            self._plane.count("parse_errors")
            self._refuse(Refusal.bad_request(f"This is not valid HTTP/1.1: {error}."))
        else:
            self._key = b""
            if self._in_message:
                self._look_at_rest(len(data))
            self._moved = False

    def _look_at_rest(self, size: int) -> None:
        """A request has come in part, the last piece of it *size* bytes."""
        limits = self._plane.limits
        self._idle_size = 0 if self._moved else self._idle_size + size
        if self._idle_size > 2 * limits.max_head:  # a head, a trailer or what is beside a chunk
            self._refuse(_head_too_large(limits.max_head))
        elif not self._in_head and self.current is None:
            self.deadline = min(self._plane.now() + limits.body_timeout, self._total_deadline)

    # -- the parser ------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_message = True

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url
        if len(self._url) > _MAX_URL:
            message = f"The target is longer than {_MAX_URL} bytes."
            raise Refusal(414, "invalid_request_error", message, code="uri_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is not passed on."""
        key = name.lower()
        self._head_size += len(name) + len(value) + 4
        if key not in KIND and self._in_head and key != self._plane.session_header:
            self._lines.append(name + b": " + value + b"\r\n")
        elif self._in_head:
            self._special(name, key, value)
        elif self._head_size > 2 * self._plane.limits.max_head:  # trailers
            raise _head_too_large(self._plane.limits.max_head)

    def _special(self, name: bytes, key: bytes, value: bytes) -> None:
        """A header that the gateway reads itself."""
        if key == b"host":
            self._hosts += 1
        elif key == b"content-length":
            self._content_length = int(value)
        elif key == b"transfer-encoding":
            self._transfer = value if self._transfer is None else self._transfer + b"," + value
        else:
            read = self._read
            read[key] = read[key] + b"," + value if key in read else value
            if KIND.get(key, 2) == 2:
                self._lines.append(name + b": " + value + b"\r\n")

    def on_headers_complete(self) -> None:
        """The head is there: refuse what can be refused before the body comes."""
        self._in_head = False
        limits = self._plane.limits
        if len(self._lines) > _MAX_HEADERS or self._head_size > limits.max_head:
            raise _head_too_large(limits.max_head)
        self._check_head()
        if self._content_length > limits.max_body:
            raise Refusal.too_large(limits.max_body)
        if self._content_length or self._transfer is not None:
            now = self._plane.now()
            self._total_deadline = now + limits.body_total
            expects = self._read.get(b"expect", b"").lower() == b"100-continue"
            if expects and not self._http10 and self.current is None and not self._ready:
                self._write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_size += len(body)
        if self._body_size > self._plane.limits.max_body:
            raise Refusal.too_large(self._plane.limits.max_body)
        self._body.append(body)
        self._moved = True

    def on_message_complete(self) -> None:
        """A request is there."""
        parser = self._parser
        if parser is None:
            return
        head = RequestHead(
            parser.get_method(),
            self._url,
            self._lines,
            self._read,
            http10=self._http10,
            keep_alive=parser.should_keep_alive(),
        )
        if self._key and self._transfer is None and head.keep_alive and not self._offers():
            self._plane.request_heads.learn(self._key, head)
        self._key = b""
        exchange = Exchange(self, head)
        body = self._body
        if body:
            exchange.body = body[0] if len(body) == 1 else b"".join(body)
        self._in_message = False
        self._moved = True
        self._reset()
        if self.current is None and not self._ready and self.stalled is None:
            self._begin(exchange)
        else:
            self._ready.append(exchange)

    def _offers(self) -> bool:
        """Whether the request wants more than an answer, or wants it otherwise."""
        return self._http10 or b"expect" in self._read or b"upgrade" in self._read

    def _check_head(self) -> None:
        parser = self._parser
        if parser is None:
            return
        version = parser.get_http_version()
        self._http10 = version == "1.0"
        if version not in {"1.0", "1.1"}:
            message = f"HTTP/{version} is not spoken here; HTTP/1.1 is."
            raise Refusal(505, "invalid_request_error", message, code="http_version")
        if parser.get_method() == b"CONNECT":
            raise Refusal(405, "invalid_request_error", "This is not a proxy.", code="no_proxy")
        if self._hosts > 1 or (version == "1.1" and not self._hosts):
            raise Refusal.bad_request("There must be exactly one `Host`.")
        if (self._content_length or self._transfer is not None) and parser.should_upgrade():
            message = "A request with a body must not offer to `Upgrade`."
            raise Refusal.bad_request(message)
        if self._transfer is not None and (
            version == "1.0" or self._transfer.strip().lower() != b"chunked"
        ):
            message = "The only `Transfer-Encoding` here is `chunked`, in HTTP/1.1."
            raise Refusal(501, "invalid_request_error", message, code="transfer_encoding")

    # -- answers ---------------------------------------------------------------------------------

    def finished(self) -> None:
        """The current request has its whole answer: the next, if there is one."""
        current, self.current = self.current, None
        if self.transport is None:
            return
        if current is not None and not current.keep_alive:
            self.close()
            return
        if self.stalled is None:
            self._await_more()
        if self._ready or self._backlog or self._bad is not None:
            self._plane.loop.call_soon(self._next)

    def _await_more(self) -> None:
        """The client's turn; of a request that it has begun the time counts from now on."""
        limits = self._plane.limits
        if not self._in_message:  # half a second does not matter
            self.deadline = self._plane.coarse + limits.keep_alive
            return
        now = self._plane.now()
        if self._in_head:
            self.deadline = now + limits.head_timeout
        else:
            self._total_deadline = now + limits.body_total
            self.deadline = now + limits.body_timeout

    def close(self) -> None:
        """Close after what is written."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close now; the client sees that its answer is not whole."""
        if self.transport is not None:
            self.transport.abort()

    def expired(self) -> None:
        """The deadline has come."""
        if self._in_message and self.current is None:
            message = "The request did not come in whole in time."
            self._refuse(Refusal(408, "invalid_request_error", message, code="request_timeout"))
        else:
            self.close()

    def stop(self) -> None:
        """The gateway stops: close now if idle, after the current answer if not."""
        if self.current is None and not self._ready:
            self.close()
            return
        self._close_after_last()

    def _next(self) -> None:
        if self.current is not None or self.transport is None or self.stalled is not None:
            return
        if self._ready:
            self._begin(self._ready.popleft())
            return
        if self._bad is not None:
            self._say_bad()
            return
        backlog = b"".join(self._backlog)
        self._backlog.clear()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if backlog:
            self._feed(backlog)

    def _begin(self, exchange: Exchange) -> None:
        self.current = exchange
        self.deadline = math.inf
        self._plane.begin(exchange)

    def _close_after_last(self) -> None:
        """No more requests: the last that was read is the last."""
        if self._ready:
            self._ready[-1].keep_alive = False
        elif self.current is not None:
            self.current.keep_alive = False
        else:
            self.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read when its turn comes, and close."""
        self._bad = refusal
        if self.current is None and not self._ready:
            self._say_bad()

    def _say_bad(self) -> None:
        if self._bad is None or self.transport is None:
            return
        method = b"" if self._parser is None or not self._url else self._parser.get_method()
        exchange = Exchange(
            self, RequestHead(method, self._url, [], {}, http10=False, keep_alive=False)
        )
        exchange.began = self._plane.now()
        self.current = exchange
        self._plane.refuse(exchange, self._bad)

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    @property
    def busy(self) -> bool:
        """Whether it has a request that has no whole answer, or an answer that is not written."""
        if self.transport is None:
            return False
        return self.current is not None or self.transport.get_write_buffer_size() > 0

    @property
    def peer(self) -> str | None:
        """Where the client is; None for a Unix socket."""
        if self._peer is None and self.transport is not None:
            peer = self.transport.get_extra_info("peername")
            self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        return self._peer or None


def _head_too_large(limit: int) -> Refusal:
    message = f"The head has more than {_MAX_HEADERS} headers or {limit} bytes."
    return Refusal(431, "invalid_request_error", message, code="head_too_large")
