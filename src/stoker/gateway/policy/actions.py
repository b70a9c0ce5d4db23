"""What the policy tells its driver to do."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from stoker.gateway.policy.endpoint import Endpoint
from stoker.gateway.policy.request import Request


class Failure(StrEnum):
    """What an endpoint did with a request before the first byte of an answer."""

    CONNECT = "connect"  # no connection: the request was not sent
    NO_ANSWER = "no_answer"  # the connection ended without an answer
    BAD_ANSWER = "bad_answer"  # what came is not HTTP
    BROKEN_ANSWER = "broken_answer"  # an answer in one piece ended half way
    ABORTED = "aborted"  # the engine ended it because it stops
    UNAVAILABLE = "unavailable"  # 503: the engine is full, or drains
    WITHDRAWN = "withdrawn"  # the endpoint was removed, or its health check failed


#: The endpoint had the request: a request that makes engines die must not visit all of them.
LOSING = frozenset({Failure.NO_ANSWER, Failure.BAD_ANSWER, Failure.BROKEN_ANSWER, Failure.ABORTED})
#: What speaks against the endpoint itself, for its circuit breaker.
BREAKING = frozenset(
    {Failure.CONNECT, Failure.NO_ANSWER, Failure.BAD_ANSWER, Failure.BROKEN_ANSWER}
)


class Reason(StrEnum):
    """Why a request is refused; the word is the error's ``code``."""

    QUEUE_FULL = "queue_full"  # too many wait, or too many bytes
    DISPLACED = "queue_share"  # its sender has most of a full queue
    HOLD_TIMEOUT = "hold_timeout"  # no endpoint in the time that the model allows
    DEADLINE = "deadline_exceeded"  # the time that the client gave is over
    START_FAILED = "start_failed"  # the owner says that there will be no replica
    REPLICAS_LOST = "replicas_lost"  # too many endpoints had it and went away
    RETRIES_EXHAUSTED = "retries_exhausted"  # the model's retry budget is used up
    UNKNOWN_MODEL = "model_not_found"
    STOPPING = "stopping"


class Dispatch:
    """Send *request* to *endpoint*. There is one for each request, so it is as light as can be."""

    __slots__ = ("endpoint", "request")

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        self.request = request
        self.endpoint = endpoint


class Hold(NamedTuple):
    """*request* waits. *cold*: its model has no endpoint at all, so somebody should start one."""

    request: Request
    cold: bool


class Refuse(NamedTuple):
    """Answer *request* with an error. *retry_after* is in whole seconds, None where it is moot."""

    request: Request
    reason: Reason
    retry_after: int | None
    detail: str


class Recall(NamedTuple):
    """Drop the connection of *request* to *endpoint*; a `Dispatch` or `Hold` of it follows."""

    request: Request
    endpoint: Endpoint


Action = Dispatch | Hold | Refuse | Recall
