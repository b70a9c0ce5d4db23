"""A replica's connection: a request goes out, and its answer is passed on as it comes.

The parser sees every byte before the client does, so that what is not HTTP, or goes on after its
end, is not passed on. The bytes themselves are not taken apart: an answer in chunks goes out in
the replica's own chunks. Only where the client's framing must differ (it speaks HTTP/1.0, or has
had a sign of life already) are the pieces framed anew.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from stoker.clock import steady
from stoker.gateway.exchange import Exchange, Sent
from stoker.gateway.headers import passed_on, value_of
from stoker.gateway.policy import Failure
from stoker.gateway.stats import CHUNK_BUCKETS

if TYPE_CHECKING:
    from stoker.gateway.plane import Plane
    from stoker.gateway.pool import Pool
    from stoker.gateway.recorder import Entry

_MAX_HEAD = 1 << 16
_WHOLE = 1 << 20  # an answer in one piece of up to so many bytes is passed on when it is whole
_TAIL = 8  # pieces; `usage` and the last finish_reason stand at the end
_TOKENS = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')
_PROMPT_TOKENS = re.compile(rb'"(?:prompt|input)_tokens":\s*(\d+)')
_USAGE = 4096  # bytes of an answer's end in which `usage` stands
# llhttp also takes RTSP and ICE, blank lines before, and any byte in the reason.
_STATUS = re.compile(rb"HTTP/1\.[01] [2-9]\d\d(?: [\t -~\x80-\xff]*)?\r\n")
_ABORTED = re.compile(rb'"finish_reason":\s*"abort"')
_EVENT_END = b"\n\n\r\n"  # an event and the chunk around it end
_LAST_CHUNK = b"0\r\n\r\n"


class Outbound(asyncio.Protocol):
    """One connection to a replica; it has one request at a time.

    Attributes:
        exchange: What it works for, None while it is idle.
        seen: When the replica last gave a sign of life, to a second.
        idle_since: When it was put back into its pool.
    """

    __slots__ = (
        "_bare",
        "_began",
        "_buffer",
        "_client",
        "_close_delimited",
        "_complete",
        "_content_length",
        "_counted",
        "_events",
        "_head_complete",
        "_head_done",
        "_interim",
        "_intervals",
        "_is_events",
        "_is_plain",
        "_keep",
        "_last",
        "_parser",
        "_paused",
        "_plane",
        "_reframe",
        "_reused",
        "_size",
        "_tail",
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
        self._tail: deque[bytes] = deque(maxlen=_TAIL)
        self._intervals = [0] * (len(CHUNK_BUCKETS) + 1)
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
        self._bare = False
        self._whole: list[bytes] | None = None
        self._reframe: _Pieces | None = None
        self._is_events = False
        self._events = 0
        self._counted = 0
        self._last = self._began = 0.0
        self._size = 0
        self._is_plain = False
        self._unsent = 0  # bytes of a body on disk that were not written yet
        self._tail.clear()

    # -- the request -----------------------------------------------------------------------------

    def start(self, exchange: Exchange) -> None:
        """Send the request of *exchange*."""
        self._clear()
        self.exchange = exchange
        exchange.outbound = self
        self.seen = self._plane.coarse
        if exchange.http10 or exchange.sent is not Sent.NOTHING or exchange.method == b"HEAD":
            self._reframe = _Pieces()
            self._parser = httptools.HttpResponseParser(_Reframed(self, self._reframe))
        transport = self.transport
        client = exchange.inbound.transport if exchange.inbound is not None else None
        if transport is None:  # it was closed before whoever dialled had its turn
            self.exchange = exchange.outbound = None
            self._plane.failed(exchange, Failure.CONNECT)
            return
        if client is None:
            return
        self._client = client
        self._plane.outbounds.add(self)
        head = exchange.head + self.pool.host_line
        if exchange.spooled is not None:
            transport.write(head)
            self._unsent = exchange.spooled.size
            self._plane.send_spooled(exchange, self)
        elif len(exchange.body) < _MAX_HEAD:
            transport.write(head + exchange.body)
        else:
            transport.writelines((head, exchange.body))

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
            self._book(self.exchange)
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
            self._plane.answered(exchange, broken=self._aborted())
        elif exchange.sent is Sent.ANSWER:
            self._book(exchange)
            self._plane.cut(exchange, between_events=self._between_events())
        elif self._reused and not self._buffer and not self._head_done:
            # It was closed while idle and the request crossed with that: nothing speaks against
            # the replica, which is asked again over a new connection.
            self._plane.redial(exchange)
        elif self._head_done:
            self._plane.failed(exchange, Failure.BROKEN_ANSWER)
        else:
            bad = Failure.BAD_ANSWER if self._buffer else Failure.NO_ANSWER
            self._plane.failed(exchange, bad)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        exchange = self.exchange
        if exchange is None:
            self.close()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._bad(exchange)  # nobody asked for an upgrade
            return
        if self._is_plain:  # nearly all that ever comes here: a piece of a stream of events
            if self._complete and self._runs_over(data):
                self._bad(exchange)
                return
            self._client.write(data)
            now = self.seen = steady()
            counts = self._intervals
            counts[bisect_left(CHUNK_BUCKETS, now - self._last)] += 1
            self._last = now
            self._tail.append(data)
            self._size += len(data)
            found = data.count(b"data: {")
            if found:
                self._count_events(exchange, found)
            if self._complete:
                self._end(exchange)
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
        if status == 503 and self._plane.has_other(exchange):
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

    def _read_framing(self, head: bytes, *, empty: bool) -> bool:
        """How the answer's body ends. False: in a way that this gateway does not know."""
        lower = head.lower()
        length = value_of(head, lower, b"content-length")
        coding = value_of(head, lower, b"transfer-encoding")
        if coding and (coding.lower() != b"chunked" or lower.count(b"\r\ntransfer-encoding:") > 1):
            return False
        self._is_events = b"\r\ncontent-type: text/event-stream" in lower
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
        head = passed_on(head, exchange.request_id, framing=not self._bare)
        if self._close_delimited:
            head += b"Transfer-Encoding: chunked\r\n"
        if not exchange.keep_alive:
            head += b"Connection: close\r\n"
        head += b"\r\n"
        if 0 <= self._content_length <= _WHOLE and not self._is_events:
            self._whole = [head]
            self._pass(exchange, body)
            return
        if self._complete and body and self._runs_over(body):
            self._bad(exchange)
            return
        self._plane.first_byte(exchange, events=self._is_events)
        self._last = self._began = self._plane.now()
        exchange.sent = Sent.ANSWER
        if self._close_delimited:
            self._client.write(head)
            if body:
                self._pass(exchange, body)
            return
        self._meter(exchange, body)
        self._client.write(head + body)
        self._is_plain = self._is_events and exchange.counters is not None
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
        self._meter(exchange, data)
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
            return self._size + len(data) != self._content_length
        end = (b"".join(self._tail) + data)[-6:]
        return not end.endswith(b"\r\n\r\n") or end == b"\r\n\r\n\r\n"

    def _pass_whole(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        if len(body) != self._content_length:  # line breaks behind it, see `_runs_over`
            self._bad(exchange)
            return
        if b'"abort"' in body and _ABORTED.search(body):
            # vLLM on SIGTERM: 200, what there was so far, finish_reason "abort".
            self._forget(exchange)
            self._plane.failed(exchange, Failure.ABORTED)
            return
        self._read_usage(exchange, body[-_USAGE:])
        self._plane.first_byte(exchange, events=False)
        exchange.sent = Sent.ANSWER
        self._size = len(body)
        self._client.write(head + body)
        self._end(exchange)

    def _pass_end(self, exchange: Exchange) -> None:
        """The answer of a replica that closes at the end is over."""
        pieces = self._reframe
        if pieces is not None:
            rest = pieces.take()  # an error, which is one event, has waited for its end
            self._meter(exchange, rest)
            self._client.write((pieces.framed(rest) if rest else b"") + pieces.last())
        else:
            self._client.write(_LAST_CHUNK)
        self._count_rest(exchange)

    def _end(self, exchange: Exchange) -> None:
        self._count_rest(exchange)
        aborted = self._is_events and self._aborted()
        self._release(exchange)
        self._plane.answered(exchange, broken=aborted)

    def _release(self, exchange: Exchange) -> None:
        """Back into the pool, if the replica keeps the connection and this parser knows its end."""
        self.exchange = None
        exchange.outbound = None
        self._plane.outbounds.discard(self)
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
        self._book(exchange)
        self.drop()

    def _bad(self, exchange: Exchange) -> None:
        """What came is not HTTP, or goes on after its end."""
        began = exchange.sent is Sent.ANSWER
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
        self._plane.first_byte(exchange, events=self._is_events)
        self._last = self._began = self._plane.now()
        if exchange.sent is Sent.HEARTBEAT:
            pieces.chunks = not exchange.http10
            pieces.only_events = not self._is_events or exchange.status >= 400
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
            self._meter(exchange, data)
            self._client.write(pieces.framed(data))
        if self._complete:
            self._client.write(pieces.last())
            self._end(exchange)

    # -- what is counted -------------------------------------------------------------------------

    def _meter(self, exchange: Exchange, data: bytes) -> None:
        """Count a piece of a body, and what a stream says in it."""
        self._size += len(data)
        if exchange.counters is None:
            return
        if not self._is_events:
            self._tail.append(data[-_USAGE:])
            return
        now = self._plane.now()
        self._intervals[bisect_left(CHUNK_BUCKETS, now - self._last)] += 1
        self._last = now
        self._tail.append(data)
        self._count_events(exchange, data.count(b"data: {"))

    def _count_events(self, exchange: Exchange, found: int) -> None:
        """Count the tokens of a stream without taking it apart.

        vLLM sends an event a token, between one event with the role and perhaps one with the
        usage: two less than the events were tokens for sure, and the usage corrects it.
        """
        self._events += found
        tokens = self._events - 2
        if tokens > self._counted and exchange.counters is not None:
            exchange.counters.output_tokens += tokens - self._counted
            self._counted = tokens
            if exchange.entry is not None:
                exchange.entry.completion_tokens = tokens

    def _book(self, exchange: Exchange) -> None:
        """Put what was counted piece by piece into the books."""
        exchange.size_out += self._size
        self._size = 0
        if exchange.counters is None or not self._is_events:
            return
        counts = self._intervals
        exchange.counters.chunks += sum(counts)
        exchange.counters.inter_chunk.add([*counts, self._last - self._began])
        self._intervals = [0] * len(counts)
        self._began = self._last

    def _count_rest(self, exchange: Exchange) -> None:
        self._book(exchange)
        if exchange.counters is None or not self._tail:
            return
        if not self._is_events:
            self._read_usage(exchange, b"".join(self._tail)[-_USAGE:])
            return
        tail = b"".join(self._tail)
        used = _TOKENS.findall(tail)
        tokens = int(used[-1]) if used else self._events - 1
        if tokens > self._counted:
            exchange.counters.output_tokens += tokens - self._counted
            self._counted = tokens
        if exchange.entry is not None:
            self._note(exchange.entry, tail, tokens, reported=bool(used))

    def _read_usage(self, exchange: Exchange, end: bytes) -> None:
        """The `usage` of an answer that is no stream, if it has one."""
        if used := _TOKENS.findall(end):
            self._plane.tokens(exchange, int(used[-1]))
            if exchange.entry is not None:
                self._note(exchange.entry, end, int(used[-1]), reported=True)

    @staticmethod
    def _note(entry: Entry, end: bytes, tokens: int, *, reported: bool) -> None:
        entry.completion_tokens = max(tokens, 0)
        entry.reported = reported
        if reported and (prompt := _PROMPT_TOKENS.findall(end)):
            entry.prompt_tokens = int(prompt[-1])

    def _aborted(self) -> bool:
        return _ABORTED.search(b"".join(self._tail)) is not None

    def _between_events(self) -> bool:
        """Whether an event, and the chunk that it came in, has just ended."""
        if not self._is_events or self._content_length >= 0:
            return False  # what has a length has no room for one more
        if self._reframe is not None or self._close_delimited:
            return bool(self._tail) and self._tail[-1].endswith(b"\n\n")
        return b"".join(self._tail).endswith(_EVENT_END)


class _Pieces:
    """The body of an answer without its framing, and how the client is to get it."""

    __slots__ = ("_waiting", "chunks", "only_events")

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self.chunks = False  # for a client of HTTP/1.1 that has had a head of ours
        self.only_events = False  # what is no stream goes into one event of that stream

    def add(self, body: bytes) -> None:
        self._waiting.append(body)

    def take(self) -> bytes:
        data = b"".join(self._waiting)
        self._waiting.clear()
        if self.only_events and data:
            return b"data: " + data.replace(b"\r", b"").replace(b"\n", b"\ndata: ") + b"\n\n"
        return data

    def framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunks else data

    def last(self) -> bytes:
        return _LAST_CHUNK if self.chunks else b""


class _Reframed:
    """The parser's callbacks of a connection whose answer is framed anew."""

    __slots__ = ("_pieces", "on_headers_complete", "on_message_begin", "on_message_complete")

    def __init__(self, outbound: Outbound, pieces: _Pieces) -> None:
        self._pieces = pieces
        self.on_message_begin = outbound.on_message_begin
        self.on_headers_complete = outbound.on_headers_complete
        self.on_message_complete = outbound.on_message_complete

    def on_body(self, body: bytes) -> None:
        self._pieces.add(body)
