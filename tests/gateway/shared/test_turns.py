"""Turns go around between the senders of all processes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.shared.conftest import Workers

from stoker.gateway.policy import Priority


def run(w: Workers, turns: int) -> list[str]:
    """Let the one request at the replica end, so many times; who had it each time."""
    order = []
    for _ in range(turns):
        [(driver, request)] = [(d, r) for d in w.alive for r in d.sent]
        driver.done(request)
        w.settle()
        [(_, request)] = [(d, r) for d in w.alive for r in d.sent]
        order.append(request.key)
    return order


def busy(w: Workers) -> None:
    w.endpoints("pod")
    w.drivers[0].arrive(key="busy")


def test_a_process_with_all_the_slots_gives_them_away_in_turn(workers):
    w = workers(2, limit=1)
    busy(w)
    for _ in range(5):
        w.drivers[0].arrive(key="greedy")
    w.drivers[1].arrive(key="modest")
    assert "modest" in run(w, 2)


def test_senders_have_turns_not_processes(workers):
    w = workers(2, limit=1)
    busy(w)
    for _ in range(4):
        for key in "xyz":
            w.drivers[0].arrive(key=key)
        w.drivers[1].arrive(key="w")
    order = run(w, 12)
    assert all(abs(turns - 3) <= 1 for turns in Counter(order).values())
    assert len(set(order[:5])) == 4


def test_low_priority_is_slow_in_another_process_too_but_not_starved(workers):
    w = workers(2, limit=1)
    busy(w)
    w.drivers[1].arrive(key="low", priority=Priority.LOW)
    for _ in range(30):
        w.drivers[0].arrive(key="normal")
    order = run(w, 15)
    assert 7 <= order.index("low") <= 12


def test_those_that_come_do_not_overtake_those_that_wait_elsewhere(workers):
    w = workers(2, limit=1)
    busy(w)
    a, b = w.drivers
    waiting = b.arrive(key="first")
    [running] = a.sent
    a.done(running)
    late = a.arrive(key="late")  # the other one has not looked yet
    assert late in a.held
    w.settle()
    assert waiting in b.sent


@given(
    senders=st.lists(st.lists(st.integers(1, 6), max_size=4), min_size=2, max_size=4),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_every_sender_that_waits_has_as_many_turns_as_any_other(senders, seed):
    """Until the first has nothing left that waits, give or take two."""
    w = Workers(len(senders), limit=1)
    busy(w)
    left = {}
    arrivals = []
    for number, counts in enumerate(senders):
        for sender, count in enumerate(counts):
            key = f"{number}.{sender}"
            left[key] = count
            arrivals += [(number, key)] * count
    seed.shuffle(arrivals)
    for number, key in arrivals:
        w.drivers[number].arrive(key=key)
    had = Counter(dict.fromkeys(left, 0))
    while sum(had.values()) < len(arrivals):
        [key] = run(w, 1)
        had[key] += 1
        if all(had[key] < left[key] for key in left):
            assert max(had.values()) - min(had.values()) <= 2
    assert had == left
