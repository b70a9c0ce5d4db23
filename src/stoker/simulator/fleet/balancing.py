"""Which replica gets the next request: the rules of :mod:`stoker.gateway.policy`, compiled.

The one with the least outstanding requests, and of these the one whose last turn is longest ago. A
replica that has just become ready may have few requests at first, and counts as a smaller one. A
request whose replica was lost does not go there again before a pause. Affinity and fair turns
between senders are left out; so are circuit breakers, because a replica that ends leaves at once,
and comes back with a closed one. Tests hold the two equal.
"""

from __future__ import annotations

import math

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.state import (
    APP,
    BURST,
    IN_FLIGHT,
    NONE,
    PACE,
    POD,
    Q_LOST_FIRST,
    Q_LOST_SECOND,
    Q_TRIED,
    READY_AT,
    ROUTABLE,
    SLOW_START,
    TURN,
    State,
)

_UNLIMITED = 1 << 30
_ROUNDING = 0.001  # seconds, as in the policy
_LEAST_SHARE = 0.1  # of its weight, for a replica that has just become ready


@inner
def _warms_up(s: State, r: int, now: float) -> bool:
    return now < s.clock[r, READY_AT] + s.rate[s.number[r, APP], SLOW_START]


@inner
def _allowance(s: State, r: int, now: float) -> int:
    """Requests that it may have now."""
    if not _warms_up(s, r, now):
        return _UNLIMITED
    app = s.number[r, APP]
    grown = s.rate[app, PACE] * max(0.0, now - s.clock[r, READY_AT])
    return s.app[app, BURST] + int(grown)


@inner
def _share(s: State, r: int, now: float) -> float:
    """Its weight now."""
    if not _warms_up(s, r, now):
        return 1.0
    grown = max(0.0, now - s.clock[r, READY_AT]) / s.rate[s.number[r, APP], SLOW_START]
    return max(_LEAST_SHARE, grown)


@inner
def was_tried(s: State, request: int, r: int) -> bool:
    """Whether *request* was at *r* when it was lost."""
    tried = s.request[request, Q_TRIED]
    if tried == 0:
        return False
    pod = s.number[r, POD]
    return bool(
        (tried & 1 and pod == s.request[request, Q_LOST_FIRST])
        or (tried & 2 and pod == s.request[request, Q_LOST_SECOND])
    )


@inner
def is_stuck(s: State, slots: int, app: int, request: int) -> bool:
    """Whether there are replicas, and *request* was at all of them."""
    found = False
    for r in range(slots):
        if s.number[r, APP] == app and s.number[r, ROUTABLE]:
            if not was_tried(s, request, r):
                return False
            found = True
    return found


@inner
def pick(s: State, slots: int, app: int, request: int, now: float) -> int:
    """The replica for *request*, NONE when none has room."""
    is_plain = True
    for r in range(slots):
        if s.number[r, APP] == app and s.number[r, ROUTABLE] and _warms_up(s, r, now):
            is_plain = False
    best, best_score = NONE, math.inf
    for r in range(slots):
        number = s.number[r]
        if number[APP] != app or not number[ROUTABLE] or was_tried(s, request, r):
            continue
        load = number[IN_FLIGHT]
        score = load + 1.0
        if not is_plain:
            if load >= _allowance(s, r, now):
                continue
            score = (load + 1) / _share(s, r, now)
        if score < best_score or (
            score == best_score and best != NONE and number[TURN] < s.number[best, TURN]
        ):
            best, best_score = r, score
    return best


@inner
def room_at(s: State, r: int, now: float) -> float:
    """When a replica may have one more without one being done; infinite: time brings nothing."""
    load = s.number[r, IN_FLIGHT]
    if load < _allowance(s, r, now):
        return math.inf
    app = s.number[r, APP]
    ready = s.clock[r, READY_AT]
    warm = ready + s.rate[app, SLOW_START]
    if s.rate[app, PACE] <= 0.0:
        return warm
    grown = ready + (load + 1 - s.app[app, BURST]) / s.rate[app, PACE]
    return min(grown if grown > now else now + _ROUNDING, warm)
