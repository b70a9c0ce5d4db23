"""What the gateway allows its clients and expects of its replicas, whatever the model."""

from __future__ import annotations

from dataclasses import dataclass

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are in seconds.

    Attributes:
        max_body: Bytes of a request's body; 413 beyond.
        max_head: Bytes of a request's head; 431 beyond.
        head_timeout: For a request's head to come in whole; 408 after.
        body_timeout: Silence within a request's body.
        body_total: For the whole body to come in.
        keep_alive: How long a connection of a client may be idle.
        connect_timeout: For a replica to take a connection.
        idle_timeout: Silence of a replica that has a request, or of a client that does not read
            its answer. There is no limit to the whole.
        heartbeat: Silence before a stream that waits gets a sign of life; 0: never.
        heartbeat_chunks: Signs of life are empty chunks instead of comments.
        spool: A body of at least so many bytes waits on disk.
    """

    max_body: int = 64 * _MIB
    max_head: int = 64 * _KIB
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    body_total: float = 600.0
    keep_alive: float = 75.0
    connect_timeout: float = 5.0
    idle_timeout: float = 600.0
    heartbeat: float = 15.0
    heartbeat_chunks: bool = False
    spool: int = _MIB
