"""What happens by and by: silence that lasts too long, signs of life, deadlines, what is kept.

It looks twice a second, which is as exact as anything here needs to be. Nothing has a timer of its
own.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from stoker.gateway.exchange import Exchange, Sent
from stoker.gateway.openai import Refusal
from stoker.gateway.policy import Stage
from stoker.gateway.respond import EVENTS_HEAD, HEARTBEAT, HEARTBEAT_CHUNK

if TYPE_CHECKING:
    import asyncio

    from stoker.gateway.outbound import Outbound
    from stoker.gateway.plane import Plane

SWEEP: Final = 0.5  # seconds between two looks
_FORGET_EVERY: Final = 60.0  # seconds that heads of requests are remembered, at most


class Sweep:
    """Looks after the connections and requests of a plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._beats: set[Exchange] = set()
        self._deadlines: list[tuple[float, int, Exchange]] = []
        self._numbers = count()
        self._forgot_at = plane.coarse
        self._timer: asyncio.TimerHandle = plane.loop.call_later(SWEEP, self._look)

    def beat_from(self, exchange: Exchange, at: float) -> None:
        """Give *exchange* signs of life from *at* on, while it waits."""
        if exchange.sent == Sent.NOTHING:
            exchange.beat_at = at
        self._beats.add(exchange)

    def deadline_of(self, exchange: Exchange, at: float) -> None:
        """The answer to *exchange* must begin before *at*."""
        heappush(self._deadlines, (at, next(self._numbers), exchange))

    def over(self, exchange: Exchange) -> None:
        """*exchange* has ended."""
        if self._beats:
            self._beats.discard(exchange)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    # -- inside ----------------------------------------------------------------------------------

    def _look(self) -> None:
        plane = self._plane
        now = plane.coarse = plane.now()
        self._look_at_connections(now)
        for exchange in tuple(self._beats):
            if now >= exchange.beat_at:
                self._beat(exchange, now)
        while self._deadlines and self._deadlines[0][0] <= now:
            self._late(heappop(self._deadlines)[2], now)
        for counters in plane.counters.values():
            counters.mark_tokens(now)
        if plane.keys is not None:
            plane.keys.reload_if_changed(now)
        if plane.access_log is not None:
            plane.access_log.flush()
        if now - self._forgot_at > _FORGET_EVERY:
            self._forgot_at = now
            plane.request_heads.forget()
        self._timer = plane.loop.call_later(SWEEP, self._look)

    def _look_at_connections(self, now: float) -> None:
        plane = self._plane
        idle_timeout = plane.limits.idle_timeout
        for inbound in tuple(plane.inbounds):
            if now >= inbound.deadline:
                inbound.expired()
            elif inbound.stalled is not None and now - inbound.stalled > idle_timeout:
                inbound.abort()
        for outbound in tuple(plane.outbounds):
            if outbound.exchange is not None and now - outbound.seen > idle_timeout:
                self._silent(outbound, outbound.exchange)
        plane.replicas.close_idle(now)

    def _silent(self, outbound: Outbound, exchange: Exchange) -> None:
        """A replica has not said a word for too long."""
        outbound.drop()
        exchange.outbound = None
        if exchange.sent == Sent.ANSWER:
            self._plane.cut(exchange, between_events=False)
            return
        message = f"The replica {exchange.replica} sent nothing for too long."
        self._plane.give_up(
            exchange, Refusal(504, "timeout", message, code="idle_timeout", retry_after=5)
        )

    def _late(self, exchange: Exchange, now: float) -> None:
        """The client's own time is over and its answer has not begun."""
        if exchange.stage != Stage.SENT:
            return
        allowed = (exchange.deadline or now) - exchange.began
        message = f"The model `{exchange.model}` had not begun to answer after {allowed:g} s."
        retry_after = self._plane.dispatcher.retry_after(exchange.model, now)
        refusal = Refusal(
            504, "timeout", message, code="deadline_exceeded", retry_after=retry_after
        )
        if exchange.outbound is not None:
            exchange.outbound.drop()
            exchange.outbound = None
        self._plane.give_up(exchange, refusal)

    def _beat(self, exchange: Exchange, now: float) -> None:
        """A sign of life for a stream that waits."""
        if exchange.stage != Stage.HELD and exchange.sent == Sent.NOTHING:
            return  # a replica has it, and may answer any moment; if it fails it may wait again
        plane = self._plane
        if exchange.sent == Sent.NOTHING:
            exchange.sent = Sent.HEARTBEAT
            exchange.status = 200
            plane.write(exchange, EVENTS_HEAD % exchange.request_id)
        if exchange.sent != Sent.HEARTBEAT:
            return
        plane.write(exchange, HEARTBEAT_CHUNK if plane.limits.heartbeat_chunks else HEARTBEAT)
        exchange.beat_at = now + plane.limits.heartbeat
