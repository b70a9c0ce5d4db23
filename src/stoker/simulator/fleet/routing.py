"""Requests between the gateway and the replicas: who gets which, and who waits.

The replica with the least requests outstanding, and of these the one whose last turn is longest
ago; while none is ready, a request is held in the order of arrival.
"""

from __future__ import annotations

import math

from stoker.simulator.compiled import compiled, inner
from stoker.simulator.fleet.batch import enqueue, left
from stoker.simulator.fleet.state import (
    ABORTS,
    APP,
    BATCH,
    BROKEN,
    CLOCKS,
    COMING,
    DRAINED,
    DRAINING,
    EVENT,
    HELD,
    HELD_COUNT,
    HELD_HEAD,
    HELD_LIMIT,
    HELD_TAIL,
    HOLD_TIMEOUT,
    IN_FLIGHT,
    MINE,
    NEWEST,
    NEXT,
    NONE,
    NOT_DECODING,
    NOTHING,
    NUMBERS,
    OLDER,
    OLDEST,
    PUSH,
    Q_APP,
    Q_BASE,
    Q_COMPUTED,
    Q_FOLLOWING,
    Q_HASHES,
    Q_HASHES_END,
    Q_KNOWN,
    Q_REPLICA,
    Q_RETRIES,
    Q_SHARED,
    Q_STATUS,
    QUEUE_HEAD,
    QUEUED,
    REFUSED,
    REPLICA_DRAINED,
    REQUEST_HELD,
    ROUTABLE,
    RUNS,
    T_ARRIVED,
    T_FIRST,
    T_LAST,
    T_SCHEDULED,
    T_SENT,
    TIMED_OUT,
    TURN,
    TURNS,
    USERS,
    State,
)
from stoker.simulator.fleet.stepping import advance, settle, wake


@compiled
def run(s: State, slots: int, until: float) -> float:
    """Let requests arrive and engines work until *until*, or until something needs a decision.

    Returns the time that was reached. ``world[EVENT]`` says why it is earlier than *until*. What
    happens at *until* itself is left for later.
    """
    world = s.world
    world[EVENT] = NOTHING
    drained = math.inf
    while world[NEXT] < len(s.times) and s.times[world[NEXT], T_ARRIVED] < until:
        request = world[NEXT]
        now = s.times[request, T_ARRIVED]
        drained = _advance_routable(s, slots, s.request[request, Q_APP], now)
        if drained < math.inf:
            world[EVENT] = REPLICA_DRAINED
            return drained
        world[NEXT] = request + 1
        if s.request[request, Q_STATUS] != COMING:  # it was refused before the run
            continue
        dispatch(s, slots, request, now)
        if s.request[request, Q_STATUS] == HELD and s.app[s.request[request, Q_APP], PUSH]:
            s.app[s.request[request, Q_APP], PUSH] = 0
            world[EVENT] = REQUEST_HELD
            return now
    for r in range(slots):
        advance(s, r, until)
        drained = min(drained, s.clock[r, DRAINED])
    if drained < math.inf:
        world[EVENT] = REPLICA_DRAINED
        return drained
    for r in range(slots):
        settle(s, r, until)
    return until


@inner
def _advance_routable(s: State, slots: int, app: int, now: float) -> float:
    """Advance those that a request of *app* may go to; the first moment one was drained."""
    drained = math.inf
    for r in range(slots):
        number = s.number[r]
        if number[DRAINING]:
            advance(s, r, now)
            drained = min(drained, s.clock[r, DRAINED])
        elif number[APP] == app and number[ROUTABLE]:
            advance(s, r, now)
    return drained


@inner
def pick(s: State, slots: int, app: int) -> int:
    """The replica whose turn it is, NONE when none is ready."""
    best = NONE
    for r in range(slots):
        number = s.number[r]
        if number[APP] != app or not number[ROUTABLE]:
            continue
        if (
            best == NONE
            or number[IN_FLIGHT] < s.number[best, IN_FLIGHT]
            or (
                number[IN_FLIGHT] == s.number[best, IN_FLIGHT]
                and number[TURN] < s.number[best, TURN]
            )
        ):
            best = r
    return best


@inner
def dispatch(s: State, slots: int, request: int, now: float) -> None:
    """Send a request to a replica that was advanced to *now*, or hold it."""
    app = s.request[request, Q_APP]
    r = pick(s, slots, app)
    if r == NONE:
        _hold(s, request)
    else:
        _send(s, r, request, now)


@inner
def _send(s: State, r: int, request: int, now: float) -> None:
    number = s.number[r]
    s.world[TURNS] += 1
    number[TURN] = s.world[TURNS]
    number[IN_FLIGHT] += 1
    s.times[request, T_SENT] = now
    s.request[request, Q_REPLICA] = r
    enqueue(s, r, request)
    wake(s, r, now)


@inner
def _hold(s: State, request: int) -> None:
    """Put a request behind those that are held, or refuse it."""
    queue = s.app[s.request[request, Q_APP]]
    if queue[HELD_COUNT] >= s.app[s.request[request, Q_APP], HELD_LIMIT]:
        s.request[request, Q_STATUS] = REFUSED
        s.times[request, T_LAST] = s.times[request, T_ARRIVED]
        return
    s.request[request, Q_STATUS] = HELD
    s.request[request, Q_FOLLOWING] = NONE
    if queue[HELD_COUNT] == 0:
        queue[HELD_HEAD] = request
    else:
        s.request[queue[HELD_TAIL], Q_FOLLOWING] = request
    queue[HELD_TAIL] = request
    queue[HELD_COUNT] += 1


@inner
def _hold_first(s: State, app: int, first: int, last: int) -> None:
    """Requests that were at a replica before are older than those that wait for their first."""
    queue = s.app[app]
    s.request[last, Q_FOLLOWING] = queue[HELD_HEAD] if queue[HELD_COUNT] else NONE
    if queue[HELD_COUNT] == 0:
        queue[HELD_TAIL] = last
    queue[HELD_HEAD] = first
    while first != NONE and s.request[first, Q_STATUS] == COMING:
        s.request[first, Q_STATUS] = HELD
        queue[HELD_COUNT] += 1
        first = s.request[first, Q_FOLLOWING]


@compiled
def release_held(s: State, slots: int, app: int, now: float) -> None:
    """A replica is ready: all that wait get one, in their order. It was advanced to *now*."""
    queue = s.app[app]
    while queue[HELD_COUNT]:
        r = pick(s, slots, app)
        if r == NONE:
            return
        request = queue[HELD_HEAD]
        queue[HELD_HEAD] = s.request[request, Q_FOLLOWING]
        queue[HELD_COUNT] -= 1
        if s.times[request, T_ARRIVED] + s.rate[app, HOLD_TIMEOUT] <= now:
            s.request[request, Q_STATUS] = TIMED_OUT
            s.times[request, T_LAST] = s.times[request, T_ARRIVED] + s.rate[app, HOLD_TIMEOUT]
        else:
            _send(s, r, request, now)


@compiled
def expire_held(s: State, app: int, now: float) -> None:
    """Give up those that have waited too long."""
    queue = s.app[app]
    while queue[HELD_COUNT]:
        request = queue[HELD_HEAD]
        deadline = s.times[request, T_ARRIVED] + s.rate[app, HOLD_TIMEOUT]
        if deadline > now:
            return
        queue[HELD_HEAD] = s.request[request, Q_FOLLOWING]
        queue[HELD_COUNT] -= 1
        s.request[request, Q_STATUS] = TIMED_OUT
        s.times[request, T_LAST] = deadline


@compiled
def begin_replica(s: State, r: int, app: int) -> None:
    """An empty replica in a slot that nobody uses."""
    for column in range(NUMBERS):
        s.number[r, column] = 0
    for column in range(CLOCKS):
        s.clock[r, column] = 0.0
    s.number[r, APP] = app
    s.number[r, OLDEST] = NONE
    s.number[r, NEWEST] = NONE
    s.clock[r, DRAINED] = math.inf
    s.residues[r, :] = 0
    s.cache[r, USERS, :] = 0
    s.cache[r, OLDER, :] = -2
    s.gaps[r, :] = 0


@compiled
def abort_all(s: State, slots: int, r: int, now: float) -> None:
    """The replica is gone. An answer that has begun is broken, other requests go elsewhere.

    It was advanced to *now* and is not routable any more.
    """
    number = s.number[r]
    settle(s, r, now)
    first, last = NONE, NONE  # a chain of those that can be sent again
    waiting = number[QUEUE_HEAD]
    for i in range(number[RUNS] + number[QUEUED]):
        if i < number[RUNS]:
            request = s.lists[r, BATCH, i]
        else:
            request = waiting
            waiting = s.request[request, Q_FOLLOWING]
        if _abort(s, r, request, now):
            s.request[request, Q_FOLLOWING] = NONE
            if first == NONE:
                first = request
            else:
                s.request[last, Q_FOLLOWING] = request
            last = request
    number[RUNS] = 0
    number[QUEUED] = 0
    if first == NONE:
        return
    app = number[APP]
    if pick(s, slots, app) == NONE:
        _hold_first(s, app, first, last)
        return
    while first != NONE:
        request, first = first, s.request[first, Q_FOLLOWING]
        r = pick(s, slots, app)
        advance(s, r, now)
        _send(s, r, request, now)


@inner
def _abort(s: State, r: int, request: int, now: float) -> bool:
    """Forget a request that is at a replica. True: it can be sent to another one."""
    for i in range(s.request[request, Q_HASHES], s.request[request, Q_HASHES_END]):
        s.blocks[i, MINE] = 0
    s.number[r, ABORTS] += 1
    left(s, r, now)
    s.request[request, Q_BASE] = NOT_DECODING
    if not math.isnan(s.times[request, T_FIRST]):
        s.request[request, Q_STATUS] = BROKEN
        s.times[request, T_LAST] = now
        return False
    s.request[request, Q_STATUS] = COMING
    s.request[request, Q_COMPUTED] = 0
    s.request[request, Q_SHARED] = 0
    s.request[request, Q_KNOWN] = 0
    s.times[request, T_SCHEDULED] = math.nan
    s.request[request, Q_RETRIES] += 1
    return True
