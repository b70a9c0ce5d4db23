"""How watches learn that something may look different now."""

from __future__ import annotations

import asyncio


class Changes:
    """A counter that can be waited for.

    Whoever changes an object calls :meth:`notify`; a watcher that falls behind sees the newest
    state once, not every state in between.
    """

    def __init__(self) -> None:
        self.version = 0
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wake all who wait. Call it from the event loop's thread."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, version: int) -> int:
        """Wait until there is something newer than *version*; the newest version."""
        while self.version <= version:
            await self._changed.wait()
        return self.version
