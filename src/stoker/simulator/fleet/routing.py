"""Requests between the gateway and the replicas: who gets which, who waits, who gives up."""

from __future__ import annotations

import math

import numpy as np

from stoker.simulator.compiled import compiled, inner
from stoker.simulator.fleet.balancing import pick, room_at
from stoker.simulator.fleet.batch import enqueue
from stoker.simulator.fleet.holding import (
    append,
    count_in,
    next_timer,
    pause_if_stuck,
    take_again,
    tick,
    waiting,
)
from stoker.simulator.fleet.patience import give_up, next_giving_up
from stoker.simulator.fleet.state import (
    AGAIN_COUNT,
    AGAIN_HEAD,
    APP,
    COMING,
    DRAINED,
    DRAINING,
    EVENT,
    HELD,
    HELD_COUNT,
    HELD_HEAD,
    HELD_LIMIT,
    IN_FLIGHT,
    NEXT,
    NONE,
    NOTHING,
    PUSH,
    Q_APP,
    Q_FOLLOWING,
    Q_REPLICA,
    Q_STATUS,
    REFUSED,
    REPLICA_DRAINED,
    REQUEST_HELD,
    ROUTABLE,
    T_ARRIVED,
    T_LAST,
    T_SENT,
    TURN,
    TURNS,
    State,
)
from stoker.simulator.fleet.stepping import advance, next_event, settle, wake


@compiled
def run(s: State, slots: int, since: float, until: float) -> float:
    """Let requests arrive and engines work until *until*, or until something needs a decision.

    Returns the time that was reached. ``world[EVENT]`` says why it is earlier than *until*. What
    happens at *until* itself is left for later.
    """
    world = s.world
    world[EVENT] = NOTHING
    now = since
    while True:
        request = world[NEXT]
        arrival = s.times[request, T_ARRIVED] if request < len(s.times) else math.inf
        stop = min(arrival, until)
        filling, app = _next_filling(s, slots, now)
        giving_up = next_giving_up(s)
        first = min(filling, giving_up, stop)
        drained = _advance_draining(s, slots, first)
        if drained < math.inf:
            return drained
        if first < stop:
            now = max(now, first)
            if giving_up <= filling:
                _let_go(s, slots, now)
            else:
                _refill(s, slots, app, now)
            continue
        now = stop
        if arrival >= until:
            break
        world[NEXT] = request + 1
        if s.request[request, Q_STATUS] != COMING:  # it was refused before the run
            continue
        app = s.request[request, Q_APP]
        _advance_routable(s, slots, app, now)
        _arrive(s, slots, request, now)
        if s.request[request, Q_STATUS] == HELD and s.app[app, PUSH]:
            s.app[app, PUSH] = 0
            world[EVENT] = REQUEST_HELD
            return now
    for r in range(slots):
        advance(s, r, until)
        settle(s, r, until)
    return until


@inner
def _advance_draining(s: State, slots: int, now: float) -> float:
    """Advance those that get nothing new; the first moment at which one was empty."""
    drained = math.inf
    for r in range(slots):
        if s.number[r, DRAINING]:
            advance(s, r, now)
            drained = min(drained, s.clock[r, DRAINED])
    if drained < math.inf:
        s.world[EVENT] = REPLICA_DRAINED
    return drained


@inner
def _advance_routable(s: State, slots: int, app: int, now: float) -> None:
    """Advance those that a request of *app* may go to."""
    for r in range(slots):
        if s.number[r, APP] == app and s.number[r, ROUTABLE]:
            advance(s, r, now)


@inner
def _next_filling(s: State, slots: int, now: float) -> tuple[float, int]:
    """When the first of those that wait may be sent, or gives up; and of which application."""
    first, which = math.inf, NONE
    for app in range(len(s.app)):
        if not waiting(s, app):
            continue
        soonest = next_timer(s, app)
        for r in range(slots):
            if s.number[r, APP] == app and s.number[r, ROUTABLE]:
                soonest = min(soonest, next_event(s, r), room_at(s, r, now))
        if soonest < first:
            first, which = soonest, app
    return max(first, now), which


@inner
def _refill(s: State, slots: int, app: int, now: float) -> None:
    """Give up those that waited too long, and send those for whom there is room."""
    after = np.nextafter(now, math.inf)  # with what happens at that moment
    _advance_routable(s, slots, app, after)
    tick(s, app, now)
    fill(s, slots, app, now)


@inner
def _let_go(s: State, slots: int, now: float) -> None:
    """A client goes. Another one may have the place that it leaves."""
    app = give_up(s, now)
    if app != NONE and waiting(s, app):
        _advance_routable(s, slots, app, now)
        fill(s, slots, app, now)


@inner
def _arrive(s: State, slots: int, request: int, now: float) -> None:
    """A new request, when the replicas that it may go to were advanced to *now*."""
    app = s.request[request, Q_APP]
    count_in(s, app)
    if not waiting(s, app):
        r = pick(s, slots, app, request, now)
        if r != NONE:
            send(s, r, request, now)
            return
    if waiting(s, app) >= s.app[app, HELD_LIMIT]:
        s.request[request, Q_STATUS] = REFUSED
        s.times[request, T_LAST] = now
        return
    append(s, app, request, HELD_COUNT)
    fill(s, slots, app, now)


@inner
def send(s: State, r: int, request: int, now: float) -> None:
    """Give a request to a replica that was advanced to *now*."""
    number = s.number[r]
    s.world[TURNS] += 1
    number[TURN] = s.world[TURNS]
    number[IN_FLIGHT] += 1
    s.times[request, T_SENT] = now
    s.request[request, Q_REPLICA] = r
    enqueue(s, r, request)
    wake(s, r, now)


@compiled
def fill(s: State, slots: int, app: int, now: float) -> None:
    """Send those that wait, as long as there is room. The replicas were advanced to *now*."""
    queue = s.app[app]
    if queue[AGAIN_COUNT]:
        _send_again(s, slots, app, now)
    while queue[HELD_COUNT]:
        request = queue[HELD_HEAD]
        r = pick(s, slots, app, request, now)
        if r == NONE:
            return
        queue[HELD_HEAD] = s.request[request, Q_FOLLOWING]
        queue[HELD_COUNT] -= 1
        send(s, r, request, now)


@inner
def _send_again(s: State, slots: int, app: int, now: float) -> None:
    """Those that were at a replica before; one that finds none does not hold up the others."""
    before, request = NONE, s.app[app, AGAIN_HEAD]
    while request != NONE:
        following = s.request[request, Q_FOLLOWING]
        r = pick(s, slots, app, request, now)
        if r == NONE:
            pause_if_stuck(s, slots, app, request, now)
            before = request
        else:
            take_again(s, app, before, request)
            send(s, r, request, now)
        request = following
