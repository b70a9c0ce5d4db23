"""The compiled gateway does what the gateway's policy does."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stoker.gateway.policy import (
    Dispatch,
    Dispatcher,
    EndpointSpec,
    Failure,
    ModelSettings,
    Reason,
    Refuse,
    Request,
    Stage,
)
from stoker.simulator.engine import Engine, Limits
from stoker.simulator.engine import Request as EngineRequest
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet, Server
from stoker.simulator.profiles import PROFILES
from stoker.traces import Arrivals

pytestmark = pytest.mark.timeout(300)
LIMITS = Limits(4, 100, 400, 60)
TINY = PROFILES["tiny"]
PATIENT = (math.inf, math.inf)


class Reference:
    """The policy with step-by-step engines, event by event."""

    def __init__(self, requests, ready, patience=PATIENT, crashes=(), **rules):
        self.requests = requests
        self.broken = set()
        self.lost = set()
        self.began = set()
        self.abandoned = set()
        self.policy = Dispatcher()
        rules = {"hold": 600.0, "queue_requests": 1000, **rules}
        self.policy.set_models([ModelSettings("m", **rules)], 0.0)
        self.engines = {}
        self.sent = {}
        self.ended = {}
        self.flying = {}
        self.all = {}
        events = [(time, 1, i) for i, (time, *_) in enumerate(requests)]
        events += [(time, 0, r) for r, time in enumerate(ready)]
        for time, which, again in crashes:
            events += [(time, -1, which), (again, 0, which)]
        for kind, timeout in enumerate(patience, 2):
            if timeout < math.inf:
                events += [(time + timeout, kind, i) for i, (time, *_) in enumerate(requests)]
        self.events = sorted(events)

    def run(self):
        for time, kind, which in self.events:
            self._until(time)
            if kind == -1:
                self._crash(str(which), time)
            elif kind == 0:
                self.engines[str(which)] = Engine(TINY, LIMITS)
                self._do(self.policy.add("m", EndpointSpec(str(which), ready_at=time), time), time)
            elif kind == 1:
                self.all[which] = Request("m", owner=which)
                self._do(self.policy.arrive(self.all[which], time), time)
            else:
                self._give_up(which, time, started=kind == 3)
        self._until(math.inf)
        return self

    def _crash(self, name, time):
        """The pod is not ready any more, then its connections end."""
        engine = self.engines.pop(name, None)
        if engine is None:
            return
        order = [s.request.id for s in (*engine._running, *engine._waiting)]
        self._do(self.policy.drain("m", name, time), time)
        for i in map(int, order):
            request = self.flying.pop(i)
            if i in self.began:
                self.broken.add(i)
                self.ended[i] = time
                self._do(self.policy.done(request, time, broken=True), time)
            else:
                self._do(self.policy.fail(request, Failure.NO_ANSWER, time), time)

    def _give_up(self, which, time, *, started):
        request = self.all[which]
        if request.stage is Stage.OVER or (which in self.began and not started):
            return
        if which in self.flying:
            self.engines[request.endpoint.name].cancel(str(which), time)
            del self.flying[which]
        self.ended[which] = time
        self.abandoned.add(which)
        self._do(self.policy.cancel(request, time), time)

    def _until(self, limit):
        """Everything before *limit*: engines first, then timers, as their times say."""
        while True:
            due = [
                (event, 0, name)
                for name, engine in self.engines.items()
                if (event := engine.next_event()) is not None
            ]
            if self._timer is not None:
                due.append((self._timer, 1, ""))
            if not due or min(due)[0] >= limit:
                return
            heapq.heapify(due)
            time, kind, name = due[0]
            if kind == 1:
                self._do(self.policy.tick(time), time)
                continue
            for token in self.engines[name].advance(time):
                if token.index == 1:
                    self.began.add(int(token.request_id))
                    # No circuit was open, so that nothing follows from it.
                    assert not self.policy.first_byte(self.flying[int(token.request_id)], time)
                if token.finished is not None:
                    request = self.flying.pop(int(token.request_id))
                    self.ended[int(token.request_id)] = time
                    self._do(self.policy.done(request, time), time)
            # a replay looks for room at the end of each step, too
            self._do(self.policy.tick(time), time)

    _timer = None

    def _do(self, actions, time):
        for action in actions:
            if isinstance(action, Dispatch):
                i = action.request.owner
                _, prompt, output = self.requests[i]
                self.flying[i] = action.request
                self.sent[i] = (time, int(action.endpoint.name))
                self.engines[action.endpoint.name].submit(
                    EngineRequest(str(i), prompt, output), time
                )
            elif isinstance(action, Refuse):
                self.ended[action.request.owner] = time
                if action.reason in {Reason.REPLICAS_LOST, Reason.RETRIES_EXHAUSTED}:
                    self.lost.add(action.request.owner)
        # Asked anew only when something has happened, as the gateway does: it is rounded up.
        timer = self.policy.next_timer(time)
        self._timer = None if timer is None else max(timer, time)


def fleet(requests, ready, patience=PATIENT, crashes=(), **rules):
    names = {"hold": "hold_timeout", "queue_requests": "hold_limit"}
    server = Server(
        TINY,
        LIMITS,
        first_token_timeout=patience[0],
        client_timeout=patience[1],
        **{names.get(name, name): rules[name] for name in rules},
    )
    made = Fleet(Arrivals.of(*zip(*requests, strict=True)), [server])
    slots = [made.add(0) for _ in ready]
    events = [(time, 0, slot) for time, slot in zip(ready, slots, strict=True)]
    for time, which, again in crashes:
        events += [(time, -1, slots[which]), (again, 0, slots[which])]
    is_up = set()
    for time, kind, slot in sorted(events):
        while made.run(time) < time:
            pass
        if kind == 0:
            made.ready(slot, time)
            is_up.add(slot)
        elif slot in is_up:
            made.abort(slot, time)
            is_up.remove(slot)
    made.run(math.inf)
    return made.state


def _requests_of(longest):
    return st.lists(
        st.tuples(st.floats(0.0, 8.0), st.integers(1, 120), st.integers(1, longest)),
        min_size=1,
        max_size=80,
        unique_by=lambda request: request[0],
    ).map(sorted)


_requests = _requests_of(40)
_ready = st.lists(st.integers(0, 800), min_size=1, max_size=4, unique=True).map(
    lambda numbers: [number * 0.01 + 0.001234567 for number in numbers]
)


def _not_rounded(s, expected):
    """Skip what differs first by the millisecond that the policy rounds its timers up by.

    How much that is depends on when it was asked last, which every driver does at its own moments.
    """
    differing = [
        (time, abs(s.times[i, at.T_SENT] - time))
        for i, (time, _) in expected.sent.items()
        if not abs(s.times[i, at.T_SENT] - time) <= 1e-9
    ]
    assume(not differing or not 0.0 < min(differing)[1] <= 0.00101)


@settings(max_examples=150, deadline=None)
@given(
    _requests,
    _ready,
    st.fixed_dictionaries(
        {
            "slow_start": st.sampled_from([0.0, 1.0, 5.0]),
            "burst": st.integers(1, 6),
            "pace": st.sampled_from([0.0, 2.0, 64.0]),
            "hold": st.sampled_from([1.0, 600.0]),
            "queue_requests": st.sampled_from([3, 1000]),
        }
    ),
)
def test_every_request_goes_to_the_same_replica_at_the_same_time(requests, ready, rules):
    expected = Reference(requests, ready, **rules).run()
    s = fleet(requests, ready, **rules)
    _not_rounded(s, expected)
    for i in range(len(requests)):
        if i in expected.sent:
            time, replica = expected.sent[i]
            assert s.times[i, at.T_SENT] == pytest.approx(time, abs=1e-9), i
            assert s.request[i, at.Q_REPLICA] == replica, i
            assert s.times[i, at.T_LAST] == pytest.approx(expected.ended[i], abs=1e-9), i
        else:
            assert s.request[i, at.Q_STATUS] in (at.TIMED_OUT, at.REFUSED), i
            assert s.times[i, at.T_LAST] == pytest.approx(expected.ended[i], abs=1e-9), i


@settings(max_examples=150, deadline=None)
@given(
    _requests_of(200),
    _ready,
    st.tuples(
        st.sampled_from([math.inf, 0.3712345, 2.0412345]),
        st.sampled_from([math.inf, 0.5312345, 1.5112345, 5.0912345]),
    ),
    st.fixed_dictionaries(
        {"slow_start": st.sampled_from([0.0, 5.0]), "burst": st.integers(1, 6)},
    ),
)
def test_clients_give_up_at_the_same_time_wherever_their_requests_are(
    requests, ready, patience, rules
):
    expected = Reference(requests, ready, patience, **rules).run()
    s = fleet(requests, ready, patience, **rules)
    _not_rounded(s, expected)
    abandoned = np.flatnonzero(s.request[:, at.Q_STATUS] == at.ABANDONED).tolist()
    assert set(abandoned) == expected.abandoned
    for i in range(len(requests)):
        assert s.times[i, at.T_LAST] == pytest.approx(expected.ended[i], abs=1e-9), i
        assert math.isnan(s.times[i, at.T_FIRST]) == (i not in expected.began), i
        if i in expected.sent:
            time, replica = expected.sent[i]
            assert s.times[i, at.T_SENT] == pytest.approx(time, abs=1e-9), i
            assert s.request[i, at.Q_REPLICA] == replica, i
    assert (s.number[:, [at.IN_FLIGHT, at.RUNS, at.QUEUED, at.PRIVATE, at.CONTEXT]] == 0).all()


@st.composite
def _lives(draw):
    """When replicas are ready, and their crashes, each with the time at which it is ready again."""
    ready = draw(_ready)
    crashes = []
    for which, time in enumerate(ready):
        for _ in range(draw(st.integers(0, 3))):
            time += draw(st.integers(1, 150)) * 0.01 + 0.000345678  # noqa: PLW2901
            again = time + draw(st.integers(1, 150)) * 0.01 + 0.000123456
            crashes.append((time, which, again))
            time = again  # noqa: PLW2901
    return ready, crashes


@settings(max_examples=200, deadline=None)
@given(
    _requests_of(200),
    _lives(),
    st.sampled_from([math.inf, 1.5112345]),
    st.fixed_dictionaries(
        {
            "slow_start": st.sampled_from([0.0, 5.0]),
            "burst": st.integers(1, 6),
            "hold": st.sampled_from([0.7, 600.0]),
            "queue_requests": st.sampled_from([5, 1000]),
        },
    ),
)
def test_what_a_crash_leaves_is_tried_again_as_the_gateway_tries_it(
    requests, lives, patience, rules
):
    ready, crashes = lives
    expected = Reference(requests, ready, (math.inf, patience), crashes, **rules).run()
    s = fleet(requests, ready, (math.inf, patience), crashes, **rules)
    _not_rounded(s, expected)
    found = {name: [] for name in at.STATUSES}
    for i, status in enumerate(s.request[:, at.Q_STATUS].tolist()):
        found[at.STATUSES[status]].append(i)
    assert set(found["lost"]) == expected.lost
    assert set(found["broken"]) == expected.broken
    assert set(found["abandoned"]) == expected.abandoned
    for i in range(len(requests)):
        assert s.times[i, at.T_LAST] == pytest.approx(expected.ended[i], abs=1e-9), i
        if i in expected.sent:
            time, replica = expected.sent[i]
            assert s.times[i, at.T_SENT] == pytest.approx(time, abs=1e-9), i
            assert s.request[i, at.Q_REPLICA] == replica, i


def test_a_request_that_kills_its_engines_does_not_visit_all_of_them():
    made = Fleet(Arrivals.of([0.0], [30], [30]), [Server(TINY, LIMITS, slow_start=0.0)])
    slots = [made.add(0) for _ in range(5)]
    for slot in slots:
        made.ready(slot, 0.0, warm=True)
    for moment in (0.001, 0.002, 0.003):
        made.run(moment)
        made.abort(int(made.state.request[0, at.Q_REPLICA]), moment)
    assert made.state.request[0, at.Q_STATUS] == at.LOST
    assert made.state.request[0, at.Q_RETRIES] == 2


def test_a_crash_with_more_requests_than_the_budget_allows_loses_the_rest():
    count = 700
    arrivals = Arrivals.of([i * 1e-5 for i in range(count)], [100] * count, [30] * count)
    made = Fleet(arrivals, [Server(TINY, LIMITS, slow_start=0.0)])
    slots = [made.add(0) for _ in range(2)]
    made.ready(slots[0], 0.0, warm=True)
    made.run(0.009)  # the first prompt takes 10 ms
    made.ready(slots[1], 0.009, warm=True)
    made.abort(slots[0], 0.009)
    made.run(math.inf)
    status = made.state.request[:, at.Q_STATUS]
    assert (status == at.LOST).sum() == 200
    assert (status == at.DONE).sum() == 500


def test_equal_replicas_take_turns():
    requests = [(i * 1.0, 10, 1) for i in range(9)]
    s = fleet(requests, [0.0, 0.0, 0.0], slow_start=0.0)
    assert s.request[:, at.Q_REPLICA].tolist() == [0, 1, 2] * 3


def test_a_crash_loses_no_request_and_answers_none_twice():
    requests = [(i * 0.01, 30, 1 + i % 30) for i in range(200)]
    made = Fleet(Arrivals.of(*zip(*requests, strict=True)), [Server(TINY, LIMITS)])
    slots = [made.add(0) for _ in range(3)]
    for slot in slots:
        made.ready(slot, 0.0, warm=True)
    for now, slot in ((0.5, slots[0]), (1.0, slots[1]), (1.2, slots[0])):
        made.run(now)
        made.abort(slot, now)
        made.ready(slot, now, warm=True)
    made.run(math.inf)
    s = made.state
    status = s.request[:, at.Q_STATUS]
    assert set(status.tolist()) == {at.DONE, at.BROKEN}
    assert s.request[:, at.Q_RETRIES].sum() > 0
    # broken: some tokens had come; retried: none
    assert not np.isnan(s.times[:, at.T_FIRST]).any()
    assert (s.times[:, at.T_LAST] >= s.times[:, at.T_FIRST]).all()
    assert s.number[:, at.IN_FLIGHT].sum() == 0
    assert s.world[at.ENDS] == (status == at.DONE).sum()
