"""``type: external-push``: the stream on which a scaler says "active" out of turn.

A ``true`` activates at once: from 0 to 1, and the cooldown begins anew, whatever IsActive says at
the next poll. A ``false`` does nothing. A stream that ends is opened again after 2 s; one that
breaks after 2, 4, 8 ... 60 s, counted anew only after a stream that has ended well.

*Source*: ``pkg/scalers/external_scaler.go`` of KEDA 2.20, and what it was seen to do.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from stoker.clock import Clock
from stoker.errors import StokerError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.opentelemetry import asks_the_addon

_log = logging.getLogger(__name__)
FIRST_WAIT: Final = 2.0  # seconds
LONGEST_WAIT: Final = 60.0


def is_pushing(trigger: TriggerSpec) -> bool:
    """Whether a stream is opened for *trigger*. The otel add-on is here and needs none."""
    return trigger.type == "external-push" and not asks_the_addon(trigger.type, trigger.metadata)


class ActiveStream:
    """Keeps one stream open.

    Args:
        name: for the log.
        opened: opens the stream. Raises StokerError when it breaks.
        push: is called for each ``true``.
        clock: waits between two attempts.
    """

    def __init__(
        self,
        name: str,
        opened: Callable[[], AsyncIterator[bool]],
        push: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._name = name
        self._opened = opened
        self._push = push
        self._clock = clock
        self._failing = False

    async def run(self) -> None:
        """Listen until cancelled."""
        wait = FIRST_WAIT
        while True:
            try:
                async for active in self._opened():
                    self._note(None)
                    if active:
                        await self._push()
            except StokerError as error:
                self._note(error)
                await self._clock.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            self._note(None)
            wait = FIRST_WAIT
            await self._clock.sleep(wait)

    def _note(self, error: StokerError | None) -> None:
        """One line when the stream begins to fail, and one when it says something again."""
        if (error is not None) == self._failing:
            return
        self._failing = error is not None
        if error is not None:
            _log.warning("stream of %s is broken: %s", self._name, error)
        else:
            _log.warning("stream of %s is open again", self._name)
