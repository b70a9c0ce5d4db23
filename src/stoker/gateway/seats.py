"""What the control process knows of its gateway processes, and the sums of it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from stoker.gateway.stats import Snapshot, past
from stoker.gateway.wire import Message


class Seat:
    """The place of one gateway process: its socket, and whoever sits on it now.

    Attributes:
        number: Of its row in the table that the processes share.
        listening: Its socket; None: the process brought it from an earlier run.
        heard_out: Nothing more comes on the line.
        seq: The last `endpoints` message that it follows.
    """

    def __init__(self, number: int, listening: socket.socket | None) -> None:
        self.number = number
        self.listening = listening
        self.pid: int | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.serving = asyncio.Event()
        self.gone = asyncio.Event()
        self.heard_out = asyncio.Event()
        self.heard_out.set()
        self.seq = 0
        self.in_flight: dict[tuple[str, str], int] = {}
        self.held: dict[str, int] = {}
        self.incoming: dict[str, int] = {}
        self.latest: dict[str, Any] | None = None

    def send(self, line: bytes) -> None:
        """Tell the process, if there is one."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(line)

    def hear_depths(self, message: Message) -> None:
        """What it has in hand."""
        self.seq = message["seq"]
        self.held = {model: held for model, (_, held) in message["models"].items()}
        self.incoming = {model: incoming for model, (incoming, _) in message["models"].items()}
        self.in_flight = {(model, name): n for model, name, n in message["replicas"]}


class Seats:
    """All of them, and what those said that have gone.

    Attributes:
        ended: The last counters of processes that have gone.
    """

    def __init__(self) -> None:
        self._seats: list[Seat] = []
        self.ended: list[dict[str, Any]] = []
        self._leaving: dict[tuple[str, str], int] = {}  # replica -> the message that took it out

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats)

    def __len__(self) -> int:
        return len(self._seats)

    def add(self, seat: Seat) -> Seat:
        """One more."""
        self._seats.append(seat)
        return seat

    def tell(self, line: bytes) -> None:
        """Tell all, also those that start: they know what was so at their hello."""
        for seat in self._seats:
            seat.send(line)

    def leaving(self, model: str, known: Iterable[str], staying: set[str], seq: int) -> None:
        """With message *seq* the replicas of *model* that are not *staying* get nothing new."""
        for name in set(known) - staying:
            self._leaving[model, name] = seq
        for name in staying:
            self._leaving.pop((model, name), None)

    def left(self, seat: Seat) -> None:
        """A process has ended, or is about to."""
        if seat.latest is not None:
            for model, incoming in seat.incoming.items():  # told sooner than the other counts
                if model in seat.latest["models"]:
                    seat.latest["models"][model]["incoming"] = incoming
            self.ended.append(past(seat.latest))
        seat.writer = None
        seat.heard_out.set()
        seat.latest = None
        seat.serving.clear()
        seat.in_flight, seat.held, seat.incoming = {}, {}, {}

    def in_flight(self, name: str) -> int:
        """Requests at a replica.

        At least 1 while a process has not confirmed that it sends the replica nothing new.
        """
        total = sum(
            requests
            for seat in self._seats
            for (_, pod), requests in seat.in_flight.items()
            if pod == name
        )
        left_at = max((seq for (_, pod), seq in self._leaving.items() if pod == name), default=0)
        unsure = any(s.writer is not None and s.seq < left_at for s in self._seats)
        return max(total, int(unsure))

    def held(self, model: str) -> int:
        """Requests that wait for a replica."""
        return sum(seat.held.get(model, 0) for seat in self._seats)

    def incoming(self, model: str) -> int:
        """Requests that came for *model*."""
        gone = (dumped["models"].get(model, {}) for dumped in self.ended)
        before = sum(int(counters.get("incoming", 0)) for counters in gone)
        return before + sum(seat.incoming.get(model, 0) for seat in self._seats)

    def snapshot(self, models: Iterable[str]) -> Snapshot:
        """All counters, at most half a second old; those that wait as of now."""
        latest = [seat.latest for seat in self._seats if seat.latest is not None]
        total = Snapshot.of([*self.ended, *latest])
        total.held = Counter({name: self.held(name) for name in models})
        return total
