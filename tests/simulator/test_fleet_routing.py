"""The compiled gateway does what the gateway's policy does."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.gateway.policy import Dispatch, Dispatcher, EndpointSpec, ModelSettings, Refuse, Request
from stoker.simulator.engine import Engine, Limits
from stoker.simulator.engine import Request as EngineRequest
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet, Server
from stoker.simulator.profiles import PROFILES
from stoker.traces import Arrivals

pytestmark = pytest.mark.timeout(300)
LIMITS = Limits(4, 100, 400, 60)
TINY = PROFILES["tiny"]


class Reference:
    """The policy with step-by-step engines, event by event."""

    def __init__(self, requests, ready, **rules):
        self.requests = requests
        self.policy = Dispatcher()
        rules = {"hold": 600.0, "queue_requests": 1000, **rules}
        self.policy.set_models([ModelSettings("m", **rules)], 0.0)
        self.engines = {}
        self.sent = {}
        self.ended = {}
        self.flying = {}
        events = [(time, 1, i) for i, (time, *_) in enumerate(requests)]
        events += [(time, 0, r) for r, time in enumerate(ready)]
        self.events = sorted(events)

    def run(self):
        for time, kind, which in self.events:
            self._until(time)
            if kind == 0:
                self.engines[str(which)] = Engine(TINY, LIMITS)
                self._do(self.policy.add("m", EndpointSpec(str(which), ready_at=time), time), time)
            else:
                self._do(self.policy.arrive(Request("m", owner=which), time), time)
        self._until(math.inf)
        return self

    def _until(self, limit):
        """Everything before *limit*: engines first, then timers, as their times say."""
        while True:
            due = [
                (event, 0, name)
                for name, engine in self.engines.items()
                if (event := engine.next_event()) is not None
            ]
            timer = self.policy.next_timer(self._now)
            if timer is not None:
                due.append((max(timer, self._now), 1, ""))
            if not due or min(due)[0] >= limit:
                return
            heapq.heapify(due)
            time, kind, name = due[0]
            self._now = time
            if kind == 1:
                self._do(self.policy.tick(time), time)
                continue
            for token in self.engines[name].advance(time):
                if token.finished is not None:
                    request = self.flying.pop(int(token.request_id))
                    self.ended[int(token.request_id)] = time
                    self._do(self.policy.done(request, time), time)
            # a replay looks for room at the end of each step, too
            self._do(self.policy.tick(time), time)

    _now = 0.0

    def _do(self, actions, time):
        self._now = time
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


def fleet(requests, ready, **rules):
    names = {"hold": "hold_timeout", "queue_requests": "hold_limit"}
    server = Server(TINY, LIMITS, **{names.get(name, name): rules[name] for name in rules})
    made = Fleet(Arrivals.of(*zip(*requests, strict=True)), [server])
    slots = [made.add(0) for _ in ready]
    for time, slot in sorted(zip(ready, slots, strict=True)):
        made.run(time)
        made.ready(slot, time)
    made.run(math.inf)
    return made.state


_requests = st.lists(
    st.tuples(st.floats(0.0, 8.0), st.integers(1, 120), st.integers(1, 40)),
    min_size=1,
    max_size=80,
    unique_by=lambda request: request[0],
).map(sorted)
_ready = st.lists(st.integers(0, 800), min_size=1, max_size=4, unique=True).map(
    lambda numbers: [number * 0.01 + 0.001234567 for number in numbers]
)


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
    for i in range(len(requests)):
        if i in expected.sent:
            time, replica = expected.sent[i]
            assert s.times[i, at.T_SENT] == pytest.approx(time, abs=1e-9), i
            assert s.request[i, at.Q_REPLICA] == replica, i
            assert s.times[i, at.T_LAST] == pytest.approx(expected.ended[i], abs=1e-9), i
        else:
            assert s.request[i, at.Q_STATUS] in (at.TIMED_OUT, at.REFUSED), i
            assert s.times[i, at.T_LAST] == pytest.approx(expected.ended[i], abs=1e-9), i


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
