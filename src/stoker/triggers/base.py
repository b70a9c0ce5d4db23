"""The seam of step 3: a trigger reads its source and never raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stoker.scaling.observation import TriggerReading


class Trigger(Protocol):
    """One item of ``triggers``, ready to be read."""

    async def read(self, now: float) -> TriggerReading:
        """Ask the source. Whatever goes wrong becomes ``TriggerReading.error``."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """``data`` of an instant query in the Prometheus HTTP API: its resultType and result.

    A vector is ``[{"metric": {...}, "value": [time, "1.5"]}, ...]``, as JSON would give it.
    """

    result_type: str  # vector, matrix, scalar, string
    result: Any


QueryFunction = Callable[[str, float], Awaitable[QueryAnswer]]
"""Ask the embedded storage: query, time. Raises StokerError when there can be no answer."""
