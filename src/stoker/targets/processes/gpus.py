"""The GPUs of this machine, by number, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class GpuPool:
    """GPUs 0 to *count* - 1.

    Who came first is served first, but a pod that asks for more than is free does not hold up
    those behind it: the Kubernetes scheduler tries pending pods one by one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = set(range(count))
        self._waiting: list[tuple[int, asyncio.Future[tuple[int, ...]]]] = []

    @property
    def free(self) -> int:
        """How many nobody has."""
        return len(self._free)

    def fits(self, number: int) -> bool:
        """Whether *number* GPUs can be had without waiting."""
        return number <= len(self._free)

    async def take(self, number: int) -> tuple[int, ...]:
        """Wait for *number* GPUs and return their ids, the lowest that are free."""
        if self.fits(number):
            return self._pick(number)
        future: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(future.result())
            self._waiting = [item for item in self._waiting if item[1] is not future]
            raise

    def reserve(self, ids: Iterable[int]) -> None:
        """Count *ids* as taken: an adopted replica has them."""
        self._free -= set(ids)

    def release(self, ids: Iterable[int]) -> None:
        """Give back *ids*. Those that the machine no longer has are forgotten."""
        self._free |= {gpu for gpu in ids if gpu < self.count}
        for number, future in list(self._waiting):
            if not future.done() and self.fits(number):
                self._waiting.remove((number, future))
                future.set_result(self._pick(number))

    def _pick(self, number: int) -> tuple[int, ...]:
        ids = tuple(sorted(self._free)[:number])
        self._free -= set(ids)
        return ids
