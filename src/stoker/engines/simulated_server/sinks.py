"""Where the tokens of a request go: both kinds of answer, seen from the batch."""

from __future__ import annotations

import asyncio

from stoker.engines.simulated_server.answers import Chunks
from stoker.simulator.engine import Finished, TokenEvent


class Whole:
    """Waits for the end of an answer that is not streamed."""

    __slots__ = ("ended",)

    def __init__(self, ended: asyncio.Future[Finished]) -> None:
        self.ended = ended

    def token(self, event: TokenEvent) -> None:
        """A token was produced."""
        if event.finished is not None:
            self.aborted(event.finished)

    def aborted(self, end: Finished) -> None:
        """The server gives the request up."""
        if not self.ended.done():
            self.ended.set_result(end)


class Stream:
    """Writes each token as it comes, straight to the connection: no task wakes up for it."""

    __slots__ = ("_chunks", "_framed", "_transport", "ended")

    def __init__(
        self,
        ended: asyncio.Future[Finished],
        chunks: Chunks,
        transport: asyncio.Transport,
        *,
        framed: bool,
    ) -> None:
        self.ended = ended
        self._chunks = chunks
        self._transport = transport
        self._framed = framed  # chunked transfer coding, HTTP/1.1

    def token(self, event: TokenEvent) -> None:
        """A token was produced."""
        chunks, index, end = self._chunks, event.index, event.finished
        data = chunks.token(index) if end is None else chunks.last(index, end.reason)
        if index == 1:
            data = chunks.role() + data
        if end is not None:
            data += chunks.end(end.output_tokens)
        self._write(data)
        if end is not None and not self.ended.done():
            self.ended.set_result(end)

    def aborted(self, end: Finished) -> None:
        """The server gives the request up."""
        chunks = self._chunks
        data = chunks.last(0, end.reason) + chunks.end(end.output_tokens)
        self._write(data if end.output_tokens else chunks.role() + data)
        if not self.ended.done():
            self.ended.set_result(end)

    def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return  # the client has gone, and its handler is about to be cancelled
        if self._framed:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._transport.write(data)
