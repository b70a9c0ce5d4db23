"""Several dispatchers that share a table, at a time that only the test changes."""

from __future__ import annotations

import os
from collections import deque

import pytest
from tests.gateway.policy.conftest import Driver

from stoker.gateway.shared.dispatching import SharedDispatcher
from stoker.gateway.shared.table import Row, Table, base_of

NOBODY = 1 << 30  # no process has that number


class Workers:
    """Drivers as of several processes; who was woken looks when the test lets it."""

    def __init__(self, number: int, **settings: object) -> None:
        self.table = Table.create()
        self.drivers = [Driver(**settings) for _ in range(number)]
        self.rows = [Row(self.table, n, os.getpid()) for n in range(number)]
        for row in self.rows:
            row.look_for_peers()
        self.woken: deque[int] = deque()
        self.dead: set[int] = set()
        for driver, row in zip(self.drivers, self.rows, strict=True):
            driver.dispatcher = SharedDispatcher(driver.dispatcher, row, self.woken.append)
        self.settle()

    @property
    def alive(self) -> list[Driver]:
        return [driver for n, driver in enumerate(self.drivers) if n not in self.dead]

    def endpoints(self, *names: str, **spec: object) -> None:
        for driver in self.alive:
            driver.endpoints(*names, **spec)
        self.settle()

    def deliver(self) -> None:
        """The one that was woken first looks."""
        number = self.woken.popleft()
        if number not in self.dead:
            driver = self.drivers[number]
            driver.apply(driver.dispatcher.tick(driver.now))

    def settle(self) -> None:
        """All that were woken look, until nobody is."""
        for _ in range(10_000):
            if not self.woken:
                return
            self.deliver()
        raise AssertionError("they wake each other for ever")

    def look_around(self) -> None:
        for driver in self.alive:
            driver.apply(driver.dispatcher.look_around(driver.now))

    def kill(self, number: int) -> None:
        """As `kill -9`: the row says what it said last."""
        self.dead.add(number)
        self.table.words[base_of(number)] = NOBODY

    def in_flight(self, name: str) -> int:
        found = (e for driver in self.alive for e in driver.dispatcher.endpoints("m"))
        return sum(endpoint.in_flight for endpoint in found if endpoint.name == name)


@pytest.fixture
def workers():
    made = []

    def start(number: int = 2, **settings: object) -> Workers:
        made.append(Workers(number, **settings))
        return made[-1]

    return start
