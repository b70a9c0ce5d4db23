"""What a model's users and its owner agree on: limits, patience, and how new replicas warm up."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The rules for one model. Times are in seconds.

    Attributes:
        name: The model's name; the first of its names.
        aliases: Its other names.
        limit: Outstanding requests that an endpoint may have; None: as many as come.
        queue_requests: Requests that may wait.
        queue_bytes: Bytes of bodies that may wait.
        hold: How long a request may wait for an endpoint.
        slow_start: How long a new endpoint is treated as one that warms up; 0: not at all.
        burst: Outstanding requests that a new endpoint may have at once.
        pace: By how many a second that number grows during the slow start.
        load_cap: Affinity holds as long as an endpoint has at most this many times the mean load.
        start_up: How long a start takes as measured; None while nobody knows.
    """

    name: str
    aliases: tuple[str, ...] = ()
    limit: int | None = None
    queue_requests: int = 1000
    queue_bytes: int = 64 * _MIB
    hold: float = 600.0
    slow_start: float = 5.0
    burst: int = 16
    pace: float = 64.0
    load_cap: float = 1.25
    start_up: float | None = None


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """A replica as the owner names it.

    Attributes:
        name: Unique among the endpoints of its model; a pod's name.
        url: Where it listens.
        weight: Its share, relative to the others of its model.
        limit: Its own limit of outstanding requests; None: the model's.
        ready_at: When it became ready, on the clock that is passed as `now`; None: long ago.
    """

    name: str
    url: str = ""
    weight: float = 1.0
    limit: int | None = None
    ready_at: float | None = None
