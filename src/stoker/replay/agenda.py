"""What is to happen when: a heap of times with what to do, in the order in which it was said."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable


class Agenda:
    """Virtual time. ``now`` never goes back."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do *action* at *time*, after what was said for the same time before."""
        self._count += 1
        heapq.heappush(self._heap, (max(time, self.now), self._count, action))

    @property
    def next(self) -> float:
        """When there is something to do; infinite when there is nothing."""
        return self._heap[0][0] if self._heap else math.inf

    def do_next(self) -> None:
        """Go to the next time and do what comes first."""
        self.now, _, action = heapq.heappop(self._heap)
        action()

    def go_to(self, time: float) -> None:
        """Nothing is to be done before *time*."""
        self.now = max(self.now, time)
