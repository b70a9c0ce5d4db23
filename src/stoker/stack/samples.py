"""The samples of the embedded Prometheus across a restart, so that windows of queries go on.

They are written every minute and forgotten at a clean stop, like the memory of the ScaledObjects.
What was loaded has ended: a series has a value again when its page has been read.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stoker.clock import Clock
from stoker.errors import InputError
from stoker.metrics import snapshot
from stoker.metrics.frozen import Frozen
from stoker.metrics.storage import Storage

_FOLDER: Final = "metrics"
_INTERVAL: Final = 60.0  # seconds


class KeptSamples:
    """Reads the folder once, and writes it whole every minute."""

    def __init__(
        self, storage: Storage, clock: Clock, state_dir: Path, *, on_trouble: Callable[[str], None]
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._directory = state_dir / _FOLDER
        self._on_trouble = on_trouble
        self._troubled = False

    def load(self) -> None:
        """Put what was kept into the empty storage. What cannot be read is told and forgotten."""
        try:
            snapshot.load(self._storage, self._directory)
        except InputError as error:
            self._on_trouble(f"{error}; windows of queries start anew")
            self.forget()
            return
        now = self._clock.now()
        self._storage.drop_before(now - self._storage.retention)
        for labels in self._storage.series():
            self._storage.mark_stale(labels, now)

    async def run(self) -> None:
        """Write again and again."""
        while True:
            await self._clock.sleep(_INTERVAL)
            await self.save()

    async def save(self) -> None:
        """Write once, beside the event loop. A full disk is told once, and once when it is over."""
        series = Frozen(self._storage, [()]).find(()).series
        metadata = dict(self._storage.metadata)
        try:
            await asyncio.to_thread(snapshot.write, series, metadata, self._directory)
        except OSError as error:
            if not self._troubled:
                self._on_trouble(f"{self._directory} cannot be written: {error}")
            self._troubled = True
            return
        if self._troubled:
            self._on_trouble(f"{self._directory} can be written again")
        self._troubled = False

    def forget(self) -> None:
        """After a clean stop nothing is left to be remembered."""
        shutil.rmtree(self._directory, ignore_errors=True)
