"""Whatever happens in whatever order in two processes: limits hold and nobody is forgotten.

Steps of the two do not overlap here, so that limits hold exactly; wakes come when they come.
"""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.gateway.shared.conftest import Workers

from stoker.gateway.policy import EndpointSpec, Failure, Priority, Stage

NAMES = ("a", "b", "c")
LIMIT = 2
QUEUE = 6
QUEUE_BYTES = 500
WORKER = st.sampled_from((0, 1))


class Traffic(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.w = Workers(
            2, limit=LIMIT, queue_requests=QUEUE, queue_bytes=QUEUE_BYTES, hold=30.0,
            slow_start=2.0, burst=1, pace=2.0,
        )  # fmt: skip
        self.requests = []
        self.rng = random.Random(1)
        self.untold = {}

    def some(self, driver, *stages):
        found = [request for request in driver.sent if request.stage in stages]
        return self.rng.choice(found) if found else None

    @rule(
        worker=WORKER,
        key=st.sampled_from(("", "x", "y")),
        priority=st.sampled_from(Priority),
        size=st.sampled_from((0, 50, 200)),
        affinity=st.sampled_from((None, 1)),
    )
    def arrives(self, worker, **request):
        driver = self.w.drivers[worker]
        self.requests.append((driver, driver.arrive(len(self.requests), **request)))

    @rule(worker=WORKER, broken=st.booleans())
    def ends(self, worker, broken):
        driver = self.w.drivers[worker]
        if request := self.some(driver, Stage.SENT, Stage.ANSWERING):
            driver.done(request, broken=broken)

    @rule(worker=WORKER, failure=st.sampled_from(Failure))
    def fails(self, worker, failure):
        driver = self.w.drivers[worker]
        if request := self.some(driver, Stage.SENT):
            driver.fail(request, failure)

    @rule(worker=WORKER)
    def client_goes(self, worker):
        driver = self.w.drivers[worker]
        if alive := sorted([*driver.sent, *driver.held], key=lambda request: request.owner):
            driver.cancel(self.rng.choice(alive))

    @rule(names=st.sets(st.sampled_from(NAMES)), new=st.booleans(), first=WORKER)
    def endpoints_are(self, names, new, first):
        """One is told; the other hears of it later."""
        self.hears()
        ready_at = self.w.drivers[0].now if new else None
        specs = [EndpointSpec(name, ready_at=ready_at) for name in sorted(names)]
        self.untold = {1 - first: specs}
        driver = self.w.drivers[first]
        driver.apply(driver.dispatcher.set_endpoints("m", specs, driver.now))

    @rule()
    def hears(self):
        for worker, specs in self.untold.items():
            driver = self.w.drivers[worker]
            driver.apply(driver.dispatcher.set_endpoints("m", specs, driver.now))
        self.untold = {}

    @rule(name=st.sampled_from(NAMES), healthy=st.booleans())
    def health(self, name, healthy):
        self.hears()
        for d in self.w.drivers:
            d.apply(d.dispatcher.set_health("m", name, healthy=healthy, now=d.now))

    @rule(seconds=st.sampled_from((0.1, 1.0, 7.0)))
    def time_passes(self, seconds):
        for driver in self.w.drivers:
            driver.at(driver.now + seconds)
        self.w.look_around()

    @rule()
    def one_looks(self):
        if self.w.woken:
            self.w.deliver()

    @rule()
    def all_look(self):
        self.w.settle()

    @invariant()
    def every_request_is_in_one_place(self):
        for driver, request in self.requests:
            places = (request in driver.sent) + (request in driver.held)
            assert places + driver.answers[request] == 1, request.stage

    @invariant()
    def limits_hold(self):
        for name in NAMES:
            assert self.w.in_flight(name) <= LIMIT
        held = [request for driver in self.w.drivers for request in driver.held]
        paused = sum(bool(request.pause) for request in held)
        assert sum(not request.tried for request in held) <= QUEUE + paused
        assert sum(request.size for request in held if not request.tried and not request.pause) <= (
            QUEUE_BYTES
        )

    @invariant()
    def each_sees_what_the_other_has(self):
        for worker, driver in enumerate(self.w.drivers):
            other = self.w.drivers[1 - worker]
            book = other.dispatcher._books["m"]
            assert book.cell.others(0) == driver.dispatcher.held("m")
            assert book.cell.others(1) == driver.dispatcher.held_bytes("m")

    @invariant()
    def nobody_waits_for_nothing(self):
        """When all that were woken have looked, nothing new waits for a replica with room."""
        if self.w.woken or self.untold:
            return
        for driver in self.w.drivers:
            if not any(not request.tried and not request.pause for request in driver.held):
                continue
            for endpoint in driver.dispatcher.endpoints("m"):
                idle = self.w.in_flight(endpoint.name) < endpoint.allowance(driver.now)
                well = endpoint.healthy and endpoint.circuit.open_until is None
                assert not (idle and well and not endpoint.draining)

    def teardown(self):
        self.hears()
        for d in self.w.drivers:
            d.apply(d.dispatcher.set_endpoints("m", [EndpointSpec("last")], d.now))
        for _ in range(1000):
            self.w.settle()
            if not any(d.sent or d.held for d in self.w.drivers):
                break
            for driver in self.w.drivers:
                for request in list(driver.sent):
                    driver.done(request)
                driver.at(driver.now + 1)
        assert all(driver.answers[request] == 1 for driver, request in self.requests)
        self.w.table.close()


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
