"""A driver of the policy that checks, after every step, what must always hold."""

from __future__ import annotations

from collections import Counter

import pytest

from stoker.gateway.policy import (
    Dispatch,
    Dispatcher,
    EndpointSpec,
    Hold,
    ModelSettings,
    Recall,
    Refuse,
    Request,
)


class Driver:
    """Drives a `Dispatcher` at a time that only `at` changes, and remembers what it was told."""

    def __init__(self, **settings: object) -> None:
        self.dispatcher = Dispatcher()
        self.now = 1000.0
        self.settings = {"slow_start": 0.0} | settings
        self.sent: dict[Request, str] = {}
        self.refused: dict[Request, Refuse] = {}
        self.held: set[Request] = set()
        self.log: list[tuple[str, str]] = []
        self.answers: Counter[Request] = Counter()
        self.apply(self.dispatcher.set_models([ModelSettings("m", **self.settings)], self.now))

    def apply(self, actions) -> None:
        for action in actions:
            request = action.request
            match action:
                case Dispatch():
                    assert request not in self.sent
                    self.held.discard(request)
                    self.sent[request] = action.endpoint.name
                    self.log.append((request.owner, action.endpoint.name))
                case Hold():
                    assert request not in self.sent
                    self.held.add(request)
                case Recall(_, endpoint):
                    assert self.sent.pop(request) == endpoint.name
                case Refuse():
                    assert request not in self.sent
                    self.held.discard(request)
                    self.refused[request] = action
                    self.answers[request] += 1

    def endpoints(self, *names: str, **spec: object) -> None:
        specs = [EndpointSpec(name, **spec) for name in names]
        self.apply(self.dispatcher.set_endpoints("m", specs, self.now))

    def arrive(self, owner: str = "", **request: object) -> Request:
        made = Request("m", owner=owner, **request)
        self.apply(self.dispatcher.arrive(made, self.now))
        assert made in self.sent or made in self.held or made in self.refused
        return made

    def done(self, request: Request, *, broken: bool = False) -> None:
        del self.sent[request]
        self.answers[request] += 1
        self.apply(self.dispatcher.first_byte(request, self.now))
        self.apply(self.dispatcher.done(request, self.now, broken=broken))

    def first_byte(self, request: Request) -> None:
        self.apply(self.dispatcher.first_byte(request, self.now))

    def fail(self, request: Request, failure) -> None:
        del self.sent[request]
        self.apply(self.dispatcher.fail(request, failure, self.now))
        assert request in self.sent or request in self.held or request in self.refused

    def cancel(self, request: Request) -> None:
        self.sent.pop(request, None)
        self.held.discard(request)
        self.answers[request] += 1
        self.apply(self.dispatcher.cancel(request, self.now))

    def at(self, now: float) -> None:
        """Let time pass: 1000 is the beginning."""
        while (due := self.dispatcher.next_timer(self.now)) is not None and due <= now:
            self.now = max(self.now, due)
            before = (set(self.held), len(self.log))
            self.apply(self.dispatcher.tick(self.now))
            if (set(self.held), len(self.log)) == before:
                again = self.dispatcher.next_timer(self.now)
                assert again is None or again > self.now, "a timer that does nothing, for ever"
        self.now = now


@pytest.fixture
def drive():
    return Driver
