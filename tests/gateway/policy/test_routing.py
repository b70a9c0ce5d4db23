"""Which endpoint gets a request, and what happens when it fails."""

from collections import Counter

from stoker.gateway.policy import EndpointSpec, Failure, Reason, fingerprint


def test_least_outstanding_then_longest_rest(drive):
    d = drive()
    d.endpoints("a", "b", "c")
    one = d.arrive("1")
    d.arrive("2")
    d.arrive("3")
    assert sorted(d.sent.values()) == ["a", "b", "c"]
    freed = d.sent[one]
    d.done(one)
    assert d.sent[d.arrive("4")] == freed


def test_weights_are_shares(drive):
    d = drive()
    d.apply(
        d.dispatcher.set_endpoints("m", [_spec("a", weight=3.0), _spec("b", weight=1.0)], d.now)
    )
    for _ in range(40):
        d.arrive()
    assert Counter(d.sent.values()) == {"a": 30, "b": 10}


def test_a_session_stays_and_only_its_share_moves_when_endpoints_come(drive):
    d = drive()
    names = [f"pod-{number}" for number in range(10)]
    d.endpoints(*names)
    sessions = [fingerprint(b"session-%d" % number) for number in range(300)]

    def homes():
        found = {}
        for session in sessions:
            request = d.arrive(affinity=session)
            found[session] = d.sent[request]
            d.done(request)
        return found

    before = homes()
    assert homes() == before
    assert len(set(before.values())) == 10
    d.endpoints(*names, "pod-10")
    after = homes()
    moved = {session for session in sessions if before[session] != after[session]}
    assert {after[session] for session in moved} == {"pod-10"}
    assert 10 < len(moved) < 60


def test_a_hot_prefix_cannot_lock_a_replica(drive):
    d = drive(load_cap=1.25)
    d.endpoints("a", "b", "c", "d")
    for _ in range(100):
        d.arrive(affinity=42)
    shares = Counter(d.sent.values())
    assert max(shares.values()) <= 32  # ceil(1.25 * 100 / 4)
    assert len(shares) == 4


def test_affinity_gives_way_to_the_limit(drive):
    d = drive(limit=1, load_cap=10.0)
    d.endpoints("a", "b")
    d.arrive("1", affinity=1)
    d.arrive("2", affinity=1)
    d.arrive("3", affinity=1)
    assert sorted(d.sent.values()) == ["a", "b"]
    assert len(d.held) == 1


def test_a_draining_endpoint_gets_nothing_new_and_is_forgotten_when_it_is_done(drive):
    d = drive()
    d.endpoints("a", "b")
    requests = [d.arrive(), d.arrive()]
    d.apply(d.dispatcher.drain("m", "a", d.now))
    assert {d.sent[d.arrive()] for _ in range(5)} == {"b"}
    assert {e.name: e.draining for e in d.dispatcher.endpoints("m")} == {"a": True, "b": False}
    d.done(next(r for r in requests if d.sent[r] == "a"))
    assert [e.name for e in d.dispatcher.endpoints("m")] == ["b"]


def test_a_drained_endpoint_can_come_back(drive):
    d = drive()
    d.endpoints("a")
    d.arrive()
    d.endpoints()
    waiting = d.arrive()
    assert waiting in d.held
    d.endpoints("a")
    assert d.sent[waiting] == "a"


def test_a_refused_connection_goes_elsewhere_as_often_as_it_takes(drive):
    d = drive()
    d.endpoints(*"abcdef")
    request = d.arrive()
    seen = []
    for _ in range(5):
        seen.append(d.sent[request])
        d.fail(request, Failure.CONNECT)
    assert len({*seen, d.sent[request]}) == 6


def test_when_all_refused_they_get_another_chance_after_a_growing_pause(drive):
    d = drive(hold=5.0)
    d.endpoints("a")
    request = d.arrive()
    times = []
    while request not in d.refused:
        if request in d.sent:
            times.append(round(d.now - 1000, 2))
            d.fail(request, Failure.CONNECT)
        due = d.dispatcher.next_timer(d.now)
        if due is not None:
            d.at(due)
    # 3 failures open the circuit, but it is the only one: a try from time to time.
    assert times == [0.0, 0.1, 0.3, 0.9, 1.9, 3.7]
    assert d.refused[request].reason is Reason.HOLD_TIMEOUT
    assert d.now == 1005
    assert d.refused[request].detail.endswith("its 1 ready replicas do not accept connections")


def test_an_endpoint_that_comes_takes_those_that_pause(drive):
    d = drive()
    d.endpoints("a")
    request = d.arrive()
    d.fail(request, Failure.CONNECT)
    assert request in d.held
    d.endpoints("a", "b")
    assert d.sent[request] == "b"


def test_a_request_that_loses_three_endpoints_is_refused(drive):
    d = drive()
    d.endpoints(*"abcde")
    request = d.arrive()
    d.fail(request, Failure.NO_ANSWER)
    d.fail(request, Failure.BAD_ANSWER)
    d.fail(request, Failure.NO_ANSWER)
    assert d.refused[request].reason is Reason.REPLICAS_LOST
    assert "3 replicas took the request" in d.refused[request].detail


def test_an_answer_that_began_is_not_retried(drive):
    d = drive()
    d.endpoints("a", "b")
    request = d.arrive()
    d.first_byte(request)
    d.apply(d.dispatcher.fail(request, Failure.NO_ANSWER, d.now))
    assert request in d.sent  # nothing was said: the driver ends it
    d.done(request, broken=True)
    assert sum(endpoint.in_flight for endpoint in d.dispatcher.endpoints("m")) == 0


def test_retries_have_a_budget(drive):
    d = drive()
    d.endpoints(*"abc")
    reasons = Counter()
    for _ in range(1000):
        request = d.arrive()
        while request not in d.refused:
            if request in d.sent:
                d.fail(request, Failure.NO_ANSWER)
            else:
                d.at(d.now + 1)
        reasons[d.refused[request].reason] += 1
    # 500 in reserve: each takes 2 and brings 0.2; then one of 5 gets one more.
    assert reasons[Reason.REPLICAS_LOST] == 277
    assert reasons[Reason.RETRIES_EXHAUSTED] == 1000 - reasons[Reason.REPLICAS_LOST]


def test_three_failures_open_the_circuit_and_one_request_tries_later(drive):
    d = drive()
    d.endpoints("a", "b")
    bad = []
    while len(bad) < 3:
        request = d.arrive()
        if d.sent[request] == "a":
            bad.append(request)
            d.fail(request, Failure.CONNECT)
        d.done(request)
    assert {d.sent[d.arrive()] for _ in range(6)} == {"b"}
    d.at(1001)
    assert Counter(d.sent[d.arrive()] for _ in range(6)) == {"a": 1, "b": 5}
    trial = next(request for request, name in d.sent.items() if name == "a")
    d.done(trial)
    assert "a" in {d.sent[d.arrive()] for _ in range(6)}


def test_a_circuit_that_fails_again_opens_for_twice_as_long(drive):
    d = drive()
    d.endpoints("a", "b", "c")
    for _ in range(9):
        request = d.arrive()
        if d.sent[request] == "a":
            d.fail(request, Failure.CONNECT)
        d.done(request)
    d.at(1001)
    trial = _arrive_at(d, "a")
    d.fail(trial, Failure.CONNECT)
    d.at(1002.9)
    assert "a" not in {d.sent[d.arrive()] for _ in range(9)}
    d.at(1003)
    assert "a" in {d.sent[d.arrive()] for _ in range(9)}


def test_with_more_than_half_of_the_circuits_open_none_counts(drive):
    d = drive()
    d.endpoints("a", "b", "c")
    while sum(e.circuit.open_until is not None for e in d.dispatcher.endpoints("m")) < 2:
        request = d.arrive()
        while d.sent.get(request) in {"a", "b"}:
            d.fail(request, Failure.CONNECT)
        d.done(request)
    assert {d.sent[d.arrive()] for _ in range(9)} == {"a", "b", "c"}


def test_with_all_circuits_open_requests_wait_and_one_tries_at_a_time(drive):
    """A replica that resets every connection must not use up the retries of a hundred requests."""
    d = drive(hold=100.0)
    d.endpoints("a")
    requests = [d.arrive() for _ in range(100)]
    failures = 0
    while d.now < 1020:
        for request in list(d.sent):
            failures += 1
            d.fail(request, Failure.NO_ANSWER)
        d.at(d.now + 0.05)
    assert failures < 100 + 20 / 0.2
    assert not d.refused
    d.endpoints("a", "b")
    assert sum(name == "b" for name in d.sent.values()) >= 99
    assert len(d.sent) == len(requests)


def test_a_failed_health_check_takes_back_what_is_not_answered(drive):
    d = drive()
    d.endpoints("a", "b")
    requests = [d.arrive(str(number)) for number in range(4)]
    answering = next(request for request in requests if d.sent[request] == "a")
    d.first_byte(answering)
    d.apply(d.dispatcher.set_health("m", "a", healthy=False, now=d.now))
    assert [d.sent[request] for request in requests].count("a") == 1
    assert d.sent[answering] == "a"
    assert {d.sent[d.arrive()] for _ in range(5)} == {"b"}
    d.apply(d.dispatcher.set_health("m", "a", healthy=True, now=d.now))
    assert "a" in {d.sent[d.arrive()] for _ in range(10)}


def test_if_all_fail_their_health_check_all_are_tried(drive):
    d = drive()
    d.endpoints("a")
    request = d.arrive()
    d.apply(d.dispatcher.set_health("m", "a", healthy=False, now=d.now))
    assert d.sent[request] == "a"
    assert d.sent[d.arrive()] == "a"


def test_a_removed_endpoint_loses_what_it_has_not_answered(drive):
    d = drive()
    d.endpoints("a")
    first, second = d.arrive("1"), d.arrive("2")
    d.first_byte(second)
    d.apply(d.dispatcher.remove("m", "a", d.now))
    assert first in d.held
    assert second in d.sent
    d.endpoints("b")
    assert d.sent[first] == "b"
    d.done(second)


def _spec(name, **settings):
    return EndpointSpec(name, **settings)


def _arrive_at(d, name):
    for _ in range(20):
        request = d.arrive()
        if d.sent[request] == name:
            return request
        d.done(request)
    raise AssertionError(name)


def test_the_place_of_a_request_that_is_given_up_goes_to_the_next(drive):
    d = drive(limit=1)
    d.endpoints("a", "b", "c")
    lost = d.arrive()
    for _ in range(2):
        d.fail(lost, Failure.NO_ANSWER)
    busy = [d.arrive(), d.arrive()]
    waiting = d.arrive()
    d.fail(lost, Failure.NO_ANSWER)
    assert d.refused[lost].reason is Reason.REPLICAS_LOST
    assert waiting in d.sent
    assert all(request in d.sent for request in busy)
