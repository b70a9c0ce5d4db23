"""Probes with Kubernetes' meaning: when they are sent and what their results add up to.

Source: pkg/kubelet/prober/worker.go. A verdict needs as many equal results in a row as its
threshold says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from stoker.clock import Clock
from stoker.resources.workload import Probe


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe said. *message* is the kubelet's sentence for a failure."""

    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What is probed: the container's port in the file is another one on this machine."""

    host: str
    port: int
    container_port: int
    env: Mapping[str, str]


class Prober(Protocol):
    """What sends a probe."""

    async def probe(self, probe: Probe, target: ProbeTarget) -> ProbeResult:
        """Ask once. Whatever goes wrong is a failure with a message, never an exception."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class ProbeCounter:
    """Counts equal results in a row."""

    def __init__(self, success_threshold: int, failure_threshold: int) -> None:
        self._thresholds = {True: success_threshold, False: failure_threshold}
        self._last: bool | None = None
        self._run = 0

    def count(self, success: bool) -> bool | None:
        """The verdict that *success* brings about, None while the threshold is not reached."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        return success if self._run >= self._thresholds[success] else None


class ProbeWorker:
    """Sends one probe of one container in its period, the first after the initial delay.

    A probe that takes longer than its period delays the next; missed turns are left out, as a
    ticker of Go does.
    """

    def __init__(
        self,
        probe: Probe,
        ask: Callable[[Probe], Awaitable[ProbeResult]],
        clock: Clock,
        started_at: float,
        on_failure: Callable[[str], None],
    ) -> None:
        self._probe = probe
        self._ask = ask
        self._clock = clock
        self._on_failure = on_failure
        self._next_at = max(started_at + probe.initial_delay, clock.now())
        self._counter = ProbeCounter(probe.success_threshold, probe.failure_threshold)

    async def next_verdict(self) -> bool:
        """Probe until one of the thresholds is reached."""
        while True:
            await self._clock.sleep(self._next_at - self._clock.now())
            result = await self._ask(self._probe)
            self._next_at += self._probe.period
            late = self._clock.now() - self._next_at
            if late > 0:
                self._next_at += self._probe.period * -(-late // self._probe.period)
            if not result.success:
                self._on_failure(result.message)
            verdict = self._counter.count(result.success)
            if verdict is not None:
                return verdict
