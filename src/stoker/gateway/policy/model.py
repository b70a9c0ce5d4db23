"""One model: its endpoints, the requests that wait for them, and which goes where."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush
from itertools import count
from statistics import median

from stoker.gateway.policy.actions import Action, Dispatch, Hold, Reason, Refuse
from stoker.gateway.policy.affinity import preferred
from stoker.gateway.policy.circuit import TRIAL_GAP, RetryBudget
from stoker.gateway.policy.endpoint import Endpoint
from stoker.gateway.policy.queue import FairQueue
from stoker.gateway.policy.request import Request, Stage
from stoker.gateway.policy.settings import ModelSettings
from stoker.gateway.policy.turns import Turns

RETRY_PAUSE = 0.1  # doubles up to RETRY_PAUSE_MAX while all endpoints fail a request
RETRY_PAUSE_MAX = 2.0
_START_UP_GUESS = 30.0  # Retry-After before any start was seen
_RETRY_AFTER_MOST = 300
_HEAP_SLACK = 64  # entries of requests that are gone, before they are swept


class Model:
    """Used by the `Dispatcher` only; all methods that take *out* append actions to it."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.endpoints: dict[str, Endpoint] = {}  # draining ones included
        self.queue = FairQueue()
        self.again: OrderedDict[Request, None] = OrderedDict()  # were at an endpoint before
        self.again_bytes = 0
        self.turns = Turns()
        self.waiting_elsewhere = 0  # requests in other gateway processes
        self.bytes_elsewhere = 0  # of their bodies
        self.budget = RetryBudget()
        self._turn = 0
        self._cold_since: float | None = None  # when the first request found no endpoint
        self._starts: deque[float] = deque(maxlen=9)
        self._timers: list[tuple[float, int, Request]] = []
        self._timer_numbers = count()
        self._usable: list[Endpoint] = []
        self._usable_until = -math.inf  # when time alone changes what follows from the endpoints
        self._plain = True  # no endpoint warms up or is half open
        self._panics = False

    # -- what there is ---------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self.queue) + len(self.again)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of their bodies."""
        return self.queue.bytes + self.again_bytes

    def ready(self) -> list[Endpoint]:
        """Endpoints that are not draining."""
        return [endpoint for endpoint in self.endpoints.values() if not endpoint.draining]

    def retry_after(self, now: float) -> int:
        """Whole seconds after which to come again: what is left of a start as long as usual."""
        seconds = self.settings.start_up
        if seconds is None:
            seconds = median(self._starts) if self._starts else _START_UP_GUESS
        if self._cold_since is not None:
            seconds -= now - self._cold_since
        elif self.ready():
            seconds = 1.0  # it is only full
        return min(max(math.ceil(seconds), 1), _RETRY_AFTER_MOST)

    # -- endpoints -------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something about an endpoint is not as it was."""
        self._usable_until = -math.inf

    def warmed(self, now: float) -> None:
        """The model has an endpoint: a cold start is over."""
        if self._cold_since is not None:
            self._starts.append(now - self._cold_since)
            self._cold_since = None

    def usable(self, now: float) -> list[Endpoint]:
        """Endpoints that may get requests.

        Those that fail their health check are left out, unless all do. Those with an open circuit
        are, unless that would be more than half: then the fault is hardly theirs, and the rest
        could not bear the load. If all are open, each gets one request at a time, with a gap after
        each failure: those that wait are not spent on replicas that fail them all.
        """
        if now < self._usable_until:
            return self._usable
        ready = self.ready()
        healthy = [endpoint for endpoint in ready if endpoint.healthy] or ready
        closed = [endpoint for endpoint in healthy if not endpoint.circuit.is_open(now)]
        self._panics = 0 < len(closed) * 2 < len(healthy)
        if not closed:
            closed = [e for e in healthy if now >= e.circuit.failed_at + TRIAL_GAP]
        self._usable = healthy if self._panics else closed
        self._plain = not any(
            e.warms_up(now) or (e.circuit.open_until is not None and not self._panics)
            for e in self._usable
        )
        self._usable_until = min(self._changes(now), default=math.inf)
        return self._usable

    def _changes(self, now: float) -> list[float]:
        """Times to come at which an endpoint is warm or a circuit half open."""
        tripped = [e.circuit for e in self.endpoints.values() if e.circuit.open_until is not None]
        reopen = [circuit.open_until for circuit in tripped]
        trial = [circuit.failed_at + TRIAL_GAP for circuit in tripped]
        warm = [e.ready_at + self.settings.slow_start for e in self.endpoints.values()]
        return [at for at in (*reopen, *trial, *warm) if at is not None and at > now]

    # -- which endpoint --------------------------------------------------------------------------

    def pick(self, request: Request, now: float) -> Endpoint | None:
        """The endpoint for *request*, None while no endpoint has room for it.

        By affinity if it has one, else the one with the least outstanding requests for its weight,
        and among equals the one that has waited longest.
        """
        usable = self._usable if now < self._usable_until else self.usable(now)
        if request.tried:
            usable = [endpoint for endpoint in usable if endpoint.name not in request.tried]
        if not self._plain:
            usable = [endpoint for endpoint in usable if self._has_room(endpoint, now)]
        if request.affinity is not None and len(usable) > 1:
            found = preferred(request.affinity, usable, self.settings.load_cap, now)
            if found is not None:
                return found
        best, best_score = None, math.inf
        for endpoint in usable:
            load = endpoint.in_flight + endpoint.elsewhere
            if load >= endpoint.cap:
                continue
            score = (load + 1) / (endpoint.weight if self._plain else endpoint.share(now))
            if score < best_score or (
                score == best_score and best is not None and endpoint.turn < best.turn
            ):
                best, best_score = endpoint, score
        return best

    def _has_room(self, endpoint: Endpoint, now: float) -> bool:
        tripped = endpoint.circuit.open_until is not None and not self._panics
        if tripped and endpoint.unanswered:
            return False
        return endpoint.in_flight + endpoint.elsewhere < endpoint.allowance(now)

    def has_other(self, request: Request, now: float) -> bool:
        """Whether there is an endpoint that *request* has not seen; it sees its present one."""
        here = request.endpoint.name if request.endpoint else None
        return any(e.name not in request.tried and e.name != here for e in self.usable(now))

    def send(self, request: Request, endpoint: Endpoint, now: float) -> Dispatch:
        """Give *request* to *endpoint*."""
        if request.stage == Stage.HELD:
            request.waited += now - request.since
        endpoint.in_flight += 1
        endpoint.unanswered[request] = None
        self._turn += 1
        endpoint.turn = self._turn
        request.endpoint = endpoint
        request.stage = Stage.SENT
        return Dispatch(request, endpoint)

    # -- those that wait -------------------------------------------------------------------------

    def hold(self, request: Request, now: float, out: list[Action]) -> None:
        """Let a new request wait, or refuse it."""
        settings = self.settings
        held = self.waiting_bytes + self.bytes_elsewhere
        if request.size > settings.queue_bytes - held:
            why = f"the requests that wait hold {held} bytes already"
            return self.refuse(request, Reason.QUEUE_FULL, now, out, why)
        waiting = self.waiting + self.waiting_elsewhere
        if waiting >= settings.queue_requests and not self._displace(request, now, out):
            why = f"{waiting} requests wait already"
            return self.refuse(request, Reason.QUEUE_FULL, now, out, why)
        self._wait(request, now)
        self.queue.push(request)
        if len(self.queue) == 1:
            self.turns.join(self.queue)
        self.fill(now, out)
        self._tell_held(request, now, out)
        return None

    def hold_again(self, request: Request, now: float, out: list[Action]) -> None:
        """Let a request wait whose endpoint failed it. It goes before those that are new."""
        self._wait(request, now)
        self.again[request] = None
        self.again_bytes += request.size
        self.fill(now, out)
        self._tell_held(request, now, out)

    def leave(self, request: Request) -> None:
        """*request* waits no longer."""
        if request in self.again:
            del self.again[request]
            self.again_bytes -= request.size
        else:
            self.queue.remove(request)

    def fill(self, now: float, out: list[Action]) -> None:
        """Send those that wait and for whom there is room, if it is their turn."""
        if self.turns.paused:
            return
        for request in tuple(self.again):
            endpoint = self.pick(request, now)
            if endpoint is not None:
                self.leave(request)
                out.append(self.send(request, endpoint, now))
            elif request.resumes is None and self._is_stuck(request, now):
                request.pause = min(max(request.pause * 2, RETRY_PAUSE), RETRY_PAUSE_MAX)
                request.resumes = now + request.pause
                self._set_timer(request.resumes, request)
        while (following := self.queue.peek()) is not None and self.turns.mine:
            endpoint = self.pick(following, now)
            if endpoint is None:
                return
            self.queue.pop()
            self.turns.took(self.queue)
            out.append(self.send(following, endpoint, now))

    def tick(self, now: float, out: list[Action]) -> None:
        """Do what is due."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, _, request = heappop(timers)
            if request.stage != Stage.HELD:
                continue
            if now >= request.expires:
                self.leave(request)
                self._refuse_late(request, now, out)
            elif request.resumes is not None and now >= request.resumes:
                request.resumes = None
                request.tried = frozenset()
        self.fill(now, out)

    def next_timer(self, now: float) -> float | None:
        """When `tick` has something to do, None while only an event helps."""
        if not self.waiting:
            self._timers.clear()
            return None
        timers = self._timers
        while timers and timers[0][2].stage != Stage.HELD:
            heappop(timers)
        due = [timers[0][0]] if timers else []
        due += self._changes(now)
        room = (endpoint.room_at(now) for endpoint in self.usable(now))
        due += [at for at in room if at is not None]
        return min(due, default=None)

    def refuse(
        self, request: Request, reason: Reason, now: float, out: list[Action], detail: str
    ) -> None:
        """Answer *request* with an error; it must not wait any more."""
        if request.stage == Stage.HELD:
            request.waited += now - request.since
        request.stage = Stage.OVER
        out.append(Refuse(request, reason, self.retry_after(now), detail))

    def refuse_all(self, reason: Reason, now: float, out: list[Action], detail: str) -> None:
        """Answer all that wait with an error."""
        for request in (*self.again, *self.queue):
            self.leave(request)
            self.refuse(request, reason, now, out, detail)

    def _wait(self, request: Request, now: float) -> None:
        request.stage = Stage.HELD
        request.since = now
        expires = now + self.settings.hold - request.waited  # time at an endpoint does not count
        request.endpoint = None
        request.resumes = None
        request.expires = expires if request.deadline is None else min(expires, request.deadline)
        self._set_timer(request.expires, request)

    def _set_timer(self, at: float, request: Request) -> None:
        timers = self._timers
        if len(timers) > 2 * self.waiting + _HEAP_SLACK:
            timers[:] = [timer for timer in timers if timer[2].stage == Stage.HELD]
            heapify(timers)
        heappush(timers, (at, next(self._timer_numbers), request))

    def _is_stuck(self, request: Request, now: float) -> bool:
        """Whether all endpoints failed *request*. They get another chance after a pause."""
        usable = self.usable(now)
        return bool(usable) and all(endpoint.name in request.tried for endpoint in usable)

    def _tell_held(self, request: Request, now: float, out: list[Action]) -> None:
        if request.stage != Stage.HELD:
            return
        if now >= request.expires:
            self.leave(request)
            self._refuse_late(request, now, out)
            return
        cold = not self.ready()
        if cold and self._cold_since is None:
            self._cold_since = now
        out.append(Hold(request, cold))

    def _displace(self, request: Request, now: float, out: list[Action]) -> bool:
        """Make room in a full queue at the cost of a sender who has more than one place more."""
        last = self.queue.newest_of_longest()
        if last is None or self.queue.waiting(last.key) <= self.queue.waiting(request.key) + 1:
            return False
        self.leave(last)
        waiting = self.waiting + self.waiting_elsewhere + 1
        why = f"{waiting} requests wait already, most of them from this sender"
        self.refuse(last, Reason.DISPLACED, now, out, why)
        return True

    def _refuse_late(self, request: Request, now: float, out: list[Action]) -> None:
        if request.deadline is not None and now >= request.deadline:
            self.refuse(request, Reason.DEADLINE, now, out, self._why_not(now))
        else:
            waited = f"it waited {self.settings.hold:g} s and {self._why_not(now)}"
            self.refuse(request, Reason.HOLD_TIMEOUT, now, out, waited)

    def _why_not(self, now: float) -> str:
        ready = len(self.ready())
        if not ready:
            return "no replica became ready in that time"
        if any(e.in_flight + e.elsewhere >= e.cap for e in self.usable(now)):
            return f"its {ready} ready replicas were busy all that time"
        return f"its {ready} ready replicas do not accept connections"
