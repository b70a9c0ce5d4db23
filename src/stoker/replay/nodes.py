"""Nodes with GPUs, and pods that wait for them in the order in which they came."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from stoker.replay.agenda import Agenda
from stoker.replay.setup import Setup

OnNode = Callable[[int | None, float], None]  # the node, and when
_IDLE_AFTER = 600.0  # seconds until an empty node is given back, as a cluster autoscaler does


class Nodes:
    """All GPUs there are. Without limits and delays a pod never waits, and has no node."""

    def __init__(self, setup: Setup, agenda: Agenda) -> None:
        self._agenda = agenda
        self._startup = setup.node_startup
        self._size = setup.node_gpus
        self._numbers = random.Random(f"{setup.seed} nodes")  # noqa: S311 - to be repeated
        self._limit = setup.gpus
        self._used = 0
        self._waiting: deque[tuple[int, OnNode]] = deque()
        # Nodes count only where they take time to come.
        self._counts = setup.node_startup.median > 0.0
        self._free: dict[int, int] = {}
        self._idle_since: dict[int, float] = {}
        self._least = setup.nodes or 0  # nodes that stay
        self._made = 0
        self._coming = 0
        for _ in range(setup.nodes or 0):
            self._add()

    @property
    def count(self) -> int:
        """Nodes that there are."""
        return len(self._free)

    @property
    def waiting(self) -> int:
        """Pods that wait."""
        return len(self._waiting)

    def take_at_once(self, gpus: int) -> int | None:
        """GPUs for a replica that was there before the run began."""
        self._used += gpus
        if not self._counts or gpus == 0:
            return None
        node = self._fitting(gpus)
        if node is None:
            node = self._add()
        self._free[node] -= gpus
        return node

    def take(self, gpus: int, now: float, then: OnNode) -> None:
        """Call *then* as soon as *gpus* are there."""
        self._waiting.append((gpus, then))
        self._serve(now)

    def give_back(self, node: int | None, gpus: int, now: float) -> None:
        """A pod is gone."""
        self._used -= gpus
        if node is not None and node in self._free:
            self._free[node] += gpus
            if self._free[node] == self._size:
                self._idle_since[node] = now
                self._agenda.at(now + _IDLE_AFTER, lambda: self._drop_if_idle(node))
        self._serve(now)

    def _serve(self, now: float) -> None:
        while self._waiting:
            gpus, then = self._waiting[0]
            if self._limit is not None and self._used + gpus > self._limit:
                return
            node = None
            if self._counts and gpus:
                node = self._fitting(gpus)
                if node is None:
                    self._ask_for_node(now)
                    return
                self._free[node] -= gpus
            self._waiting.popleft()
            self._used += gpus
            then(node, now)

    def _fitting(self, gpus: int) -> int | None:
        """The fullest node that has room, as the scheduler's MostAllocated packs them."""
        found = [(free, node) for node, free in self._free.items() if free >= gpus]
        return min(found)[1] if found else None

    def _add(self) -> int:
        node = self._made
        self._made += 1
        self._free[node] = self._size
        return node

    def _ask_for_node(self, now: float) -> None:
        wanted = sum(gpus for gpus, _ in self._waiting)
        while self._coming * self._size < wanted:
            self._coming += 1
            at = now + self._startup.draw(self._numbers)
            self._agenda.at(at, self._node_comes)

    def _node_comes(self) -> None:
        self._coming -= 1
        self._add()
        self._serve(self._agenda.now)

    def _drop_if_idle(self, node: int) -> None:
        """Give a node back that was empty all the time since it was found so."""
        is_idle = self._free.get(node) == self._size
        long_enough = self._agenda.now - self._idle_since.get(node, 0.0) >= _IDLE_AFTER
        if is_idle and long_enough and len(self._free) > self._least:
            del self._free[node]
