"""Whose turn it is when requests for one model wait in several gateway processes.

Each process has a tag for the request that is next in its queue; the lowest tag goes first. The
next tag is higher by what a turn costs, which is the less the more senders wait in the process, so
that senders have turns, not processes. One that begins to wait starts at the last tag that any
process sent a request with, so that it can neither save up turns nor push those aside who wait
already: self-clocked fair queueing (Golestani, 1994).
"""

from __future__ import annotations

from stoker.gateway.policy.queue import FairQueue


class Turns:
    """One model's turns in one process.

    Attributes:
        tag: Of the request that is next here.
        clock: The tag of the last request that left the queue here.
        clock_elsewhere: The highest such tag of the other processes.
        ahead: The lowest tag that waits in other processes; None: none does.
        paused: Nothing leaves the queue, since it is not known what the others have.
    """

    __slots__ = ("ahead", "clock", "clock_elsewhere", "paused", "tag")

    def __init__(self) -> None:
        self.tag = 0
        self.clock = 0
        self.clock_elsewhere = 0
        self.ahead: int | None = None
        self.paused = False

    @property
    def mine(self) -> bool:
        """Whether the next request of this process may go."""
        return self.ahead is None or self.tag < self.ahead

    def join(self, queue: FairQueue) -> None:
        """The first request waits here."""
        self.tag = max(self.clock, self.clock_elsewhere) + queue.turn_cost()
        if self.ahead is not None:
            self.tag += 1  # after those that came first and pay as much

    def took(self, queue: FairQueue) -> None:
        """A request left *queue*; the next one has a turn of its own."""
        self.clock = self.tag
        self.tag += queue.turn_cost()
