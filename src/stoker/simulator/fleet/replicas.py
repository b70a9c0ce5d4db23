"""Replicas that begin, and replicas that are lost with what they had."""

from __future__ import annotations

import math

from stoker.simulator.compiled import compiled, inner
from stoker.simulator.fleet.batch import left
from stoker.simulator.fleet.holding import lose
from stoker.simulator.fleet.routing import fill
from stoker.simulator.fleet.state import (
    ABORTS,
    APP,
    BATCH,
    BROKEN,
    CLOCKS,
    DRAINED,
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
    waiting = number[QUEUE_HEAD]
    for i in range(number[RUNS] + number[QUEUED]):
        if i < number[RUNS]:
            request = s.lists[r, BATCH, i]
        else:
            request = waiting
            waiting = s.request[request, Q_FOLLOWING]
        _abort(s, r, request, now)
    number[RUNS] = 0
    number[QUEUED] = 0
    fill(s, slots, number[APP], now)


@inner
def _abort(s: State, r: int, request: int, now: float) -> None:
    """Forget a request that is at a replica. It is sent to another one if that may be."""
    for i in range(s.request[request, Q_HASHES], s.request[request, Q_HASHES_END]):
        s.blocks[i, MINE] = 0
    s.number[r, ABORTS] += 1
    left(s, r, now)
    s.request[request, Q_BASE] = NOT_DECODING
    if not math.isnan(s.times[request, T_FIRST]):
        s.request[request, Q_STATUS] = BROKEN
        s.times[request, T_LAST] = now
        return
    s.request[request, Q_COMPUTED] = 0
    s.request[request, Q_SHARED] = 0
    s.request[request, Q_KNOWN] = 0
    s.times[request, T_SCHEDULED] = math.nan
    lose(s, r, request, now)
