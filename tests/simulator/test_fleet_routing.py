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
    ModelSettings,
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

    def __init__(self, requests, ready, patience=PATIENT, **rules):
        self.requests = requests
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
        for kind, timeout in enumerate(patience, 2):
            if timeout < math.inf:
                events += [(time + timeout, kind, i) for i, (time, *_) in enumerate(requests)]
        self.events = sorted(events)

    def run(self):
        for time, kind, which in self.events:
            self._until(time)
            if kind == 0:
                self.engines[str(which)] = Engine(TINY, LIMITS)
                self._do(self.policy.add("m", EndpointSpec(str(which), ready_at=time), time), time)
            elif kind == 1:
                self.all[which] = Request("m", owner=which)
                self._do(self.policy.arrive(self.all[which], time), time)
            else:
                self._give_up(which, time, started=kind == 3)
        self._until(math.inf)
        return self

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
        # Asked anew only when something has happened, as the gateway does: it is rounded up.
        timer = self.policy.next_timer(time)
        self._timer = None if timer is None else max(timer, time)


def fleet(requests, ready, patience=PATIENT, **rules):
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
    for time, slot in sorted(zip(ready, slots, strict=True)):
        made.run(time)
        made.ready(slot, time)
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
