"""One request of a client and its answer, from the first byte of the one to the last of the other.

It is the policy's `Request` with what the sockets need. It belongs to one `Inbound` connection all
the time and to one `Outbound` connection while a replica has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stoker.gateway.policy import Request

if TYPE_CHECKING:
    from stoker.gateway.heads import RequestHead
    from stoker.gateway.inbound import Inbound
    from stoker.gateway.keys import Sender
    from stoker.gateway.outbound import Outbound
    from stoker.gateway.recorder import Entry
    from stoker.gateway.spool import Spooled
    from stoker.gateway.stats import ModelCounters


class Sent:
    """How much of an answer the client has."""

    NOTHING: Final = 0
    HEARTBEAT: Final = 1  # a head and signs of life, nothing of a replica
    ANSWER: Final = 2  # what a replica sent
    ALL: Final = 3


class Exchange(Request):
    """A request and its answer.

    Attributes:
        inbound: The client's connection; None when the client is gone.
        outbound: The replica's connection while one has it.
        method: As sent.
        path: With the query, as the replica gets it.
        asked: The head that came; others may have the same.
        read: The headers that the gateway reads itself, by lower-case name.
        body: Of the request; empty while it is spooled.
        spooled: The body on disk.
        head: The request's head for a replica, without Host; built once.
        request_id: The client's own or one of ours.
        http10: The client speaks HTTP/1.0: no chunks.
        keep_alive: Its connection stays open afterwards.
        stream: It asked for a stream.
        sent: How much of an answer it has.
        status: Of the answer; 0 before.
        began: When the request had come in whole.
        attempt: Counts dispatches, so that a connection that comes too late is recognised.
        counters: Of its model.
        given: The name of the model as the client wrote it.
        size_out: Bytes of the answer's body, for the access log.
        sender: Whose API key it has.
        entry: What is noted of it for a trace; None: nothing is.
        beat_at: When a sign of life is due.
    """

    __slots__ = (
        "asked",
        "attempt",
        "beat_at",
        "began",
        "body",
        "counters",
        "entry",
        "given",
        "head",
        "http10",
        "inbound",
        "keep_alive",
        "method",
        "outbound",
        "path",
        "read",
        "replica",
        "request_id",
        "retries",
        "sender",
        "sender_name",
        "sent",
        "size_out",
        "spooled",
        "status",
        "stream",
    )

    def __init__(self, inbound: Inbound, asked: RequestHead) -> None:
        super().__init__("")
        self.inbound: Inbound | None = inbound
        self.outbound: Outbound | None = None
        self.asked = asked
        self.method = asked.method
        self.path = asked.path
        self.read = asked.read
        self.body: bytes = b""
        self.spooled: Spooled | None = None
        self.head: bytes = b""
        self.request_id: bytes = b""
        self.http10 = asked.http10
        self.keep_alive = asked.keep_alive
        self.stream = False
        self.sent: int = Sent.NOTHING
        self.status = 0
        self.began = 0.0
        self.attempt = 0
        self.retries = 0
        self.counters: ModelCounters | None = None
        self.given = ""
        self.replica = ""
        self.sender: Sender | None = None
        self.sender_name: str | None = None
        self.entry: Entry | None = None
        self.size_out = 0
        self.beat_at = 0.0
