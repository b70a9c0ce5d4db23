"""The requests that wait for one model: first in first out for a sender, turns between senders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from stoker.gateway.policy.request import Priority, Request

#: One of so many that leave is of low priority while such wait: they are slow, not starved.
LOW_TURN = 10
_TURN = 1 << 20  # what a turn costs when one sender waits

_Lane = OrderedDict[str, "OrderedDict[Request, None]"]  # by sender, whose turn is next first


class FairQueue:
    """Two lanes of senders that take turns. All operations but `longest` are O(1)."""

    __slots__ = ("_lanes", "_length", "_since_low", "bytes")

    def __init__(self) -> None:
        self._lanes: tuple[_Lane, _Lane] = (OrderedDict(), OrderedDict())
        self._length = 0
        self._since_low = 0
        self.bytes = 0  # of the bodies

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Request]:
        for lane in self._lanes:
            for waiting in lane.values():
                yield from waiting

    def push(self, request: Request) -> None:
        """Put *request* behind the others of its sender and priority."""
        self._lanes[request.priority].setdefault(request.key, OrderedDict())[request] = None
        self._length += 1
        self.bytes += request.size

    def peek(self) -> Request | None:
        """Whose turn it is, None when nobody waits."""
        lane = self._next_lane()
        return next(iter(next(iter(lane.values())))) if lane else None

    def pop(self) -> Request:
        """Take the one whose turn it is.

        Raises:
            LookupError: nobody waits.
        """
        request = self.peek()
        if request is None:
            raise LookupError("the queue is empty")
        low = request.priority is Priority.LOW
        self._since_low = 0 if low else self._since_low + bool(self._lanes[Priority.LOW])
        self.remove(request)
        lane = self._lanes[request.priority]
        if request.key in lane:
            lane.move_to_end(request.key)
        return request

    def remove(self, request: Request) -> None:
        """Take *request* out of the middle. Its sender keeps the turn."""
        lane = self._lanes[request.priority]
        waiting = lane[request.key]
        del waiting[request]
        if not waiting:
            del lane[request.key]
        self._length -= 1
        self.bytes -= request.size

    def waiting(self, key: str) -> int:
        """How many of *key* wait."""
        return sum(len(lane[key]) for lane in self._lanes if key in lane)

    def turn_cost(self) -> int:
        """What a turn costs this queue: less with more senders, `LOW_TURN` times as much for low.

        It is 0 when nobody waits.
        """
        normal, low = self._lanes
        if normal:
            return _TURN // len(normal)
        return _TURN * LOW_TURN // len(low) if low else 0

    def newest_of_longest(self) -> Request | None:
        """The last request of the sender with most waiting; low priority goes first."""
        senders = {key for lane in self._lanes for key in lane}
        if not senders:
            return None
        # Ties: the name decides, so that every run is the same.
        longest = max(senders, key=lambda key: (self.waiting(key), key))
        for lane in reversed(self._lanes):
            if longest in lane:
                return next(reversed(lane[longest]))
        return None

    def _next_lane(self) -> _Lane | None:
        normal, low = self._lanes
        if low and (not normal or self._since_low >= LOW_TURN - 1):
            return low
        return normal or None
