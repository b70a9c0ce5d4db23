"""Who waits, how long, in which order, and what those hear that cannot."""

import pytest

from stoker.gateway.policy import EndpointSpec, Failure, ModelSettings, Priority, Reason


def owners(driver):
    return [owner for owner, _ in driver.log]


def test_a_request_goes_at_once_when_there_is_an_endpoint(drive):
    d = drive()
    d.endpoints("a")
    d.arrive("1")
    assert d.log == [("1", "a")]


def test_requests_wait_for_the_first_endpoint_and_leave_in_order(drive):
    d = drive()
    for owner in "123":
        d.arrive(owner)
    assert d.dispatcher.held("m") == 3
    d.endpoints("a")
    assert owners(d) == ["1", "2", "3"]
    assert d.dispatcher.held("m") == 0


def test_the_limit_of_an_endpoint_is_kept_and_the_next_leaves_when_one_is_done(drive):
    d = drive(limit=2)
    d.endpoints("a")
    first, _, _ = d.arrive("1"), d.arrive("2"), d.arrive("3")
    assert owners(d) == ["1", "2"]
    d.done(first)
    assert owners(d) == ["1", "2", "3"]


def test_an_endpoints_own_limit_goes_before_the_models(drive):
    d = drive(limit=2)
    d.endpoints("a", limit=1)
    d.arrive("1")
    d.arrive("2")
    assert owners(d) == ["1"]


def test_requests_of_other_gateway_processes_count_towards_the_limit(drive):
    d = drive(limit=2)
    d.endpoints("a")
    [a] = d.dispatcher.endpoints("m")
    a.elsewhere = 2
    d.arrive("1")
    assert owners(d) == []
    a.elsewhere = 1
    d.apply(d.dispatcher.refill("m", d.now))
    assert owners(d) == ["1"]


def test_senders_take_turns(drive):
    d = drive(limit=1)
    d.endpoints("a")
    running = d.arrive("busy")
    for owner in ("x1", "x2", "x3"):
        d.arrive(owner, key="x")
    d.arrive("y1", key="y")
    d.arrive("z1", key="z")
    for _ in range(5):
        d.done(running)
        running = next(iter(d.sent))
    assert owners(d) == ["busy", "x1", "y1", "z1", "x2", "x3"]


def test_low_priority_waits_for_normal_but_is_not_starved(drive):
    d = drive(limit=1)
    d.endpoints("a")
    running = d.arrive("busy")
    d.arrive("low", priority=Priority.LOW)
    for number in range(12):
        d.arrive(str(number))
    for _ in range(11):
        d.done(running)
        running = next(iter(d.sent))
    assert owners(d)[1:] == [*map(str, range(9)), "low", "9"]


def test_a_full_queue_refuses_with_the_time_of_a_start(drive):
    d = drive(queue_requests=2, start_up=40.0)
    d.arrive("1")
    d.at(1010)
    d.arrive("2")
    refused = d.refused[d.arrive("3")]
    assert refused.reason is Reason.QUEUE_FULL
    assert refused.retry_after == 30
    assert refused.detail == "2 requests wait already"


def test_bytes_that_wait_are_bounded(drive):
    d = drive(queue_bytes=100)
    d.arrive("1", size=60)
    assert d.refused[d.arrive("2", size=41)].reason is Reason.QUEUE_FULL
    d.arrive("3", size=40)
    assert d.dispatcher.held_bytes("m") == 100


def test_a_sender_with_most_of_a_full_queue_gives_way(drive):
    d = drive(queue_requests=3)
    d.arrive("x1", key="x")
    d.arrive("x2", key="x")
    last = d.arrive("x3", key="x")
    other = d.arrive("y1", key="y")
    assert d.refused[last].reason is Reason.DISPLACED
    assert other in d.held
    assert d.refused[d.arrive("y2", key="y")].reason is Reason.QUEUE_FULL  # 2 and 2 would be fair


def test_the_hold_ends_with_what_is_missing(drive):
    d = drive(hold=20.0)
    request = d.arrive("1")
    d.at(1019.9)
    assert request in d.held
    d.at(1020)
    assert d.refused[request].reason is Reason.HOLD_TIMEOUT
    assert d.refused[request].detail == "it waited 20 s and no replica became ready in that time"
    assert d.dispatcher.next_timer(d.now) is None


def test_a_clients_own_deadline_comes_first(drive):
    d = drive(hold=20.0, limit=1)
    d.endpoints("a")
    d.arrive("busy")
    request = d.arrive("1", deadline=1005.0)
    d.at(1005)
    assert d.refused[request].reason is Reason.DEADLINE
    assert d.refused[request].detail == "its 1 ready replicas were busy all that time"


def test_a_client_that_goes_gives_its_place_back(drive):
    d = drive(limit=1)
    d.endpoints("a")
    running, second, _ = d.arrive("1"), d.arrive("2"), d.arrive("3")
    d.cancel(second)
    assert d.dispatcher.held("m") == 1
    d.cancel(running)
    assert owners(d) == ["1", "3"]


def test_retry_after_is_the_median_of_starts_seen(drive):
    d = drive(queue_requests=1)
    assert d.dispatcher.retry_after("m", d.now) == 30  # nobody knows yet
    for seconds in (10, 12, 50):
        d.endpoints()
        request = d.arrive("1")
        d.at(d.now + seconds)
        d.endpoints("a")
        d.done(request)
    d.endpoints()
    assert d.dispatcher.retry_after("m", d.now) == 12


def test_a_start_that_failed_ends_the_wait(drive):
    d = drive()
    request = d.arrive("1")
    d.apply(d.dispatcher.start_failed("m", "exit code 1, five times", d.now))
    assert d.refused[request].reason is Reason.START_FAILED
    d.endpoints("a")
    held = d.arrive("2")
    d.apply(d.dispatcher.start_failed("m", "the second replica", d.now))
    assert held in d.sent


def test_models_that_go_take_those_that_wait_with_them(drive):
    d = drive()
    request = d.arrive("1")
    d.apply(d.dispatcher.set_models([ModelSettings("other", aliases=("o",))], d.now))
    assert d.refused[request].reason is Reason.UNKNOWN_MODEL
    assert d.dispatcher.resolve("o") == "other"
    assert d.dispatcher.resolve("m") is None


def test_new_settings_hold_for_endpoints_that_are_there(drive):
    d = drive(limit=1)
    d.endpoints("a")
    d.arrive("1")
    d.arrive("2")
    d.apply(d.dispatcher.set_models([ModelSettings("m", limit=2)], d.now))
    assert owners(d) == ["1", "2"]


def test_stopping_refuses_those_that_wait_and_all_that_come(drive):
    d = drive()
    waiting = d.arrive("1")
    d.apply(d.dispatcher.stop(d.now))
    assert d.refused[waiting].reason is Reason.STOPPING
    assert d.refused[d.arrive("2")].reason is Reason.STOPPING


def test_a_new_endpoint_gets_a_burst_and_then_a_pace(drive):
    d = drive(slow_start=4.0, burst=3, pace=2.0)
    for number in range(20):
        d.arrive(str(number))
    d.endpoints("a", ready_at=d.now)
    assert len(d.sent) == 3
    d.at(1000.5)
    assert len(d.sent) == 4
    d.at(1003.9)
    assert len(d.sent) == 10
    d.at(1004)
    assert len(d.sent) == 20


def test_a_new_endpoint_gets_a_small_share_at_first(drive):
    d = drive(slow_start=10.0, burst=100)
    d.endpoints("old")
    old = [d.arrive() for _ in range(10)]
    d.apply(d.dispatcher.add("m", next(e.spec for e in d.dispatcher.endpoints("m")), d.now))
    d.apply(d.dispatcher.add("m", _spec("new", d.now), d.now))
    d.arrive()
    assert d.sent[next(reversed(d.sent))] == "new"  # 1 of 0.1 against 11 of 1
    d.arrive()
    assert d.sent[next(reversed(d.sent))] == "old"
    assert len(old) == 10


def _spec(name, ready_at):
    return EndpointSpec(name, ready_at=ready_at)


@pytest.mark.parametrize("failure", [Failure.CONNECT, Failure.UNAVAILABLE])
def test_a_request_that_was_tried_goes_before_those_that_are_new(drive, failure):
    d = drive(limit=1)
    d.endpoints("a", "b")
    first, second = d.arrive("1"), d.arrive("2")
    d.arrive("3")
    d.fail(first, failure)
    d.done(second)
    assert owners(d)[:3] == ["1", "2", "3"] or owners(d)[2] == "1"
    assert d.sent[first] == "b"
