"""Clients that give up: after so long without a first token, or without the last one.

What becomes of their requests is what :meth:`stoker.simulator.engine.Engine.cancel` makes of them:
the blocks are free at once, the step under way takes as long as it would have taken.
"""

from __future__ import annotations

import math

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.batch import leave_batch, left, stop_decoding
from stoker.simulator.fleet.holding import unlink
from stoker.simulator.fleet.prefixes import release
from stoker.simulator.fleet.state import (
    ABANDONED,
    ABORTS,
    DECODING,
    ENDS,
    GIVING_UP,
    HELD,
    NEXT,
    NONE,
    NOT_DECODING,
    PARTS,
    PARTS_OF,
    PATIENCE,
    PLAN,
    Q_APP,
    Q_BASE,
    Q_COMPUTED,
    Q_FOLLOWING,
    Q_PRODUCED,
    Q_REPLICA,
    Q_STATUS,
    QUEUE_HEAD,
    QUEUE_TAIL,
    QUEUED,
    RUNNING,
    START,
    STEPS,
    T_ARRIVED,
    T_FIRST,
    T_LAST,
    T_TOKEN,
    TOKENS_OF,
    WAITING,
    State,
)
from stoker.simulator.fleet.stepping import advance, settle

_KINDS = 2  # the first token, the last token


@inner
def next_giving_up(s: State) -> float:
    """When the next client may give up; infinite: none does before others come."""
    soonest = math.inf
    for kind in range(_KINDS):
        patience = s.rate[0, PATIENCE + kind]
        if patience == math.inf:
            continue
        request = s.world[GIVING_UP + kind]
        while request < s.world[NEXT] and not _waits(s, request, kind):
            request += 1
        s.world[GIVING_UP + kind] = request
        if request < s.world[NEXT]:
            soonest = min(soonest, s.times[request, T_ARRIVED] + patience)
    return soonest


@inner
def _waits(s: State, request: int, kind: int) -> bool:
    """Whether its client still waits, as far as is known: its replica may be behind."""
    status = s.request[request, Q_STATUS]
    if status != HELD and status != WAITING and status != RUNNING:  # noqa: PLR1714 - compiled
        return False
    return kind > 0 or math.isnan(s.times[request, T_FIRST])


@inner
def give_up(s: State, now: float) -> int:
    """Let the client whose patience ends *now* go. The application that it left, NONE: none.

    Each call looks at one request.
    """
    for kind in range(_KINDS):
        request = s.world[GIVING_UP + kind]
        if request >= s.world[NEXT]:
            continue
        if s.times[request, T_ARRIVED] + s.rate[0, PATIENCE + kind] > now:
            continue
        s.world[GIVING_UP + kind] = request + 1
        if not _waits(s, request, kind):
            continue
        if s.request[request, Q_STATUS] == HELD:
            unlink(s, s.request[request, Q_APP], request)
        else:
            r = s.request[request, Q_REPLICA]
            advance(s, r, now)
            if not _waits(s, request, kind):
                continue
            _cancel(s, r, request, now)
        s.request[request, Q_STATUS] = ABANDONED
        s.times[request, T_LAST] = now
        return s.request[request, Q_APP]
    return NONE


@inner
def _cancel(s: State, r: int, request: int, now: float) -> None:
    """Take a request from its engine, which was advanced to *now*."""
    number = s.number[r]
    settle(s, r, now)
    if s.request[request, Q_STATUS] == WAITING:
        _unqueue(s, r, request)
    else:
        leave_batch(s, r, request)
        release(s, r, request, _leave_step(s, r, request))
    if number[PLAN] == DECODING:
        number[STEPS] = 1  # what waits may have room after the step that is under way
    if s.request[request, Q_PRODUCED] and math.isnan(s.times[request, T_TOKEN]):
        s.times[request, T_TOKEN] = s.times[request, T_LAST]  # it was preempted
    number[ABORTS] += 1
    s.log[1, s.world[ENDS]] = request
    s.world[ENDS] += 1
    left(s, r, now)


@inner
def _unqueue(s: State, r: int, request: int) -> None:
    number = s.number[r]
    before, at = NONE, number[QUEUE_HEAD]
    while at != request:
        before, at = at, s.request[at, Q_FOLLOWING]
    following = s.request[request, Q_FOLLOWING]
    if before == NONE:
        number[QUEUE_HEAD] = following
    else:
        s.request[before, Q_FOLLOWING] = following
    if number[QUEUE_TAIL] == request:
        number[QUEUE_TAIL] = before
    number[QUEUED] -= 1


@inner
def _leave_step(s: State, r: int, request: int) -> int:
    """Out of the step that is under way. The tokens that it has blocks for."""
    number = s.number[r]
    if s.request[request, Q_BASE] != NOT_DECODING:
        stop_decoding(s, r, request)
        s.request[request, Q_BASE] = NOT_DECODING
        s.times[request, T_TOKEN] = s.clock[r, START]  # the end of the step before
        return s.request[request, Q_COMPUTED] + 1
    for i in range(number[PARTS]):
        if s.lists[r, PARTS_OF, i] != request:
            continue
        tokens = s.lists[r, TOKENS_OF, i]
        for j in range(i, number[PARTS] - 1):
            s.lists[r, PARTS_OF, j] = s.lists[r, PARTS_OF, j + 1]
            s.lists[r, TOKENS_OF, j] = s.lists[r, TOKENS_OF, j + 1]
        number[PARTS] -= 1
        return s.request[request, Q_COMPUTED] + tokens
    return s.request[request, Q_COMPUTED]
