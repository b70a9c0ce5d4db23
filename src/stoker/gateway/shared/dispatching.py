"""The policy of a gateway with several processes: a `Dispatcher` that counts with the others.

Before a decision it tells the policy what the other processes have, after it it tells them what
this one has. When it leaves room at a replica while requests wait in another process, it wakes the
process whose turn it is (`stoker.gateway.policy.turns`).

Processes may see replicas differently: to one a replica is well that has just failed the requests
of another. A process that cannot use the room that there is says so by the sign of its tag. A slot
that becomes free is offered to it all the same; if it has no use for it, it wakes the next one. A
process that does not react at all loses its turn at the second `look_around`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stoker.gateway.policy import (
    Action,
    Dispatch,
    Dispatcher,
    Endpoint,
    EndpointSpec,
    Failure,
    ModelSettings,
    Request,
    Stage,
)
from stoker.gateway.policy.model import Model
from stoker.gateway.shared.table import Cell, Row

_IN_HAND = 0  # of an endpoint's cell
_WAITING, _BYTES, _TAG, _CLOCK = range(4)  # of a model's cell


class _Book:
    """One model and what is counted of it."""

    __slots__ = ("cell", "endpoints", "lapsed", "model", "places", "stalled")

    def __init__(self, model: Model, cell: Cell) -> None:
        self.model = model
        self.cell = cell
        self.endpoints: dict[Endpoint, Cell] = {}
        self.places: list[tuple[Endpoint, list[int]]] = []  # where the others' numbers are
        self.stalled: tuple[int, int] | None = None  # whose turn it was, at the last look around
        self.lapsed: dict[int, int] = {}  # process -> its tag, when it did not take its turn

    def first(self, *, choosy: bool = True) -> tuple[int, int] | None:
        """The other process whose turn comes first, and its tag.

        *choosy*: count those, too, that could not use the room that there was.
        """
        best: tuple[int, int] | None = None
        for number, tag in self.cell.each(_TAG):
            if not tag or (tag < 0 and not choosy) or self.lapsed.get(number) == abs(tag):
                continue
            if best is None or (abs(tag), number) < (best[1], best[0]):
                best = (number, abs(tag))
        return best

    def late(self) -> list[int]:
        """The processes that did not take their turn, and wait for it still."""
        tags = self.cell.each(_TAG)
        return [number for number, tag in tags if tag and self.lapsed.get(number) == abs(tag)]

    def tag(self, now: float) -> int:
        """What the others read: 0 if nothing waits for a slot here, negative if there is one."""
        model = self.model
        if model.queue:
            tag = model.turns.tag
            return -tag if model.turns.mine and self.has_slots(now) else tag
        if any(request.resumes is None for request in model.again):
            return -1 if self.has_slots(now) else 1  # before all that are new
        return 0

    def drop(self) -> None:
        """Nothing is counted of it any more."""
        for cell in (self.cell, *self.endpoints.values()):
            cell.drop()

    def has_room(self, now: float) -> bool:
        """Whether a replica that this process may use may have one more."""
        return any(_has_slot(endpoint, now) for endpoint in self.model.usable(now))

    def has_slots(self, now: float) -> bool:
        """Whether some replica may have one more, well or not."""
        return any(_has_slot(endpoint, now) for endpoint in self.model.ready())


def _has_slot(endpoint: Endpoint, now: float) -> bool:
    return endpoint.in_flight + endpoint.elsewhere < endpoint.allowance(now)


class SharedDispatcher:
    """A `Dispatcher` whose limits, queues and turns are those of all processes.

    Args:
        inner: What decides; it may have requests in hand already.
        row: This process's part of the table.
        wake: Called with the number of a process that should call `tick` now.
    """

    def __init__(self, inner: Dispatcher, row: Row, wake: Callable[[int], None]) -> None:
        self._inner = inner
        self._row = row
        self._words = row.table.words
        self._wake = wake
        self._books: dict[str, _Book] = {}
        self.settings = inner.settings
        self.endpoints = inner.endpoints
        self.ready = inner.ready
        self.held = inner.held
        self.held_bytes = inner.held_bytes
        self.retry_after = inner.retry_after
        self.has_other = inner.has_other
        self.model = inner.model
        self.next_timer = inner.next_timer
        self._sync()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of all models, in the order in which they were told."""
        return self._inner.models

    def resolve(self, name: str) -> str | None:
        """The model that *name* stands for."""
        return self._inner.resolve(name)

    @property
    def waits(self) -> bool:
        """Whether any request waits."""
        return self._inner.waits

    # -- models and endpoints --------------------------------------------------------------------

    def set_models(self, models: Iterable[ModelSettings], now: float) -> Sequence[Action]:
        """See `Dispatcher`; so for all that follow."""
        return self._change(lambda: self._inner.set_models(models, now), now)

    def set_endpoints(
        self, model: str, endpoints: Iterable[EndpointSpec], now: float
    ) -> Sequence[Action]:
        """The endpoints of *model* that may get requests.

        Those that are new here may have requests of other processes already: they are counted
        before the policy gives them any.
        """
        return self._change(lambda: self._inner.set_endpoints(model, endpoints, now), now)

    def remove(self, model: str, name: str, now: float) -> Sequence[Action]:
        """A replica is gone."""
        return self._change(lambda: self._inner.remove(model, name, now), now)

    def set_health(self, model: str, name: str, *, healthy: bool, now: float) -> Sequence[Action]:
        """What the health check says of a replica."""
        return self._change(
            lambda: self._inner.set_health(model, name, healthy=healthy, now=now), now
        )

    def start_failed(self, model: str, why: str, now: float) -> Sequence[Action]:
        """There will be no replica."""
        return self._change(lambda: self._inner.start_failed(model, why, now), now)

    def stop(self, now: float) -> Sequence[Action]:
        """Refuse those that wait and all that come."""
        return self._change(lambda: self._inner.stop(now), now)

    # -- a request's way -------------------------------------------------------------------------

    def arrive(self, request: Request, now: float) -> Sequence[Action]:
        """A new request."""
        book = self._books.get(request.model)
        if book is None:
            return self._inner.arrive(request, now)
        self._look(book)
        actions = self._inner.arrive(request, now)
        if request.stage is not Stage.HELD:
            if book.cell.own(_WAITING):
                self._tell(book, now)
            else:
                self._tell_changed(book, actions)
            return actions
        turns = book.model.turns
        if turns.ahead is None and len(book.model.queue) == 1:
            turns.clock_elsewhere = book.cell.highest(_CLOCK)
            turns.join(book.model.queue)
        self._tell(book, now)
        # Another process may have left room before it could see that somebody waits.
        return [*actions, *self._refill(book, now)]

    def first_byte(self, request: Request, now: float) -> Sequence[Action]:
        """The answer begins."""
        self._before(request)
        actions = self._inner.first_byte(request, now)
        return self._after(request, None, actions, now) if actions else actions

    def done(self, request: Request, now: float, *, broken: bool = False) -> Sequence[Action]:
        """The answer is over."""
        left = self._before(request)
        return self._after(request, left, self._inner.done(request, now, broken=broken), now)

    def cancel(self, request: Request, now: float) -> Sequence[Action]:
        """The client is gone."""
        left = self._before(request)
        actions = self._after(request, left, self._inner.cancel(request, now), now)
        book = self._books.get(request.model)
        if book is not None and book.model.waiting:  # the next in the queue may be luckier
            return [*actions, *self._refill(book, now)]
        return actions

    def fail(self, request: Request, failure: Failure, now: float) -> Sequence[Action]:
        """The endpoint failed the request."""
        left = self._before(request, sends=True)
        return self._after(request, left, self._inner.fail(request, failure, now), now)

    # -- time ------------------------------------------------------------------------------------

    def tick(self, now: float) -> Sequence[Action]:
        """Do what is due; also when another process woke this one."""
        if self._row.look_for_peers():
            self._sync()
        waiting = [book for book in self._books.values() if book.model.waiting]
        for book in waiting:
            self._look(book, choosy=False)
        actions = self._inner.tick(now)
        for book in waiting:
            self._tell(book, now)
            self._nudge(book, now, choosy=False)
        return actions

    def look_around(self, now: float) -> Sequence[Action]:
        """From time to time: whose process died, who did not take a turn, what was missed."""
        buried = self._row.bury()
        self._sync()
        for book in self._books.values():
            self._look(book)
            self._let_lapse(book, now)
            self._tell(book, now)
        actions = self.tick(now)
        if buried:
            for number in self._row.peers():
                self._wake(number)
        return actions

    # -- inside ----------------------------------------------------------------------------------

    def _change(self, change: Callable[[], Sequence[Action]], now: float) -> Sequence[Action]:
        """Something that may concern all requests: what is new is counted before it is filled."""
        for book in self._books.values():
            self._look(book)
            book.model.turns.paused = True
        actions = list(change())
        self._sync()
        for book in self._books.values():
            book.model.turns.paused = False
            actions += self._refill(book, now)
        return actions

    def _sync(self) -> None:
        """Have a cell for each model and endpoint that there is."""
        for name in self._books.keys() - set(self._inner.models):
            self._books.pop(name).drop()
        for name in self._inner.models:
            model = self._inner.model(name)
            if model is None:
                continue
            book = self._books.get(name)
            if book is not None and book.model is not model:
                book.drop()
                book = None
            if book is None:
                book = self._books[name] = _Book(model, self._row.cell("model", name))
            self._sync_endpoints(book)

    def _sync_endpoints(self, book: _Book) -> None:
        name = book.model.settings.name
        there = set(book.model.endpoints.values())
        for gone in book.endpoints.keys() - there:
            book.endpoints.pop(gone).drop()
        for endpoint in book.model.endpoints.values():
            if endpoint not in book.endpoints:
                cell = self._row.cell("endpoint", name, endpoint.name, endpoint.url)
                book.endpoints[endpoint] = cell
                cell.put(_IN_HAND, endpoint.in_flight)
        book.places = [(e, cell.places(_IN_HAND)) for e, cell in book.endpoints.items()]

    def _look(self, book: _Book, *, choosy: bool = True) -> None:
        """Tell the policy what the others have.

        Turns are read before numbers, since they are written after them: who sees that it is its
        turn sees what those before it took.
        """
        model, cell = book.model, book.cell
        model.turns.ahead, model.bytes_elsewhere = None, 0
        model.waiting_elsewhere = cell.others(_WAITING)
        if model.waiting_elsewhere:
            model.bytes_elsewhere = cell.others(_BYTES)
            model.turns.clock_elsewhere = cell.highest(_CLOCK)
            first = book.first(choosy=choosy)
            if first is not None:  # with the same tag the lower number goes first
                model.turns.ahead = first[1] + (first[0] > self._row.number)
        words = self._words
        for endpoint, places in book.places:
            total = 0
            for place in places:
                total += words[place]
            endpoint.elsewhere = total

    def _tell(self, book: _Book, now: float) -> None:
        """Tell the others what this process has."""
        model, cell = book.model, book.cell
        for endpoint, its in book.endpoints.items():
            its.put(_IN_HAND, endpoint.in_flight)
        if len(book.endpoints) != len(model.endpoints):
            self._sync_endpoints(book)
        waiting = model.waiting
        if waiting or cell.own(_WAITING):
            cell.put(_WAITING, waiting)
            cell.put(_BYTES, model.waiting_bytes)
            cell.put(_TAG, book.tag(now))
            cell.put(_CLOCK, model.turns.clock)

    def _refill(self, book: _Book, now: float) -> Sequence[Action]:
        """Take what room there is, if it is our turn."""
        self._look(book)
        actions = self._inner.refill(book.model.settings.name, now)
        self._tell(book, now)
        self._nudge(book, now)
        return actions

    def _tell_changed(
        self, book: _Book, actions: Sequence[Action], left: Endpoint | None = None
    ) -> None:
        """As `_tell`, if nothing waits and nothing waited: only what these actions changed."""
        for action in actions:
            if type(action) is Dispatch:
                book.endpoints[action.endpoint].put(_IN_HAND, action.endpoint.in_flight)
        if left is not None and left in book.endpoints:
            book.endpoints[left].put(_IN_HAND, left.in_flight)

    def _before(self, request: Request, *, sends: bool = False) -> Endpoint | None:
        book = self._books.get(request.model)
        if book is not None and (sends or book.model.waiting):
            self._look(book)
        return request.endpoint

    def _after(
        self, request: Request, left: Endpoint | None, actions: Sequence[Action], now: float
    ) -> Sequence[Action]:
        """A request may have left its replica."""
        book = self._books.get(request.model)
        if book is None:
            return actions
        if actions or book.model.waiting or book.cell.own(_WAITING) or (left and left.draining):
            self._tell(book, now)
        else:
            self._tell_changed(book, actions, left)
        self._nudge(book, now, left)
        return actions

    def _nudge(
        self, book: _Book, now: float, left: Endpoint | None = None, *, choosy: bool = True
    ) -> None:
        """Wake the process whose turn it is, if there is room for one of its requests.

        Room at replicas that are unwell counts where this process has had its turn and no use for
        it: another one may. Without this exception all would wake each other for it all the time.
        """
        if not book.cell.others(_WAITING):
            return
        self._look(book, choosy=choosy)
        useless = not choosy or book.cell.own(_TAG) < 0 or (left and _has_slot(left, now))
        if not (book.has_slots(now) if useless else book.has_room(now)):
            return
        first = book.first(choosy=choosy)
        if first is not None:
            self._wake(first[0])
        for number in book.late():  # they are not waited for, but they may be well again
            self._wake(number)

    def _let_lapse(self, book: _Book, now: float) -> None:
        """A process that left room unused from one look to the next is not waited for."""
        queues = bool(book.model.queue) and not book.model.turns.mine
        stalled = book.first() if queues and book.has_room(now) else None
        if stalled is not None and stalled == book.stalled:
            book.lapsed[stalled[0]] = stalled[1]
            self._look(book)
        book.stalled = stalled
