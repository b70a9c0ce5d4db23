"""One request's way to a replica, and the answer's way back.

Retried: a refused connection, and a replica that goes away, or is draining and says 503, before its
answer began. Never retried: anything after the first byte went to the client. A stream is passed on
as it comes. An answer in one piece is read whole before it is sent, so that a replica that dies
half way through it costs a retry and not an answer.
"""

from __future__ import annotations

import io
import re
import uuid
from dataclasses import dataclass

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict

from stoker.clock import Clock
from stoker.gateway.dispatch import Backend, Dispatcher, Ticket
from stoker.gateway.openai import Refusal
from stoker.gateway.stats import ModelCounters

#: A request that makes a replica die must not visit all of them.
MAX_LOST = 3
REQUEST_ID = "X-Request-Id"
_ID = web.RequestKey("id", str)

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# The body was decompressed to find its model, and all of it is here.
_REQUEST_ONLY = frozenset({"host", "content-length", "content-encoding", "expect"})
_NO_AUTO_HEADERS = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)
_WHOLE_ANSWER = 1 << 20  # bytes; longer ones are passed on as they come
_LARGE_BODY = 1 << 20  # aiohttp warns of larger ones that come as bytes
_TAIL = 4096  # bytes; `usage` and the last finish_reason stand at the end
_TOKENS = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')
_ABORTED = re.compile(rb'"finish_reason":\s*"abort"')


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that has come in whole. ``at`` is when, in seconds since the Unix epoch."""

    request: web.BaseRequest
    body: bytes
    at: float


class _TryAgain(Exception):  # noqa: N818 - a turn of the way, not an error
    """The replica did not answer and another may."""

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lost = lost  # the replica had the request


class Forwarder:
    """Sends requests to replicas."""

    def __init__(
        self, session: aiohttp.ClientSession, dispatcher: Dispatcher, clock: Clock
    ) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._clock = clock

    async def forward(
        self, arrival: Arrival, ticket: Ticket, counters: ModelCounters
    ) -> web.StreamResponse:
        """Take the request to a replica and its answer to the client, who has it all on return.

        Raises:
            Refusal: there is no answer to be had.
            ConnectionError: the client is gone.
        """
        lost = 0
        while True:
            waiting_since = self._clock.now()
            backend = await self._dispatcher.acquire(ticket)
            counters.hold.observe(self._clock.now() - waiting_since)
            counters.in_flight += 1
            try:
                return await self._attempt(arrival, ticket, backend, counters)
            except _TryAgain as failure:
                lost += failure.lost
                if lost >= MAX_LOST:
                    raise _lost(lost, failure.reason) from None
                counters.retries[failure.reason] += 1
                ticket.tried.add(backend.name)
            finally:
                counters.in_flight -= 1
                self._dispatcher.release(backend)

    async def _attempt(
        self, arrival: Arrival, ticket: Ticket, backend: Backend, counters: ModelCounters
    ) -> web.StreamResponse:
        upstream = await self._ask(arrival, backend)
        try:
            # A replica that is full says 503 as one that drains does: the last one's is passed on.
            if upstream.status == 503 and (
                self._dispatcher.has_other(_with(ticket, backend))
                or not self._dispatcher.is_ready(ticket, backend)
            ):
                raise _TryAgain("unavailable", lost=False)
            if _fits_whole(upstream):
                return await self._pass_whole(arrival, upstream, counters)
            return await self._pass_stream(arrival, upstream, counters)
        finally:
            upstream.close()  # a connection whose answer was read to its end is not affected

    async def _ask(self, arrival: Arrival, backend: Backend) -> aiohttp.ClientResponse:
        request, body = arrival.request, arrival.body
        try:
            return await self._session.request(
                request.method,
                backend.url.rstrip("/") + request.raw_path,
                data=io.BytesIO(body) if len(body) > _LARGE_BODY else body,
                headers=_upstream_headers(request),
                skip_auto_headers=_NO_AUTO_HEADERS,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise _TryAgain("connect", lost=False) from None
        except aiohttp.ServerTimeoutError:
            message = f"The replica {backend.name} sent nothing for too long."
            raise Refusal(504, "timeout", message, code="idle_timeout", retry_after=5) from None
        except aiohttp.ClientConnectionError:
            raise _TryAgain("no_answer", lost=True) from None
        except aiohttp.ClientResponseError:
            raise _TryAgain("bad_answer", lost=True) from None

    async def _pass_whole(
        self, arrival: Arrival, upstream: aiohttp.ClientResponse, counters: ModelCounters
    ) -> web.StreamResponse:
        try:
            body = await upstream.read()
        except (aiohttp.ClientError, TimeoutError):
            raise _TryAgain("broken_answer", lost=True) from None
        if _ABORTED.search(body):
            # vLLM on SIGTERM: 200, what there was so far, finish_reason "abort".
            raise _TryAgain("aborted", lost=True)
        if used := _TOKENS.findall(body, len(body) - _TAIL if len(body) > _TAIL else 0):
            counters.tokens(self._clock.now(), int(used[-1]))
        response = web.Response(status=upstream.status, reason=upstream.reason, body=body)
        response.headers.clear()
        response.headers.update(_downstream_headers(arrival.request, upstream))
        await response.prepare(arrival.request)
        await response.write_eof()
        return response

    async def _pass_stream(
        self, arrival: Arrival, upstream: aiohttp.ClientResponse, counters: ModelCounters
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=upstream.status,
            reason=upstream.reason,
            headers=_downstream_headers(arrival.request, upstream),
        )
        await response.prepare(arrival.request)
        events = upstream.content_type == "text/event-stream"
        meter = _Meter(counters, events=events)
        while True:
            try:
                chunk = await upstream.content.readany()
            except (aiohttp.ClientError, TimeoutError):
                return _cut(arrival.request, response, counters)
            if not chunk:
                break
            now = self._clock.now()
            if events and not meter.began:
                counters.first_token(now, now - arrival.at)
            meter.feed(now, chunk)
            await response.write(chunk)
        if meter.finish(self._clock.now()):
            counters.truncated += 1
        await response.write_eof()
        return response


class _Meter:
    """Counts the tokens of a stream without taking it apart.

    vLLM sends an event a token, between one event with the role and perhaps one with the usage. So
    two less than the events were tokens for sure, and the usage, if there is any, corrects it.
    """

    def __init__(self, counters: ModelCounters, *, events: bool) -> None:
        self._counters = counters
        self._is_stream = events
        self._events = 0
        self._counted = 0
        self._tail = b""
        self.began = False

    def feed(self, now: float, chunk: bytes) -> None:
        self.began = True
        # 6 bytes of the tail find a `data: {` that was cut, and never count one twice.
        self._events += (self._tail[-6:] + chunk).count(b"data: {")
        self._tail = (self._tail + chunk)[-_TAIL:]
        self._count(now, self._events - 2)

    def finish(self, now: float) -> bool:
        """The end. Whether the engine aborted the answer."""
        used = _TOKENS.findall(self._tail)
        self._count(now, int(used[-1]) if used else self._events - 1)
        return _ABORTED.search(self._tail) is not None

    def _count(self, now: float, tokens: int) -> None:
        if self._is_stream and tokens > self._counted:
            self._counters.tokens(now, tokens - self._counted)
            self._counted = tokens


def _cut(
    request: web.BaseRequest, response: web.StreamResponse, counters: ModelCounters
) -> web.StreamResponse:
    """Close the connection without the last chunk: the client sees that the answer is not whole.

    An error event in the stream would look like an answer to the many clients that do not know it.
    """
    counters.truncated += 1
    if request.transport is not None:
        request.transport.close()
    return response


def _with(ticket: Ticket, backend: Backend) -> Ticket:
    return Ticket(ticket.model, ticket.size, ticket.deadline, ticket.tried | {backend.name})


def _fits_whole(upstream: aiohttp.ClientResponse) -> bool:
    length = upstream.content_length
    return (
        length is not None
        and length <= _WHOLE_ANSWER
        and upstream.content_type != "text/event-stream"
    )


def _lost(times: int, reason: str) -> Refusal:
    message = f"{times} replicas took the request and went away without an answer ({reason})."
    return Refusal(502, "bad_gateway", message, code="replicas_lost", retry_after=5)


def _end_to_end(headers: CIMultiDict[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    """Headers without those that are for one connection only (RFC 9110, 7.6.1)."""
    named = headers.get(hdrs.CONNECTION, "").lower()
    connection = {token.strip() for token in named.split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (key := name.lower()) not in _HOP_BY_HOP and key not in dropped and key not in connection
    )


def _upstream_headers(request: web.BaseRequest) -> CIMultiDict[str]:
    headers = _end_to_end(CIMultiDict(request.headers), _REQUEST_ONLY)
    headers[REQUEST_ID] = request_id(request)
    return headers


def _downstream_headers(
    request: web.BaseRequest, upstream: aiohttp.ClientResponse
) -> CIMultiDict[str]:
    headers = _end_to_end(CIMultiDict(upstream.headers), frozenset())
    headers.setdefault(REQUEST_ID, request_id(request))
    return headers


def request_id(request: web.BaseRequest) -> str:
    """The client's X-Request-Id, or one of our own that stays the same for the request."""
    given = request.headers.get(REQUEST_ID)
    if given:
        return given
    if _ID not in request:
        request[_ID] = uuid.uuid4().hex
    return request[_ID]
