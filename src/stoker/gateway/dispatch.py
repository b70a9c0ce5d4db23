"""Who gets which request: least outstanding requests, and a queue while no replica is ready.

Everything happens on one event loop; nothing here opens a connection.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from stoker.gateway.openai import Refusal

RETRY_PAUSE = 0.1  # doubles up to RETRY_PAUSE_MAX while all ready replicas refuse connections
RETRY_PAUSE_MAX = 2.0
_START_UP_GUESS = 30.0  # Retry-After before any cold start was seen


@dataclass(frozen=True, slots=True)
class Backend:
    """A replica that is ready and stays. ``name`` is the pod's."""

    name: str
    url: str


@dataclass(slots=True)
class Ticket:
    """One request on its way to a replica. Times are of the event loop."""

    model: str
    size: int  # bytes of the body, which stay in memory while the request waits
    deadline: float
    tried: set[str] = field(default_factory=set)  # pods that failed it
    pause: float = RETRY_PAUSE


@dataclass(slots=True, eq=False)
class _Waiter:
    ticket: Ticket
    backend: asyncio.Future[Backend]


@dataclass(slots=True)
class _Model:
    """What is known of one model."""

    name: str
    aliases: tuple[str, ...] = ()
    backends: tuple[Backend, ...] = ()
    queue: deque[_Waiter] = field(default_factory=deque)
    queued_bytes: int = 0
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=9))  # seconds of waiting


class Dispatcher:
    """Gives replicas to requests. Ties between replicas go to the one that waited longest."""

    def __init__(self, *, queue_limit: int, queue_bytes: int, hold_timeout: float) -> None:
        self._models: dict[str, _Model] = {}
        self._names: dict[str, str] = {}  # models and aliases -> model
        self._in_flight: Counter[str] = Counter()
        self._last_turn: dict[str, int] = {}
        self._turn = 0
        self._queue_limit = queue_limit
        self._queue_bytes = queue_bytes
        self._hold_timeout = hold_timeout
        self._closed = False
        self.on_held: Callable[[str], None] = lambda _model: None

    # -- what there is ---------------------------------------------------------------------------

    def set_models(self, models: Mapping[str, Sequence[str]]) -> None:
        """The models that exist, each with its aliases. Requests that wait for others get a 404."""
        for name in self._models.keys() - models.keys():
            gone = self._models.pop(name)
            self._refuse_all(gone, partial(Refusal.unknown_model, name, models))
        for name, aliases in models.items():
            self._models.setdefault(name, _Model(name)).aliases = tuple(aliases)
        self._names = {alias: m.name for m in self._models.values() for alias in m.aliases}
        self._names |= {name: name for name in self._models}

    def set_backends(self, model: str, backends: Sequence[Backend]) -> None:
        """The replicas that may get requests from now on. Others finish what they have."""
        if model not in self._models:
            self._models[model] = _Model(model)
            self._names[model] = model
        self._models[model].backends = tuple(backends)
        known = {backend.name for m in self._models.values() for backend in m.backends}
        for pod in self._last_turn.keys() - known:
            del self._last_turn[pod]
        self._release_waiting(self._models[model])

    @property
    def models(self) -> tuple[str, ...]:
        """The names of all models, in the order in which they were told."""
        return tuple(self._models)

    def aliases(self, model: str) -> tuple[str, ...]:
        """Further names of *model*."""
        return self._models[model].aliases

    def backends(self, model: str) -> tuple[Backend, ...]:
        """The ready replicas of *model*."""
        known = self._models.get(model)
        return known.backends if known else ()

    def resolve(self, name: str) -> str | None:
        """The model that *name* stands for, None when there is none."""
        return self._names.get(name)

    def in_flight(self, pod: str) -> int:
        """Requests that were given to *pod* and not yet given back."""
        return self._in_flight[pod]

    def pods(self) -> tuple[str, ...]:
        """Those that are ready or have requests, by name."""
        ready = {backend.name for model in self._models.values() for backend in model.backends}
        return tuple(sorted(ready | self._in_flight.keys()))

    def held(self, model: str) -> int:
        """Requests that wait for a replica of *model*."""
        known = self._models.get(model)
        return len(known.queue) if known else 0

    def held_bytes(self, model: str) -> int:
        """Bytes of the bodies of the requests that wait."""
        known = self._models.get(model)
        return known.queued_bytes if known else 0

    def retry_after(self, model: str) -> int:
        """Whole seconds after which to come again: the median of recent waits for a start-up."""
        known = self._models.get(model)
        seconds = median(known.starts) if known and known.starts else _START_UP_GUESS
        return min(max(math.ceil(seconds), 1), 300)

    # -- a request's way -------------------------------------------------------------------------

    async def acquire(self, ticket: Ticket) -> Backend:
        """A replica for *ticket*, at once or when one is ready. To be given back by `release`.

        Raises:
            Refusal: the queue is full, or the wait took too long.
        """
        loop = asyncio.get_running_loop()
        while True:
            model = self._model_of(ticket)
            backend = self._pick(model, ticket.tried)
            if backend is not None:
                return backend
            # All ready replicas failed this request: they get another chance after a pause, in
            # case that the next probe, at most some seconds away, does not take them out.
            until = ticket.deadline
            if ticket.tried and model.backends:
                until = min(until, loop.time() + ticket.pause)
                ticket.pause = min(ticket.pause * 2, RETRY_PAUSE_MAX)
            try:
                return await self._wait(model, ticket, until)
            except TimeoutError:
                if loop.time() >= ticket.deadline:
                    raise self._too_late(model) from None
                ticket.tried.clear()

    def release(self, backend: Backend) -> None:
        """The request at *backend* is over, however it went."""
        self._in_flight[backend.name] -= 1
        if self._in_flight[backend.name] <= 0:
            del self._in_flight[backend.name]

    def has_other(self, ticket: Ticket) -> bool:
        """Whether a ready replica has not been tried for *ticket*."""
        return any(b.name not in ticket.tried for b in self.backends(ticket.model))

    def is_ready(self, ticket: Ticket, backend: Backend) -> bool:
        """Whether *backend* still is among those that may get requests."""
        return backend in self.backends(ticket.model)

    def close(self) -> None:
        """Refuse those that wait and all that come."""
        self._closed = True
        for model in self._models.values():
            self._refuse_all(model, Refusal.stopping)

    # -- inside ----------------------------------------------------------------------------------

    def _model_of(self, ticket: Ticket) -> _Model:
        if self._closed:
            raise Refusal.stopping()
        try:
            return self._models[ticket.model]
        except KeyError:
            raise Refusal.unknown_model(ticket.model, list(self._models)) from None

    def _pick(self, model: _Model, tried: set[str]) -> Backend | None:
        free = [backend for backend in model.backends if backend.name not in tried]
        if not free:
            return None
        chosen = min(free, key=lambda b: (self._in_flight[b.name], self._last_turn.get(b.name, 0)))
        self._turn += 1
        self._last_turn[chosen.name] = self._turn
        self._in_flight[chosen.name] += 1
        return chosen

    async def _wait(self, model: _Model, ticket: Ticket, until: float) -> Backend:
        if len(model.queue) >= self._queue_limit:
            raise self._full(model, f"{self._queue_limit} requests are waiting already")
        if model.queued_bytes + ticket.size > self._queue_bytes:
            raise self._full(model, f"the waiting requests hold {model.queued_bytes} bytes already")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(ticket, loop.create_future())
        # A request that was at a replica before is older than those that wait for their first.
        (model.queue.appendleft if ticket.tried else model.queue.append)(waiter)
        model.queued_bytes += ticket.size
        since = loop.time()
        cold = not model.backends
        try:
            if cold:
                self.on_held(model.name)
            async with asyncio.timeout_at(until):
                backend = await waiter.backend
        except BaseException:
            if waiter in model.queue:
                self._leave(model, waiter)
            elif waiter.backend.done() and not waiter.backend.cancelled():
                self._give_back(waiter.backend)
            raise
        if cold:
            model.starts.append(loop.time() - since)
        return backend

    def _give_back(self, given: asyncio.Future[Backend]) -> None:
        # The replica was given in the same turn of the loop in which the request gave up.
        if given.exception() is None:
            self.release(given.result())

    def _leave(self, model: _Model, waiter: _Waiter) -> None:
        model.queue.remove(waiter)
        model.queued_bytes -= waiter.ticket.size

    def _release_waiting(self, model: _Model) -> None:
        for waiter in tuple(model.queue):
            if waiter.backend.done():
                continue
            backend = self._pick(model, waiter.ticket.tried)
            if backend is not None:
                self._leave(model, waiter)
                waiter.backend.set_result(backend)

    def _refuse_all(self, model: _Model, refusal: Callable[[], Refusal]) -> None:
        for waiter in tuple(model.queue):
            self._leave(model, waiter)
            if not waiter.backend.done():
                waiter.backend.set_exception(refusal())

    def _full(self, model: _Model, why: str) -> Refusal:
        return Refusal(
            429,
            "rate_limit_error",
            f"The model `{model.name}` has no replica that is ready, and {why}.",
            code="queue_full",
            retry_after=self.retry_after(model.name),
        )

    def _too_late(self, model: _Model) -> Refusal:
        if model.backends:
            why = f"its {len(model.backends)} ready replicas do not accept connections"
        else:
            why = "no replica became ready"
        return Refusal(
            503,
            "service_unavailable",
            f"The model `{model.name}` is not available: the request waited "
            f"{self._hold_timeout:g} s and {why} in that time.",
            code="hold_timeout",
            retry_after=self.retry_after(model.name),
        )
