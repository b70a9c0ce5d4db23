"""Requests that wait at the gateway: those that are new, and those whose replica was lost.

The rules of :mod:`stoker.gateway.policy.model`, compiled: new ones in the order in which they came,
the others before them, each as soon as a replica has room that was not lost with it. Those that
were at all replicas there are get another chance after a pause, which doubles. Tests hold the two
equal.
"""

from __future__ import annotations

import math

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.balancing import is_stuck
from stoker.simulator.fleet.state import (
    AGAIN_COUNT,
    AGAIN_HEAD,
    BUDGET,
    HELD,
    HELD_COUNT,
    HELD_HEAD,
    HELD_TAIL,
    HOLD_TIMEOUT,
    LOST,
    NONE,
    POD,
    Q_APP,
    Q_FOLLOWING,
    Q_LOST_FIRST,
    Q_PAUSES,
    Q_RETRIES,
    Q_STATUS,
    Q_TRIED,
    T_ARRIVED,
    T_LAST,
    T_RESUMES,
    T_SENT,
    T_SINCE,
    T_WAITED,
    TIMED_OUT,
    Ints,
    State,
)

_HEAD, _TAIL = HELD_HEAD - HELD_COUNT, HELD_TAIL - HELD_COUNT  # of either queue, from its count on
# As in the policy: pods that may be lost with a request, the pause before the second chance, and
# how many retries there may be.
_MOST_LOST = 2
_PAUSE, _PAUSE_MAX = 0.1, 2.0
BUDGET_RESERVE, BUDGET_SHARE = 500.0, 0.2


@inner
def waiting(s: State, app: int) -> int:
    """How many wait."""
    return s.app[app, HELD_COUNT] + s.app[app, AGAIN_COUNT]


@inner
def append(s: State, app: int, request: int, count: int) -> None:
    """Put a request at the end of one of the two queues, named by the column of its count."""
    queue = s.app[app]
    s.request[request, Q_STATUS] = HELD
    s.request[request, Q_FOLLOWING] = NONE
    if queue[count] == 0:
        queue[count + _HEAD] = request
    else:
        s.request[queue[count + _TAIL], Q_FOLLOWING] = request
    queue[count + _TAIL] = request
    queue[count] += 1


@inner
def unlink(s: State, app: int, request: int) -> None:
    """Take a request out of the queue that it is in; mostly it is the first."""
    queue = s.app[app]
    count = HELD_COUNT if math.isnan(s.times[request, T_SINCE]) else AGAIN_COUNT
    before, at = NONE, queue[count + _HEAD]
    while at != request:
        before, at = at, s.request[at, Q_FOLLOWING]
    _unlink_after(s, queue, before, request, count)


@inner
def _unlink_after(s: State, queue: Ints, before: int, request: int, count: int) -> None:
    following = s.request[request, Q_FOLLOWING]
    if before == NONE:
        queue[count + _HEAD] = following
    else:
        s.request[before, Q_FOLLOWING] = following
    if queue[count + _TAIL] == request:
        queue[count + _TAIL] = before
    queue[count] -= 1


@inner
def expires(s: State, request: int) -> float:
    """When it has waited as long as it may. Time at a replica does not count."""
    since = s.times[request, T_SINCE]
    hold = s.rate[s.request[request, Q_APP], HOLD_TIMEOUT]
    if math.isnan(since):
        return s.times[request, T_ARRIVED] + hold
    return since + hold - s.times[request, T_WAITED]


@inner
def next_timer(s: State, app: int) -> float:
    """When the first of those that wait gives up or gets another chance."""
    soonest = math.inf
    if s.app[app, HELD_COUNT]:
        soonest = expires(s, s.app[app, HELD_HEAD])
    request = s.app[app, AGAIN_HEAD] if s.app[app, AGAIN_COUNT] else NONE
    while request != NONE:
        soonest = min(soonest, expires(s, request))
        if not math.isnan(s.times[request, T_RESUMES]):
            soonest = min(soonest, s.times[request, T_RESUMES])
        request = s.request[request, Q_FOLLOWING]
    return soonest


@inner
def tick(s: State, app: int, now: float) -> None:
    """Give up those that have waited too long, and forget what those tried whose pause is over."""
    queue = s.app[app]
    while queue[HELD_COUNT] and expires(s, queue[HELD_HEAD]) <= now:
        _give_up(s, app, queue[HELD_HEAD], TIMED_OUT, now)
    request = queue[AGAIN_HEAD] if queue[AGAIN_COUNT] else NONE
    while request != NONE:
        following = s.request[request, Q_FOLLOWING]
        if expires(s, request) <= now:
            _give_up(s, app, request, TIMED_OUT, now)
        elif s.times[request, T_RESUMES] <= now:
            s.times[request, T_RESUMES] = math.nan
            s.request[request, Q_TRIED] = 0
        request = following


@inner
def _give_up(s: State, app: int, request: int, status: int, now: float) -> None:
    unlink(s, app, request)
    s.request[request, Q_STATUS] = status
    s.times[request, T_LAST] = now


@inner
def count_in(s: State, app: int) -> None:
    """A request came: retries may be a share of these."""
    if s.rate[app, BUDGET] < BUDGET_RESERVE:
        s.rate[app, BUDGET] += BUDGET_SHARE


@inner
def lose(s: State, r: int, request: int, now: float) -> None:
    """The replica is gone with a request that it had not begun to answer: again, if that may be."""
    app, pod = s.request[request, Q_APP], s.number[r, POD]
    if not _note_lost(s, request, pod) or s.rate[app, BUDGET] < 1.0:
        s.request[request, Q_STATUS] = LOST
        s.times[request, T_LAST] = now
        return
    s.rate[app, BUDGET] -= 1.0
    began = s.times[request, T_SINCE]
    if math.isnan(began):
        began, s.times[request, T_WAITED] = s.times[request, T_ARRIVED], 0.0
    s.times[request, T_WAITED] += s.times[request, T_SENT] - began
    s.times[request, T_SINCE] = now
    s.times[request, T_RESUMES] = math.nan
    s.request[request, Q_RETRIES] += 1
    append(s, app, request, AGAIN_COUNT)


@inner
def _note_lost(s: State, request: int, pod: int) -> bool:
    """Whether not too many were lost with it."""
    for i in range(_MOST_LOST):
        known = s.request[request, Q_LOST_FIRST + i]
        if known == 0 or known == pod:  # noqa: PLR1714 - compiled
            s.request[request, Q_LOST_FIRST + i] = pod
            s.request[request, Q_TRIED] |= 1 << i
            return True
    return False


@inner
def take_again(s: State, app: int, before: int, request: int) -> None:
    """Take *request*, which follows *before*, out of those that were at a replica."""
    _unlink_after(s, s.app[app], before, request, AGAIN_COUNT)


@inner
def pause_if_stuck(s: State, slots: int, app: int, request: int, now: float) -> None:
    """If it was at all replicas that there are, they get another chance after a pause."""
    if not math.isnan(s.times[request, T_RESUMES]) or not is_stuck(s, slots, app, request):
        return
    pause = min(_PAUSE * 2.0 ** s.request[request, Q_PAUSES], _PAUSE_MAX)
    s.request[request, Q_PAUSES] += 1
    s.times[request, T_RESUMES] = now + pause
