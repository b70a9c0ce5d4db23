"""The seam of step 3: a trigger reads its source and never raises."""

from __future__ import annotations

from typing import Protocol

from stoker.scaling.observation import TriggerReading


class Trigger(Protocol):
    """One item of ``triggers``, ready to be read."""

    async def read(self, now: float) -> TriggerReading:
        """Ask the source. Whatever goes wrong becomes ``TriggerReading.error``."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
