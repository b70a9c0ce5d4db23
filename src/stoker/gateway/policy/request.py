"""One request as the policy sees it: who sent it, how long it may wait, where it is."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stoker.gateway.policy.endpoint import Endpoint


class Priority(IntEnum):
    """Clients may put themselves behind others, never before them: that needs no trust."""

    NORMAL = 0
    LOW = 1


class Stage:
    """How far a request has come. It ends exactly once. Plain numbers: they are asked for often."""

    NEW: Final = 0
    HELD: Final = 1  # waits for an endpoint
    SENT: Final = 2  # an endpoint has it and has not answered
    ANSWERING: Final = 3  # the first byte of the answer has come
    OVER: Final = 4


class Request:
    """A request. The policy changes it; drivers read it and keep their own things in ``owner``.

    Attributes:
        model: The model's first name.
        key: Who sends it, for fair turns; "" is one sender like any other.
        priority: Of two.
        size: Bytes of the body.
        affinity: A hash of its session or of its prompt's beginning; None: any endpoint will do.
        deadline: When the client ceases to wait; None: it did not say.
        owner: The driver's.
        stage: How far it has come.
        endpoint: Where it is while it is `SENT` or `ANSWERING`.
        arrived: When it came.
        expires: When it must have left the queue.
        waited: Seconds that it spent in the queue before it was last sent.
        tried: Names of the endpoints that failed it.
        lost: Names of those that had it and went away without an answer.
    """

    __slots__ = (
        "affinity",
        "arrived",
        "deadline",
        "endpoint",
        "expires",
        "key",
        "lost",
        "model",
        "owner",
        "pause",
        "priority",
        "resumes",
        "since",
        "size",
        "stage",
        "tried",
        "waited",
    )

    def __init__(
        self,
        model: str,
        *,
        key: str = "",
        priority: Priority = Priority.NORMAL,
        size: int = 0,
        affinity: int | None = None,
        deadline: float | None = None,
        owner: Any = None,
    ) -> None:
        self.model = model
        self.key = key
        self.priority = priority
        self.size = size
        self.affinity = affinity
        self.deadline = deadline
        self.owner = owner
        self.stage: int = Stage.NEW
        self.endpoint: Endpoint | None = None
        self.arrived = 0.0
        self.expires = 0.0
        self.since = 0.0  # when it began to wait
        self.waited = 0.0
        self.tried: frozenset[str] = frozenset()
        self.lost: frozenset[str] = frozenset()
        self.pause = 0.0  # before the endpoints that failed it get another chance
        self.resumes: float | None = None  # when that is, while it waits for it
