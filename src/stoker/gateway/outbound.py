"""A replica's connection: a request goes out, and its answer is passed on as it comes.

The parser sees every byte before the client does, so that what is not HTTP, or goes on after its
end, is not passed on. The bytes themselves are not taken apart: an answer in chunks goes out in
the replica's own chunks. Only where the client's framing must differ (it speaks HTTP/1.0, or has
had a sign of life already) are the pieces framed anew.

The module is long because the states of an answer belong together, and because each call between
modules would be paid for with every piece of every stream.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

import httptools

from stoker.gateway.exchange import Exchange, Sent
from stoker.gateway.headers import is_verbatim, passed_on, value_of
from stoker.gateway.heads import AnswerHead, outline
from stoker.gateway.metering import Meter, says_aborted
from stoker.gateway.policy import Failure
from stoker.gateway.reframing import LAST_CHUNK, Pieces, Reframed

if TYPE_CHECKING:
    import asyncio

    from stoker.gateway.plane import Plane
    from stoker.gateway.pool import Pool

_MAX_HEAD: Final = 1 << 16
# llhttp also takes RTSP and ICE, blank lines before, and any byte in the reason.
_STATUS: Final = re.compile(rb"HTTP/1\.[01] [2-9]\d\d(?: [\t -~\x80-\xff]*)?\r\n")
_WHOLE: Final = (
    1 << 20
)  # an answer in one piece of up to so many bytes is passed on when it is whole


class Outbound:
    """One connection to a replica, a protocol for its transport; it has one request at a time.

    Attributes:
        exchange: What it works for, None while it is idle.
        seen: When the replica last gave a sign of life, to a second.
        idle_since: When it was put back into its pool.
    """

    __slots__ = (
        "_bare",
        "_buffer",
        "_client",
        "_close_delimited",
        "_complete",
        "_content_length",
        "_head_complete",
        "_head_done",
        "_in_chunk",
        "_interim",
        "_is_fresh",
        "_is_plain",
        "_keep",
        "_meter",
        "_parser",
        "_paused",
        "_plane",
        "_reframe",
        "_reused",
        "_unsent",
        "_whole",
        "exchange",
        "idle_since",
        "pool",
        "seen",
        "transport",
    )

    def __init__(self, plane: Plane, pool: Pool) -> None:
        self._plane = plane
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.seen = 0.0
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._reused = False
        self._paused = False
        self._meter = Meter()
        self._clear()

    def _clear(self) -> None:
        self._buffer = b""
        self._head_done = False
        self._interim = 0
        self._complete = False
        self._keep = False
        self._head_complete = False
        self._content_length = -1  # -1: it does not say
        self._close_delimited = False
        self._in_chunk = False
        self._bare = False
        self._whole: list[bytes] | None = None
        self._reframe: Pieces | None = None
        self._is_plain = False
        self._unsent = 0  # bytes of a body on disk that were not written yet
        self._is_fresh = True  # nothing of the answer has come
        self._meter.clear()

    # -- the request -----------------------------------------------------------------------------

    def start(self, exchange: Exchange) -> None:
        """Send the request of *exchange*."""
        self._clear()
        self.exchange = exchange
        exchange.outbound = self
        self.seen = self._plane.coarse
        if exchange.http10 or exchange.sent != Sent.NOTHING or exchange.method == b"HEAD":
            self._reframe = Pieces()
            self._parser = httptools.HttpResponseParser(Reframed(self, self._reframe))
        transport = self.transport
        client = exchange.inbound.transport if exchange.inbound is not None else None
        if transport is None:  # it was closed before whoever dialled had its turn
            self.exchange = exchange.outbound = None
            self._plane.failed(exchange, Failure.CONNECT)
            return
        if client is None:
            return
        self._client = client
        host = self.pool.host_line
        if exchange.spooled is not None:
            transport.write(exchange.head + host)
            self._unsent = exchange.spooled.size
            self._plane.replicas.send_spooled(exchange, self)
        elif len(exchange.body) < _MAX_HEAD:
            transport.write(b"".join((exchange.head, host, exchange.body)))
        else:
            transport.writelines((exchange.head + host, exchange.body))

    def write(self, data: bytes) -> None:
        """A piece of a body that is read from disk."""
        if self.transport is not None:
            self._unsent -= len(data)
            self.transport.write(data)

    @property
    def backlog(self) -> int:
        """Bytes that the replica has not taken yet."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """The request is not wanted any more: the engine sees the connection close, and stops."""
        if self.exchange is not None:
            self._meter.book(self.exchange)
        self.exchange = None
        self._plane.outbounds.discard(self)
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        if self.transport is not None:
            self.transport.close()

    def pause_reading(self) -> None:
        """The client is slow."""
        if self.transport is not None and not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The client has caught up."""
        if self.transport is not None and self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    # -- the transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The replica has taken the connection."""
        self.transport = cast("asyncio.Transport", transport)
        self.pool.connections += 1
        self._plane.outbounds.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The replica has closed it, or was asked to."""
        self.transport = None
        self.pool.discard(self)
        self._plane.outbounds.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        exchange.outbound = None
        if self._close_delimited and exc is None:
            self._pass_end(exchange)
            self._plane.answered(exchange, broken=self._meter.aborted())
        elif exchange.sent == Sent.ANSWER:
            self._meter.book(exchange)
            self._plane.cut(exchange, between_events=self._between_events())
        elif self._reused and not self._buffer and not self._head_done:
            # It was closed while idle and the request crossed with that: nothing speaks against
            # the replica, which is asked again over a new connection.
            self._plane.replicas.send_anew(exchange)
        elif self._head_done:
            self._plane.failed(exchange, Failure.BROKEN_ANSWER)
        else:
            bad = Failure.BAD_ANSWER if self._buffer else Failure.NO_ANSWER
            self._plane.failed(exchange, bad)

    def eof_received(self) -> bool:
        """The replica writes no more: it is gone."""
        return False

    def pause_writing(self) -> None:
        """The replica takes a body slowly; those that are read from disk look at `backlog`."""

    def resume_writing(self) -> None:
        """It takes more again."""

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        exchange = self.exchange
        if exchange is None:
            self.close()  # nobody asked
            return
        if self._is_fresh:
            self._is_fresh = False
            if self._reframe is None and self._pass_known(exchange, data):
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._bad(exchange)  # nobody asked for an upgrade
            return
        if self._is_plain:  # nearly all that ever comes here
            self._pass_event(exchange, data)
            return
        self.seen = self._plane.coarse
        if self._head_done:
            self._pass(exchange, data)
        elif self._head_complete:
            self._begin_answer(exchange, self._buffer + data)
        else:
            self._buffer += data
            if len(self._buffer) > _MAX_HEAD:
                self._bad(exchange)

    def _pass_event(self, exchange: Exchange, data: bytes) -> None:
        """A piece of a stream of events."""
        if self._complete and self._runs_over(data):
            self._bad(exchange)
            return
        self._client.write(data)
        self.seen = self._plane.now()
        self._meter.event(exchange, data, self.seen)
        if self._complete:
            self._end(exchange)

    def _pass_known(self, exchange: Exchange, data: bytes) -> bool:
        """Pass on the answer that *data* is, if it is one whole and its head was read before.

        The parser sees nothing of it, and so stays where it was: between two answers.
        """
        parts = outline(data)
        if parts is None or not parts.is_whole:
            return False
        known = self._plane.answer_heads.find(parts.key)
        if known is None:
            return False
        self.seen = self._plane.coarse
        exchange.status = known.status
        self._complete = self._keep = True
        self._content_length = parts.length
        head = b"HTTP/1.1%b\r\nX-Request-Id: %b\r\n%b\r\n" % (
            parts.head[8:],
            exchange.request_id,
            b"" if exchange.keep_alive else b"Connection: close\r\n",
        )
        self._pass_whole(exchange, head, parts.body)
        return True

    def _learn(self, data: bytes) -> None:
        """The head that *data* begins with is right, and needs no change for the client."""
        parts = outline(data)
        status = self._parser.get_status_code()
        if status == 503 or parts is None or parts.length != self._content_length:
            return  # what becomes of a 503 hangs on what other replicas there are
        if self._keep:
            known = AnswerHead(status)
            self._plane.answer_heads.learn(parts.key, known)

    # -- the parser ------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; a second one was not asked for."""
        if self._complete:
            raise ValueError

    def on_headers_complete(self) -> None:
        """A head has come in whole."""
        status = self._parser.get_status_code()
        if status < 200:
            self._interim += 1
        else:
            self._head_complete = True

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        """It has come as it was announced."""
        self._in_chunk = False

    def on_message_complete(self) -> None:
        """The answer is over, unless it was an interim one."""
        if self._head_complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive()  # afterwards llhttp knows no more

    # -- the answer ------------------------------------------------------------------------------

    def _begin_answer(self, exchange: Exchange, data: bytes) -> None:
        """The head of an answer, and perhaps some of its body, is in *data*."""
        start = 0
        for _ in range(self._interim):  # 1xx say nothing that a client of this gateway needs
            start = data.index(b"\r\n\r\n", start) + 4
        if _STATUS.match(data, start) is None:
            self._bad(exchange)
            return
        end = data.index(b"\r\n\r\n", start) + 4
        head, body = data[start : end - 2], data[end:]
        exchange.status = status = self._parser.get_status_code()
        if status == 503 and self._has_other(exchange):
            # A replica that is full says so as one that drains does.
            self._forget(exchange)
            self._plane.failed(exchange, Failure.UNAVAILABLE)
            return
        self._buffer = b""
        self._head_done = True
        empty = exchange.method == b"HEAD" or status in {204, 304}
        if not self._read_framing(head, empty=empty) or (empty and body):
            self._bad(exchange)
        elif self._reframe is not None:
            self._begin_reframed(exchange, head, empty=empty)
        else:
            self._begin_verbatim(exchange, head, body)

    def _has_other(self, exchange: Exchange) -> bool:
        """Whether another replica could take the request."""
        plane = self._plane
        return plane.dispatcher.has_other(exchange, plane.now())

    def _read_framing(self, head: bytes, *, empty: bool) -> bool:
        """How the answer's body ends. False: in a way that this gateway does not know."""
        lower = head.lower()
        length = value_of(head, lower, b"content-length")
        coding = value_of(head, lower, b"transfer-encoding")
        if coding and (coding.lower() != b"chunked" or lower.count(b"\r\ntransfer-encoding:") > 1):
            return False
        self._meter.is_events = b"\r\ncontent-type: text/event-stream" in lower
        self._content_length = int(length) if length else -1
        self._bare = empty and bool(coding)  # chunks are announced and none come
        self._close_delimited = not (length or coding or empty)
        if empty:
            self._content_length = -1
            if not self._complete:  # llhttp does not know what was asked
                self._complete = True
                self._parser = httptools.HttpResponseParser(self)
        return True

    def _begin_verbatim(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        original = head
        head = passed_on(head, exchange.request_id, framing=not self._bare)
        if self._close_delimited:
            head += b"Transfer-Encoding: chunked\r\n"
        if not exchange.keep_alive:
            head += b"Connection: close\r\n"
        head += b"\r\n"
        if 0 <= self._content_length <= _WHOLE and not self._meter.is_events:
            if self._complete and not self._interim and is_verbatim(original):
                self._learn(original + b"\r\n")
            self._whole = [head]
            self._pass(exchange, body)
            return
        if self._complete and body and self._runs_over(body):
            self._bad(exchange)
            return
        self._plane.first_byte(exchange, events=self._meter.is_events)
        self._meter.begin(self._plane.now())
        exchange.sent = Sent.ANSWER
        if self._close_delimited:
            self._client.write(head)
            if body:
                self._pass(exchange, body)
            return
        self._meter.piece(exchange, body, self._plane.now())
        self._client.write(head + body)
        self._is_plain = self._meter.is_events and exchange.counters is not None
        if self._complete:
            self._end(exchange)

    def _pass(self, exchange: Exchange, data: bytes) -> None:
        """A piece of the body."""
        if self._whole is not None:
            if self._complete and len(self._whole) == 1:
                self._pass_whole(exchange, self._whole[0], data)
                return
            self._whole.append(data)
            if self._complete:
                self._pass_whole(exchange, self._whole[0], b"".join(self._whole[1:]))
            return
        if self._reframe is not None:
            self._pass_reframed(exchange)
            return
        if self._complete and self._runs_over(data):
            self._bad(exchange)
            return
        self._meter.piece(exchange, data, self._plane.now())
        if self._close_delimited:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._client.write(data)
        if self._complete:
            self._end(exchange)

    def _runs_over(self, data: bytes) -> bool:
        """Whether line breaks come behind the end of the answer, which is in *data*.

        llhttp skips them there. A client would take them for the beginning of the next answer.
        """
        if self._content_length >= 0:
            return self._meter.size + len(data) != self._content_length
        end = self._meter.tail_with(data)[-6:]
        return not end.endswith(b"\r\n\r\n") or end == b"\r\n\r\n\r\n"

    def _pass_whole(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        if len(body) != self._content_length:  # line breaks behind it, see `_runs_over`
            self._bad(exchange)
            return
        if says_aborted(body):  # 200, and what there was so far
            self._forget(exchange)
            self._plane.failed(exchange, Failure.ABORTED)
            return
        exchange.sent = Sent.ANSWER
        self._client.write(head + body)  # first of all: the rest can overlap with the client
        self._meter.whole(exchange, body)
        self._plane.first_byte(exchange, events=False)
        self._end(exchange)

    def _pass_end(self, exchange: Exchange) -> None:
        """The answer of a replica that closes at the end is over."""
        pieces = self._reframe
        if pieces is not None:
            rest = pieces.take()  # an error, which is one event, has waited for its end
            self._meter.piece(exchange, rest, self._plane.now())
            self._client.write((pieces.framed(rest) if rest else b"") + pieces.last())
        else:
            self._client.write(LAST_CHUNK)
        self._meter.end(exchange)

    def _end(self, exchange: Exchange) -> None:
        self._meter.end(exchange)
        aborted = self._meter.is_events and self._meter.aborted()
        self._release(exchange)
        self._plane.answered(exchange, broken=aborted)

    def _release(self, exchange: Exchange) -> None:
        """Back into the pool, if the replica keeps the connection and this parser knows its end."""
        self.exchange = None
        exchange.outbound = None
        # A replica that answers before it has the whole body would take the next request for it.
        if self._reframe is None and self._complete and self._keep and not self._unsent:
            self._reused = True
            self.idle_since = self._plane.coarse
            self.resume_reading()
            self.pool.put(self)
        else:
            self.close()

    def _forget(self, exchange: Exchange) -> None:
        """The rest of the answer is not wanted."""
        exchange.outbound = None
        self._meter.book(exchange)
        self.drop()

    def _bad(self, exchange: Exchange) -> None:
        """What came is not HTTP, or goes on after its end."""
        began = exchange.sent == Sent.ANSWER
        between = self._between_events()
        self._forget(exchange)
        if began:
            self._plane.cut(exchange, between_events=between)
        else:
            self._plane.failed(exchange, Failure.BAD_ANSWER)

    # -- framed anew -----------------------------------------------------------------------------

    def _begin_reframed(self, exchange: Exchange, head: bytes, *, empty: bool) -> None:
        pieces = self._reframe
        if pieces is None:
            return
        self._plane.first_byte(exchange, events=self._meter.is_events)
        self._meter.begin(self._plane.now())
        if exchange.sent == Sent.HEARTBEAT:
            pieces.chunks = not exchange.http10
            pieces.only_events = not self._meter.is_events or exchange.status >= 400
        else:
            framed = empty or self._content_length >= 0  # it needs no chunks
            bare = self._bare and exchange.http10
            head = passed_on(head, exchange.request_id, framing=framed and not bare)
            exchange.keep_alive = exchange.keep_alive and framed
            connection = b"keep-alive" if exchange.keep_alive else b"close"
            self._client.write(head + b"Connection: %b\r\n\r\n" % connection)
        exchange.sent = Sent.ANSWER
        if empty:
            self._client.write(pieces.last())
            self._end(exchange)
            return
        self._pass_reframed(exchange)

    def _pass_reframed(self, exchange: Exchange) -> None:
        pieces = self._reframe
        if pieces is None:
            return
        if pieces.only_events and not self._complete:
            return  # an error: it becomes one event when it is whole
        data = pieces.take()
        if data:
            self._meter.piece(exchange, data, self._plane.now())
            self._client.write(pieces.framed(data))
        if self._complete:
            self._client.write(pieces.last())
            self._end(exchange)

    def _between_events(self) -> bool:
        if self._content_length >= 0 or self._in_chunk:
            return False  # there is no room for one more event
        ours = self._reframe is not None or self._close_delimited
        return self._meter.between_events(framed=not ours)
