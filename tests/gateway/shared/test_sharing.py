"""Limits and queues of several processes are the gateway's, and nobody is forgotten."""

from __future__ import annotations

import pytest

from stoker.gateway.policy import EndpointSpec, Failure, ModelSettings, Reason


def test_the_limit_of_a_replica_is_that_of_all_processes(workers):
    w = workers(2, limit=2)
    a, b = w.drivers
    w.endpoints("pod")
    a.arrive("1")
    b.arrive("2")
    third = a.arrive("3")
    fourth = b.arrive("4")
    assert {third, fourth} <= a.held | b.held
    assert w.in_flight("pod") == 2


def test_who_waits_hears_at_once_of_room_that_another_process_leaves(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("pod")
    running = a.arrive("1")
    waiting = b.arrive("2")
    a.done(running)
    assert list(w.woken) == [1]
    w.settle()
    assert waiting in b.sent


def test_nobody_is_woken_for_room_that_is_taken(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("pod")
    running = a.arrive("1")
    a.arrive("2")  # tag for tag the lower row goes first
    b.arrive("3")
    a.done(running)
    assert [owner for owner, _ in a.log] == ["1", "2"]
    assert not w.woken


def test_requests_that_may_wait_are_counted_over_all(workers):
    w = workers(2, queue_requests=3)
    a, b = w.drivers
    for owner, driver in enumerate((a, b, a)):
        driver.arrive(owner, key=str(owner))
    late = b.arrive(3, key="3")
    assert b.refused[late].reason is Reason.QUEUE_FULL
    assert b.refused[late].detail == "3 requests wait already"


def test_bytes_that_may_wait_are_counted_over_all(workers):
    w = workers(2, queue_bytes=100)
    a, b = w.drivers
    a.arrive("1", size=60)
    late = b.arrive("2", size=60)
    assert b.refused[late].reason is Reason.QUEUE_FULL
    assert b.refused[late].detail == "the requests that wait hold 60 bytes already"
    assert b.arrive("3", size=40) in b.held


def test_a_new_process_counts_what_the_others_have(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    a.endpoints("pod")
    a.arrive("1")
    waiting = b.arrive("2")
    b.endpoints("pod")
    assert waiting in b.held


def test_a_new_list_of_endpoints_keeps_what_is_counted(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("pod")
    running = a.arrive("1")
    waiting = b.arrive("2")
    w.endpoints("other", "pod", limit=1)
    assert b.sent.get(waiting) == "other"
    late = b.arrive("3")
    assert late in b.held
    a.done(running)
    w.settle()
    assert b.sent[late] == "pod"


def test_a_replica_that_comes_back_elsewhere_is_another_one(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    for driver in (a, b):
        spec = EndpointSpec("pod", "http://one")
        driver.apply(driver.dispatcher.set_endpoints("m", [spec], driver.now))
    a.arrive("1")
    spec = EndpointSpec("pod", "http://two")
    b.apply(b.dispatcher.set_endpoints("m", [spec], b.now))
    assert b.arrive("2") in b.sent


def test_what_a_dead_process_had_is_free_and_those_that_wait_hear_of_it(workers):
    w = workers(3, limit=1, queue_requests=2)
    a, b, c = w.drivers
    w.endpoints("pod")
    a.arrive("1")
    first, second = b.arrive("2", key="x"), c.arrive("3", key="y")
    assert b.arrive("4", key="z") in b.refused
    w.kill(0)
    b.apply(b.dispatcher.look_around(b.now))
    w.settle()
    assert (first in b.sent) != (second in c.sent)


def test_the_places_that_a_dead_process_had_in_the_queue_are_free(workers):
    w = workers(2, queue_requests=2)
    a, b = w.drivers
    a.arrive("1")
    a.arrive("2")
    assert b.arrive("3") in b.refused
    w.kill(0)
    w.look_around()
    assert b.arrive("4") in b.held


def test_who_does_not_take_its_turn_is_not_waited_for(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("pod")
    running = a.arrive("1")
    b.arrive("2")
    waiting = a.arrive("3")
    a.done(running)
    assert waiting in a.held  # it is the other's turn, but it is stopped, or parses 64 MiB
    w.woken.clear()
    a.apply(a.dispatcher.look_around(a.now))
    assert waiting in a.held
    a.apply(a.dispatcher.look_around(a.now))
    assert waiting in a.sent


def test_who_cannot_use_the_room_lets_others_have_it(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("pod")
    running = a.arrive("1")
    for _ in range(3):  # the replica has failed the other one: its circuit is open there
        next(iter(b.dispatcher.endpoints("m"))).circuit.failed(b.now)
    b.dispatcher.model("m").changed()
    b.arrive("2")
    waiting = a.arrive("3")
    a.done(running)
    w.settle()
    assert waiting in a.sent


def test_a_slot_is_offered_to_one_that_could_not_use_others(workers):
    """An ill replica has room, which nobody wants; a slot of the well one goes around in turn."""
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("ill", "well")
    for driver in (a, b):
        driver.apply(driver.dispatcher.set_health("m", "ill", healthy=False, now=driver.now))
    running = a.arrive("1")
    assert a.sent[running] == "well"
    theirs = b.arrive("2")
    for owner in "345":
        a.arrive(owner)
    for _ in range(2):
        a.done(next(iter(a.sent)))
        w.settle()
        if theirs in b.sent:
            break
    assert theirs in b.sent


def test_a_request_that_failed_elsewhere_goes_before_all_that_are_new(workers):
    w = workers(2, limit=1)
    a, b = w.drivers
    w.endpoints("x", "y")
    one, two = a.arrive("1"), b.arrive("2")
    a.arrive("3")
    b.fail(two, Failure.UNAVAILABLE)  # it has seen y, and x is taken
    w.settle()
    assert two in b.held
    a.done(one)
    w.settle()
    assert b.sent[two] == "x"


def test_a_model_that_goes_takes_its_cells_along(workers):
    w = workers(2, limit=1)
    a, _ = w.drivers
    w.endpoints("pod")
    a.arrive("1")
    a.apply(a.dispatcher.set_models([ModelSettings("other")], a.now))
    assert not any(a.dispatcher._books[name] for name in a.dispatcher._books if name == "m")
    w.drivers[1].arrive("2")
    assert w.in_flight("pod") == 1


@pytest.mark.parametrize("number", [2, 3])
def test_cells_are_found_by_all_whoever_was_first(workers, number):
    w = workers(number)
    cells = [row.cell("a", "thing") for row in w.rows]
    others = [row.cell("another", "thing") for row in w.rows]
    for cell in cells:
        cell.put(0, 1)
    assert [cell.others(0) for cell in cells] == [number - 1] * number
    assert [cell.others(0) for cell in others] == [0] * number
