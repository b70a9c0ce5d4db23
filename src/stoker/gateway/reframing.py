"""Answers whose framing at the client is not that of the replica.

A client of HTTP/1.0 knows no chunks, and one that has had signs of life already has a head and
chunks of ours. For those the body is taken out of its chunks, and put into others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stoker.gateway.outbound import Outbound

LAST_CHUNK: Final = b"0\r\n\r\n"


class Pieces:
    """The body of an answer without its framing, and how the client is to get it."""

    __slots__ = ("_waiting", "chunks", "only_events")

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self.chunks = False  # for a client of HTTP/1.1 that has had a head of ours
        self.only_events = False  # what is no stream goes into one event of that stream

    def add(self, body: bytes) -> None:
        """A piece has come."""
        self._waiting.append(body)

    def take(self) -> bytes:
        """What has come since."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        if self.only_events and data:
            return b"data: " + data.replace(b"\r", b"").replace(b"\n", b"\ndata: ") + b"\n\n"
        return data

    def framed(self, data: bytes) -> bytes:
        """*data* as the client gets it."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunks else data

    def last(self) -> bytes:
        """What the client gets at the end."""
        return LAST_CHUNK if self.chunks else b""


class Reframed:
    """The parser's callbacks of a connection whose answer is framed anew."""

    __slots__ = ("_pieces", "on_headers_complete", "on_message_begin", "on_message_complete")

    def __init__(self, outbound: Outbound, pieces: Pieces) -> None:
        self._pieces = pieces
        self.on_message_begin = outbound.on_message_begin
        self.on_headers_complete = outbound.on_headers_complete
        self.on_message_complete = outbound.on_message_complete

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._pieces.add(body)
