"""When to look: KEDA's polling loop and the HPA's sync loop of one ScaledObject, in real time.

The pure :mod:`stoker.scaling.cadence` says when each is due; here is only the waiting. An error
that nobody foresaw ends neither loop: it becomes an event and a line in the log, and the next look
comes in its turn, as in a controller.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from stoker.clock import Clock
from stoker.controller import Controller
from stoker.scaling.cadence import next_poll, next_sync
from stoker.scaling.observation import Reader
from stoker.scaling.settings import ControllerSettings
from stoker.tick import Tick

_log = logging.getLogger(__name__)
RETRY = 1.0  # seconds until the next look after an unforeseen error


class Loops:
    """The two loops of one controller, and a way to look out of turn."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        settings: ControllerSettings,
        *,
        on_tick: Callable[[Tick], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.controller = controller
        self._clock = clock
        self._settings = settings
        self._on_tick = on_tick
        self._on_error = on_error
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Poll and sync until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run(Reader.KEDA))
            group.create_task(self._run(Reader.HPA))

    def wake(self) -> None:
        """Something changed that may bring a look forward: a new HPA, an object that goes on."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def push(self) -> None:
        """Activate out of turn, as the stream of an external-push scaler does."""
        await self._look(Reader.PUSH)

    async def look_now(self, reader: Reader) -> None:
        """Look out of turn; the next regular look of *reader* comes one period later."""
        await self._look(reader)

    def _due(self, reader: Reader) -> float | None:
        """When *reader* looks next, None while it does not look at all."""
        state = self.controller.state
        if reader is Reader.HPA:
            return next_sync(state, self._settings)
        poll = next_poll(self.controller.spec, state)
        return None if math.isinf(poll) else poll

    async def _run(self, reader: Reader) -> None:
        while True:
            due = self._due(reader)
            wait = None if due is None else due - self._clock.now()
            if wait is None or wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                continue
            await self._look(reader)

    async def _look(self, reader: Reader) -> None:
        try:
            async with self._turn:
                tick = await self.controller.step(reader, self._clock.now())
        except Exception as error:  # noqa: BLE001 - told below, and the loop goes on
            _log.exception("%s of %s failed", reader.value, self.controller.spec.name)
            self._on_error(error)
            await self._clock.sleep(RETRY)
            return
        self._on_tick(tick)
        self.wake()
