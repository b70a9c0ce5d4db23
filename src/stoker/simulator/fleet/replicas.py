"""Replicas that begin, and replicas that are lost with what they had."""

from __future__ import annotations

import math

from stoker.simulator.compiled import compiled, inner
from stoker.simulator.fleet.batch import left
from stoker.simulator.fleet.routing import fill
from stoker.simulator.fleet.state import (
    ABORTS,
    APP,
    BATCH,
    BROKEN,
    CLOCKS,
    COMING,
    DRAINED,
    HELD,
    HELD_COUNT,
    HELD_HEAD,
    HELD_TAIL,
    MINE,
    NEWEST,
    NONE,
    NOT_DECODING,
    NUMBERS,
    OLDER,
    OLDEST,
    Q_BASE,
    Q_COMPUTED,
    Q_FOLLOWING,
    Q_HASHES,
    Q_HASHES_END,
    Q_KNOWN,
    Q_RETRIES,
    Q_SHARED,
    Q_STATUS,
    QUEUE_HEAD,
    QUEUED,
    RUNS,
    T_FIRST,
    T_LAST,
    T_SCHEDULED,
    USERS,
    State,
)
from stoker.simulator.fleet.stepping import settle


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
    _hold_first(s, app, first, last)
    fill(s, slots, app, now)


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
