"""Whatever happens in whatever order: no request is lost, none is answered twice, limits hold."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.gateway.policy.conftest import Driver

from stoker.gateway.policy import EndpointSpec, Failure, Priority, Stage

NAMES = ("a", "b", "c", "d")
LIMIT = 3
QUEUE = 8
QUEUE_BYTES = 500


class Traffic(RuleBasedStateMachine):
    """Requests come, end and fail; endpoints come and go; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.d = Driver(
            limit=LIMIT, queue_requests=QUEUE, queue_bytes=QUEUE_BYTES, hold=30.0, slow_start=2.0,
            burst=1, pace=2.0,
        )  # fmt: skip
        self.requests = []
        self.numbers = iter(range(1 << 30))
        self.rng = random.Random(1)

    def some(self, stage):
        found = [request for request in self.d.sent if request.stage is stage]
        return self.rng.choice(found) if found else None

    @rule(
        key=st.sampled_from(("", "x", "y")),
        priority=st.sampled_from(Priority),
        size=st.sampled_from((0, 50, 200)),
        affinity=st.sampled_from((None, 1, 2)),
        patience=st.sampled_from((None, 5.0)),
    )
    def arrives(self, key, priority, size, affinity, patience):
        deadline = None if patience is None else self.d.now + patience
        self.requests.append(
            self.d.arrive(
                next(self.numbers),
                key=key,
                priority=priority,
                size=size,
                affinity=affinity,
                deadline=deadline,
            )
        )

    @rule()
    def answers(self):
        if request := self.some(Stage.SENT):
            self.d.first_byte(request)

    @rule(broken=st.booleans())
    def ends(self, broken):
        if request := self.some(Stage.ANSWERING):
            self.d.done(request, broken=broken)

    @rule(failure=st.sampled_from(Failure))
    def fails(self, failure):
        if request := self.some(Stage.SENT):
            self.d.fail(request, failure)

    @rule()
    def client_goes(self):
        alive = [*self.d.sent, *self.d.held]
        if alive:
            alive.sort(key=lambda request: request.owner)
            self.d.cancel(self.rng.choice(alive))

    @rule(names=st.sets(st.sampled_from(NAMES)), new=st.booleans())
    def endpoints_are(self, names, new):
        ready_at = self.d.now if new else None
        specs = [EndpointSpec(name, ready_at=ready_at) for name in sorted(names)]
        self.d.apply(self.d.dispatcher.set_endpoints("m", specs, self.d.now))

    @rule(name=st.sampled_from(NAMES))
    def endpoint_goes(self, name):
        self.d.apply(self.d.dispatcher.remove("m", name, self.d.now))

    @rule(name=st.sampled_from(NAMES), healthy=st.booleans())
    def health(self, name, healthy):
        self.d.apply(self.d.dispatcher.set_health("m", name, healthy=healthy, now=self.d.now))

    @rule(seconds=st.sampled_from((0.1, 1.0, 7.0)))
    def time_passes(self, seconds):
        self.d.at(self.d.now + seconds)

    @invariant()
    def every_request_is_in_one_place(self):
        for request in self.requests:
            places = (request in self.d.sent) + (request in self.d.held)
            assert places + self.d.answers[request] == 1, request.stage

    @invariant()
    def the_books_agree(self):
        endpoints = {e.name: e for e in self.d.dispatcher.endpoints("m")}
        at = Counter(
            name for request, name in self.d.sent.items()
            if request.endpoint is endpoints.get(name)
        )  # fmt: skip
        for name, endpoint in endpoints.items():
            assert endpoint.in_flight == at[name]
        assert self.d.dispatcher.held("m") == len(self.d.held)
        assert self.d.dispatcher.held_bytes("m") == sum(r.size for r in self.d.held)

    @invariant()
    def limits_hold(self):
        for endpoint in self.d.dispatcher.endpoints("m"):
            assert endpoint.in_flight <= LIMIT
        fresh = [request for request in self.d.held if not request.tried]
        assert len(fresh) <= QUEUE + sum(bool(request.pause) for request in self.d.held)

    @invariant()
    def nobody_waits_for_nothing(self):
        """An endpoint that is warm, well and has room has no new requests waiting."""
        if not any(not request.tried and not request.pause for request in self.d.held):
            return
        for endpoint in self.d.dispatcher.endpoints("m"):
            idle = endpoint.in_flight < endpoint.allowance(self.d.now)
            well = endpoint.healthy and endpoint.circuit.open_until is None
            assert not (idle and well and not endpoint.draining)

    @invariant()
    def nobody_waits_for_ever(self):
        for request in self.d.held:
            assert self.d.now < request.expires <= request.since + 30.0
        if self.d.held:
            assert self.d.dispatcher.next_timer(self.d.now) is not None

    @invariant()
    def first_in_first_out_for_a_sender(self):
        seen = defaultdict(int)
        order = {owner: index for index, (owner, _) in reversed([*enumerate(self.d.log)])}
        for request in self.requests:
            if request.owner in order:
                lane = (request.key, request.priority)
                assert order[request.owner] >= seen[lane]
                seen[lane] = order[request.owner]

    def teardown(self):
        self.d.apply(self.d.dispatcher.set_endpoints("m", [EndpointSpec("last")], self.d.now))
        for _ in range(1000):
            if not self.d.sent and not self.d.held:
                break
            for request in list(self.d.sent):
                self.d.done(request)
            self.d.at(self.d.now + 1)
        assert all(self.d.answers[request] == 1 for request in self.requests)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
