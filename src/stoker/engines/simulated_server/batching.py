"""Runs the engine model on an event loop: one timer for the next step, whatever the load."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from stoker.clock import Clock
from stoker.engines.metrics_page import MetricsPage
from stoker.simulator.engine import Engine, Finished, Request, TokenEvent


class Sink(Protocol):
    """Where the tokens of one request go."""

    def token(self, event: TokenEvent) -> None:
        """A token was produced; ``event.finished`` says that it was the last."""
        ...

    def aborted(self, end: Finished) -> None:
        """The server gives the request up."""
        ...


class Batching:
    """The engine in real time.

    Steps begin and end at the engine's own times. A timer that fires late delivers late, and the
    engine does not fall behind: a simulated GPU does not wait for a busy CPU.
    """

    def __init__(self, engine: Engine, metrics: MetricsPage, clock: Clock) -> None:
        self.engine = engine
        self._metrics = metrics
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._sinks: dict[str, Sink] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def in_flight(self) -> int:
        """Requests that are not finished."""
        return len(self._sinks)

    def submit(self, request: Request, sink: Sink) -> None:
        """Queue *request*; its tokens go to *sink*."""
        now = self._clock.now()
        self._advance(now)
        self.engine.submit(request, now)
        self._metrics.arrived(request.id, request.max_tokens, now)
        self._sinks[request.id] = sink
        self._empty.clear()
        if self._timer is None:
            self._timer = self._loop.call_later(0.0, self._wake)

    def cancel(self, request_id: str) -> None:
        """The client has gone. Nothing happens when the request is finished."""
        now = self._clock.now()
        self._advance(now)
        end = self.engine.cancel(request_id, now)
        if end is not None:
            self._metrics.ended(request_id, end)
            self._forget(request_id)

    def abort_all(self) -> None:
        """Give all requests up and tell their sinks."""
        now = self._clock.now()
        self._advance(now)
        for request_id in tuple(self._sinks):
            sink = self._sinks[request_id]
            end = self.engine.cancel(request_id, now)
            self._forget(request_id)
            if end is not None:
                self._metrics.ended(request_id, end)
                sink.aborted(end)

    async def drained(self) -> None:
        """Wait until no request is in flight."""
        await self._empty.wait()

    def _wake(self) -> None:
        self._timer = None
        self._advance(self._clock.now())
        at = self.engine.next_event()
        if at is not None:
            # uvloop's timers have whole milliseconds: round up, or it would wake too early.
            delay = math.ceil((at - self._clock.now()) * 1000.0) / 1000.0
            self._timer = self._loop.call_later(max(delay, 0.0), self._wake)

    def _advance(self, now: float) -> None:
        events = self.engine.advance(now)
        self._metrics.produced(events)
        for event in events:
            self._sinks[event.request_id].token(event)
            if event.finished is not None:
                self._forget(event.request_id)

    def _forget(self, request_id: str) -> None:
        del self._sinks[request_id]
        if not self._sinks:
            self._empty.set()
