"""The three probes of a container together: startup first, then readiness and liveness."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from stoker.clock import Clock
from stoker.resources.workload import Probe, Workload
from stoker.targets.processes.probes import ProbeResult, ProbeWorker

Kind = Literal["Startup", "Readiness", "Liveness"]


class Health:
    """The health of one container since *started_at*.

    *on_ready* hears each readiness verdict, *on_unhealthy* each probe that failed.
    """

    def __init__(
        self,
        workload: Workload,
        ask: Callable[[Probe], Awaitable[ProbeResult]],
        clock: Clock,
        started_at: float,
        on_ready: Callable[[bool], None],
        on_unhealthy: Callable[[Kind, str], None],
    ) -> None:
        self._workload = workload
        self._ask = ask
        self._clock = clock
        self._started_at = started_at
        self._on_ready = on_ready
        self._on_unhealthy = on_unhealthy

    async def watch(self, *, started: bool = False) -> Kind:
        """Probe until the container has to be restarted; return the probe that says so.

        *started*: the startup probe has succeeded before. A container without a readiness probe is
        ready once it has started; one without a liveness probe is never restarted.
        """
        startup = self._workload.startup_probe
        if startup and not started and not await self._worker("Startup", startup).next_verdict():
            return "Startup"
        async with asyncio.TaskGroup() as group:
            readiness = group.create_task(self._follow_readiness())
            await self._until_dead()
            readiness.cancel()
        return "Liveness"

    async def _follow_readiness(self) -> None:
        probe = self._workload.readiness_probe
        if probe is None:
            self._on_ready(True)  # noqa: FBT003 - a verdict
            return
        worker = self._worker("Readiness", probe)
        while True:
            self._on_ready(await worker.next_verdict())

    async def _until_dead(self) -> None:
        probe = self._workload.liveness_probe
        if probe is None:
            await asyncio.Event().wait()  # until cancelled
            return
        worker = self._worker("Liveness", probe)
        while await worker.next_verdict():
            pass

    def _worker(self, kind: Kind, probe: Probe) -> ProbeWorker:
        def failed(message: str) -> None:
            self._on_unhealthy(kind, message)

        return ProbeWorker(probe, self._ask, self._clock, self._started_at, failed)
