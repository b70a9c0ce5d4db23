"""What is counted of an answer while it passes: bytes, events, tokens, the time between pieces.

Nothing is taken apart for it. An event of a stream is found by how it begins, and what an engine
says at the end, its `usage` and its reasons, by a look at the last pieces.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Final

from stoker.gateway.stats import CHUNK_BUCKETS

if TYPE_CHECKING:
    from stoker.gateway.exchange import Exchange
    from stoker.gateway.recorder import Entry

_TAIL: Final = 8  # pieces; `usage` and the last finish_reason stand at the end
_TOKENS: Final = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')
_COMPLETION: Final = b'"completion_tokens":'
_OUTPUT: Final = b'"output_tokens":'
_NUMBER: Final = re.compile(rb"\s*(\d+)")
_PROMPT_TOKENS: Final = re.compile(rb'"(?:prompt|input)_tokens":\s*(\d+)')
_USAGE: Final = 4096  # bytes of an answer's end in which `usage` stands
_ABORTED: Final = re.compile(rb'"finish_reason":\s*"abort"')
_ABORT: Final = b'"abort"'
_EVENT: Final = b"data: {"
_EVENT_END: Final = b"\n\n\r\n"  # an event and the chunk around it end
_BOUNDS: Final = CHUNK_BUCKETS


class Meter:
    """Counts one answer after the other.

    Attributes:
        is_events: The answer is a stream of events.
        size: Bytes of its body since the last `book`.
    """

    __slots__ = (
        "_began",
        "_counted",
        "_events",
        "_intervals",
        "_last",
        "_tail",
        "is_events",
        "size",
    )

    def __init__(self) -> None:
        self._tail: deque[bytes] = deque(maxlen=_TAIL)
        self._intervals = [0] * (len(_BOUNDS) + 1)
        self._began = self._last = 0.0
        self.clear()

    def clear(self) -> None:
        """Another answer."""
        self.is_events = False
        self._events = 0
        self._counted = 0
        self.size = 0
        self._tail.clear()

    def begin(self, now: float) -> None:
        """The first byte has come."""
        self._began = self._last = now

    def event(self, exchange: Exchange, data: bytes, now: float) -> None:
        """A piece of a stream of events."""
        self._intervals[bisect_left(_BOUNDS, now - self._last)] += 1
        self._last = now
        self._tail.append(data)
        self.size += len(data)
        found = data.count(_EVENT)
        if found:
            self._count_events(exchange, found)

    def piece(self, exchange: Exchange, data: bytes, now: float) -> None:
        """A piece of any body."""
        if self.is_events and exchange.counters is not None:
            self.event(exchange, data, now)
            return
        self.size += len(data)
        if exchange.counters is not None:
            self._tail.append(data[-_USAGE:])

    def whole(self, exchange: Exchange, body: bytes) -> None:
        """An answer in one piece."""
        self.size = len(body)
        self._read_usage(exchange, body[-_USAGE:])

    def book(self, exchange: Exchange) -> None:
        """Put what was counted piece by piece into the books."""
        exchange.size_out += self.size
        self.size = 0
        if exchange.counters is None or not self.is_events:
            return
        counts = self._intervals
        exchange.counters.chunks += sum(counts)
        exchange.counters.inter_chunk.add([*counts, self._last - self._began])
        self._intervals = [0] * len(counts)
        self._began = self._last

    def end(self, exchange: Exchange) -> None:
        """The answer is over: what its end says."""
        self.book(exchange)
        if exchange.counters is None or not self._tail:
            return
        tail = b"".join(self._tail)
        if not self.is_events:
            self._read_usage(exchange, tail[-_USAGE:])
            return
        used = _TOKENS.findall(tail)
        tokens = int(used[-1]) if used else self._events - 1
        if tokens > self._counted:
            exchange.counters.output_tokens += tokens - self._counted
            self._counted = tokens
        if exchange.entry is not None:
            _note(exchange.entry, tail, tokens, reported=bool(used))

    def aborted(self) -> bool:
        """Whether the engine says that it ended early."""
        return _ABORTED.search(b"".join(self._tail)) is not None

    def between_events(self, *, framed: bool) -> bool:
        """Whether an event, and the chunk that it came in, has just ended; *framed*: not ours."""
        if not self.is_events:
            return False
        if not framed:
            return bool(self._tail) and self._tail[-1].endswith(b"\n\n")
        return b"".join(self._tail).endswith(_EVENT_END)

    def tail_with(self, data: bytes) -> bytes:
        """The end of what has come, and *data* behind it."""
        return b"".join(self._tail) + data

    def _count_events(self, exchange: Exchange, found: int) -> None:
        """Count the tokens of a stream without taking it apart.

        vLLM sends an event a token, between one event with the role and perhaps one with the
        usage: two less than the events were tokens for sure, and the usage corrects it.
        """
        self._events += found
        tokens = self._events - 2
        counters = exchange.counters
        if tokens > self._counted and counters is not None:
            counters.output_tokens += tokens - self._counted
            self._counted = tokens
            if exchange.entry is not None:
                exchange.entry.completion_tokens = tokens

    def _read_usage(self, exchange: Exchange, end: bytes) -> None:
        """The `usage` of an answer that is no stream, if it has one."""
        _, found, rest = end.rpartition(_COMPLETION)
        if not found:
            _, found, rest = end.rpartition(_OUTPUT)
        used = _NUMBER.match(rest) if found else None
        if used is not None:
            tokens = int(used[1])
            if exchange.counters is not None:
                exchange.counters.output_tokens += tokens
            if exchange.entry is not None:
                _note(exchange.entry, end, tokens, reported=True)


def says_aborted(body: bytes) -> bool:
    """Whether an answer in one piece was ended by its engine: vLLM on SIGTERM."""
    # `in` would take the bytes for a number first, and raise and catch an error about it.
    return body.find(_ABORT) >= 0 and _ABORTED.search(body) is not None


def _note(entry: Entry, end: bytes, tokens: int, *, reported: bool) -> None:
    entry.completion_tokens = max(tokens, 0)
    entry.reported = reported
    if reported and (prompt := _PROMPT_TOKENS.findall(end)):
        entry.prompt_tokens = int(prompt[-1])
