"""The data plane: sockets on one side, the policy on the other.

A request comes from an `Inbound` connection, `Intake` finds its model, the policy's `Dispatcher`
says where and when it goes, an `Outbound` connection takes it there and its answer back. Nothing
here waits for a single request: there is no task and no timer for one that finds its replica ready
and connected.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence

from stoker.gateway.access_log import AccessLog
from stoker.gateway.exchange import Exchange, Sent
from stoker.gateway.heads import AnswerHeads, RequestHeads
from stoker.gateway.inbound import Inbound
from stoker.gateway.intake import Intake
from stoker.gateway.keys import Keys
from stoker.gateway.openai import Refusal
from stoker.gateway.outbound import Outbound
from stoker.gateway.policy import (
    Action,
    Dispatch,
    Dispatcher,
    Endpoint,
    EndpointSpec,
    Failure,
    Hold,
    ModelSettings,
    Recall,
    Refuse,
    Stage,
)
from stoker.gateway.recorder import Recorder
from stoker.gateway.refusals import refusal_of
from stoker.gateway.replicas import Replicas
from stoker.gateway.respond import answer, chunk
from stoker.gateway.settings import Limits
from stoker.gateway.shared.dispatching import SharedDispatcher
from stoker.gateway.sockets import Sockets
from stoker.gateway.stats import CLIENT_GONE, ModelCounters
from stoker.gateway.sweep import Sweep


class Plane:
    """All connections and requests of one gateway process.

    Attributes:
        now: Seconds of the clock that the whole machine shares.
        coarse: The time of the last sweep; where half a second does not matter.
        counters: By model.
        other: What is counted without a model.
        on_change: Called when requests come, wait or end; once until `changed` is set back.
        changed: `on_change` has been called.
        on_held: Called with the model when a request waits and there is no replica.
        session_header: In lower case; requests that share its value share a replica.
        prefix_affinity: Requests whose prompts begin alike share a replica.
        page: The metrics page of all processes; None: this one is all there is.
        recorder: Notes requests for a trace.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        *,
        now: Callable[[], float],
        created: float,
        keys: Keys | None = None,
        access_log: AccessLog | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.now = now
        self.created = created
        self.coarse = now()
        self.dispatcher: Dispatcher | SharedDispatcher = Dispatcher()
        self.counters: dict[str, ModelCounters] = {}
        self.other: defaultdict[str, int] = defaultdict(int)
        self.inbounds: set[Inbound] = set()
        self.outbounds: set[Outbound] = set()
        self.keys = keys
        self.access_log = access_log
        self.recorder: Recorder | None = None
        self.changed = False
        self.on_change: Callable[[], None] = lambda: None
        self.on_held: Callable[[str], None] = lambda _model: None
        self.page: Callable[[], Awaitable[str]] | None = None
        self.stopping = False
        self.session_header = b"x-session-id"
        self.prefix_affinity = False
        self.request_heads = RequestHeads()
        self.answer_heads = AnswerHeads()
        self.sockets = sockets or Sockets(loop)
        self.replicas = Replicas(self, self.sockets)
        self._intake, self._sweep = Intake(self), Sweep(self)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # -- models and replicas ---------------------------------------------------------------------

    def set_models(self, models: Sequence[ModelSettings]) -> None:
        """The models that exist, even without a replica."""
        for settings in models:  # from now on, so that rate() sees a first request
            self.counters.setdefault(settings.name, ModelCounters())
        self._perform(self.dispatcher.set_models(models, self.now()))
        self._plan()

    def set_endpoints(self, model: str, endpoints: Iterable[EndpointSpec]) -> None:
        """The replicas of *model* that may get requests."""
        self._perform(self.dispatcher.set_endpoints(model, endpoints, self.now()))
        self._plan()
        self._change()

    def set_health(self, model: str, name: str, *, healthy: bool) -> None:
        """What the health check says of a replica."""
        self._perform(self.dispatcher.set_health(model, name, healthy=healthy, now=self.now()))
        self._plan()

    def decide(self, look: Callable[[float], Sequence[Action]]) -> None:
        """Do what the dispatcher says: another process has left room, or has gone."""
        self._perform(look(self.now()))
        self._plan()

    def remove_endpoint(self, model: str, name: str) -> None:
        """A replica is gone, whatever it had."""
        self._perform(self.dispatcher.remove(model, name, self.now()))
        self._plan()
        self._change()

    def start_failed(self, model: str, why: str) -> None:
        """There will be no replica of *model* for those that wait."""
        self._perform(self.dispatcher.start_failed(model, why, self.now()))

    # -- a request's way -------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> None:
        """A request has come in whole."""
        exchange.began = self.now()
        try:
            self._intake.take(exchange)
        except Refusal as refusal:
            self.refuse(exchange, refusal)

    def arrive(self, exchange: Exchange) -> None:
        """Its model is known: the policy decides."""
        now = exchange.began
        if self.recorder is not None:
            self.recorder.began(exchange)
        if exchange.deadline is not None:
            self._sweep.deadline_of(exchange, exchange.deadline)
        self._perform(self.dispatcher.arrive(exchange, now))
        if exchange.stage == Stage.HELD:
            self._plan()
        self._change()

    def first_byte(self, exchange: Exchange, *, events: bool) -> None:
        """An answer begins to come."""
        now = self.now()
        if exchange.counters is not None and events:
            exchange.counters.first_token(now, now - exchange.began)
        actions = self.dispatcher.first_byte(exchange, now)
        if actions:
            self._perform(actions)

    def answered(self, exchange: Exchange, *, broken: bool) -> None:
        """The whole answer is written; *broken*: the engine says that it ended early."""
        now = self.now()
        if exchange.counters is not None:
            counters = exchange.counters
            counters.in_flight -= 1
            counters.truncated += broken
            outcome = "aborted" if broken else "ok" if exchange.status < 500 else "error"
            counters.replicas[exchange.replica, outcome] += 1
        actions = self.dispatcher.done(exchange, now)
        exchange.sent = Sent.ALL
        self._finish(exchange, exchange.status, now)
        if actions:
            self._perform(actions)

    def cut(self, exchange: Exchange, *, between_events: bool) -> None:
        """The replica went away half way through its answer.

        A stream gets an event that says so, where one can stand. Then the connection closes
        without the last chunk, so that those who do not know that event see it, too.
        """
        now = self.now()
        if exchange.counters is not None:
            exchange.counters.in_flight -= 1
            exchange.counters.truncated += 1
            exchange.counters.replicas[exchange.replica, "broken"] += 1
        actions = self.dispatcher.done(exchange, now, broken=True)
        inbound = exchange.inbound
        if between_events and inbound is not None and inbound.transport is not None:
            message = "The replica went away before the end of its answer."
            event = Refusal(502, "bad_gateway", message, code="replica_lost").event()
            inbound.transport.write(event if exchange.http10 else chunk(event))
        exchange.keep_alive = False
        self._finish(exchange, exchange.status, now)
        self._perform(actions)

    def failed(self, exchange: Exchange, failure: Failure) -> None:
        """The replica failed the request and the client has nothing of an answer yet."""
        now = self.now()
        exchange.outbound = None
        exchange.retries += 1
        if exchange.counters is not None:
            exchange.counters.in_flight -= 1
            exchange.counters.retries[failure.value] += 1
            exchange.counters.replicas[exchange.replica, failure.value] += 1
        self._perform(self.dispatcher.fail(exchange, failure, now))
        self._plan()

    def client_gone(self, exchange: Exchange) -> None:
        """The client has closed its connection before it had all."""
        exchange.inbound = None
        now = self.now()
        at_replica = exchange.endpoint is not None
        if exchange.outbound is not None:
            exchange.outbound.drop()
            exchange.outbound = None
        actions = self.dispatcher.cancel(exchange, now)
        if exchange.counters is not None and at_replica:
            exchange.counters.in_flight -= 1
            exchange.counters.replicas[exchange.replica, "cancelled"] += 1
        self._finish(exchange, CLIENT_GONE, now)
        self._perform(actions)

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer with an error of the gateway's own."""
        if exchange.counters is not None:
            exchange.counters.refused[refusal.code or "bad_request"] += 1
        if self.stopping:
            exchange.keep_alive = False
        if exchange.sent == Sent.HEARTBEAT:
            self.write(exchange, chunk(refusal.event()) + b"0\r\n\r\n")
        else:
            self.write(exchange, answer(exchange, refusal.status, refusal.body(), refusal=refusal))
        exchange.sent = Sent.ALL
        self._finish(exchange, refusal.status, self.now())

    def respond(
        self, exchange: Exchange, body: bytes, content_type: bytes = b"application/json"
    ) -> None:
        """Answer with something that the gateway knows itself."""
        self.write(exchange, answer(exchange, 200, body, content_type=content_type))
        exchange.sent = Sent.ALL
        self._finish(exchange, 200, self.now())

    def respond_later(self, exchange: Exchange, page: Callable[[], Awaitable[str]]) -> None:
        """Answer with a page of text that others have to be asked for."""

        async def respond() -> None:
            text = await page()
            if exchange.inbound is not None:
                self.respond(exchange, text.encode(), b"text/plain; version=0.0.4; charset=utf-8")

        self.replicas.spawn(respond())

    def count(self, name: str) -> None:
        """Count what has no model."""
        self.other[name] += 1

    # -- stop ------------------------------------------------------------------------------------

    async def stop(self, grace: float) -> None:
        """Refuse new requests and those that wait, let the others finish for *grace* seconds.

        Whoever still connects meanwhile hears 503, which says more than a refused connection.
        """
        self.stopping = True
        self._perform(self.dispatcher.stop(self.now()))
        for inbound in tuple(self.inbounds):
            inbound.stop()
        until = self.now() + grace
        while any(i.busy for i in self.inbounds) and self.now() < until:  # noqa: ASYNC110 - many
            await asyncio.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Drop everything."""
        self._sweep.stop()
        if self._timer is not None:
            self._timer.cancel()
        for inbound in tuple(self.inbounds):
            inbound.abort()
        for outbound in tuple(self.outbounds):
            outbound.drop()
        self.replicas.close(self.now())
        if self.access_log is not None:  # after what the aborted connections have to say
            self.loop.call_soon(self.access_log.close)

    def _change(self) -> None:
        if not self.changed:
            self.changed = True
            self.on_change()

    # -- inside: the policy's orders -------------------------------------------------------------

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            exchange = action.request
            if not isinstance(exchange, Exchange):
                continue
            if isinstance(action, Dispatch):
                self._dispatch(exchange, action.endpoint)
            elif isinstance(action, Hold):
                self._hold(exchange, cold=action.cold)
            elif isinstance(action, Refuse):
                self.refuse(exchange, refusal_of(action, self.dispatcher.models))
            elif isinstance(action, Recall):
                self._recall(exchange)

    def _dispatch(self, exchange: Exchange, endpoint: Endpoint) -> None:
        counters = exchange.counters
        if counters is not None:
            counters.in_flight += 1
            counters.hold.observe(exchange.waited)
        exchange.replica = endpoint.name
        self.replicas.send(exchange, endpoint)

    def _hold(self, exchange: Exchange, *, cold: bool) -> None:
        if cold:
            self.on_held(exchange.model)
        if exchange.stream and self.limits.heartbeat and not exchange.http10:
            self._sweep.beat_from(exchange, self.now() + self.limits.heartbeat)
        if len(exchange.body) >= self.limits.spool:
            self.replicas.spool(exchange)

    def _recall(self, exchange: Exchange) -> None:
        exchange.attempt += 1
        exchange.retries += 1
        if exchange.counters is not None:
            exchange.counters.in_flight -= 1
            exchange.counters.retries[Failure.WITHDRAWN.value] += 1
            exchange.counters.replicas[exchange.replica, Failure.WITHDRAWN.value] += 1
        if exchange.outbound is not None:
            exchange.outbound.drop()
            exchange.outbound = None

    def _plan(self) -> None:
        """Let the policy's next timer wake us."""
        due = self.dispatcher.next_timer(self.now()) if self.dispatcher.waits else None
        if due is None:
            return
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self.loop.call_later(max(due - self.now(), 0.0), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._perform(self.dispatcher.tick(self.now()))
        self._plan()

    def give_up(self, exchange: Exchange, refusal: Refusal) -> None:
        """End a request that is at a replica."""
        if exchange.counters is not None:
            exchange.counters.in_flight -= 1
            exchange.counters.replicas[exchange.replica, "timeout"] += 1
        actions = self.dispatcher.cancel(exchange, self.now())
        self.refuse(exchange, refusal)
        self._perform(actions)

    # -- inside: answers -------------------------------------------------------------------------

    def write(self, exchange: Exchange, data: bytes) -> None:
        """Send *data* to the client, if it is there."""
        inbound = exchange.inbound
        if inbound is not None and inbound.transport is not None:
            inbound.transport.write(data)

    def _finish(self, exchange: Exchange, status: int, now: float) -> None:
        exchange.stage = Stage.OVER
        counters = exchange.counters
        if counters is not None:
            counters.by_code[status] += 1
            counters.duration.observe(now - exchange.began)
        self._sweep.over(exchange)
        if exchange.spooled is not None:
            exchange.spooled.close()
            exchange.spooled = None
        if exchange.sender is not None:
            exchange.sender.end()
            exchange.sender = None
        if self.access_log is not None:
            self.access_log.write(exchange, status, now)
        if self.recorder is not None:
            self.recorder.ended(exchange, status)
        inbound, exchange.inbound = exchange.inbound, None
        exchange.body = b""
        self._change()
        if inbound is not None:
            inbound.finished()
