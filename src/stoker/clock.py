"""The only module that reads the time.

Everything else takes ``now``, seconds since the Unix epoch, or a :class:`Clock`. A live run has a
:class:`LoopClock`; tests run the same clock on a virtual event loop; a replay has its own.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What can tell the time and wait."""

    def now(self) -> float:
        """Seconds since the Unix epoch. Never goes backwards while the program runs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. Zero or less gives others a turn."""
        ...


class LoopClock:
    """The clock of the running event loop, set to the wall clock once.

    Steps of the system clock (NTP, a user) do not move it, so that windows and cooldowns keep their
    length.
    """

    def __init__(self, *, epoch: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = (time.time() if epoch is None else epoch) - self._loop.time()

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return self._offset + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(seconds, 0.0))


class FixedClock:
    """A clock that stands still until it is set. ``sleep`` moves it."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        """The time it was set to."""
        return self._now

    def set(self, now: float) -> None:
        """Move to *now*."""
        self._now = now

    async def sleep(self, seconds: float) -> None:
        """Move by *seconds* and give others a turn."""
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)


def wall_time() -> float:
    """Seconds since the Unix epoch, for commands that run once and for records that others read."""
    return time.time()


def stopwatch() -> float:
    """Seconds from an arbitrary start, for measuring a duration in blocking code."""
    return time.perf_counter()


def pause(seconds: float) -> None:
    """Wait in a program without an event loop."""
    time.sleep(seconds)


def rfc3339(seconds: float) -> str:
    """``2026-11-22T14:03:15Z``, whole seconds, as Kubernetes writes times."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_time(seconds: float) -> str:
    """``14:03:15`` in the user's time zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")


#: Seconds of a clock that all processes of this machine share and that nobody sets. For the
#: gateway's processes, which exchange times; an alias because it is read for every chunk.
steady = time.monotonic
