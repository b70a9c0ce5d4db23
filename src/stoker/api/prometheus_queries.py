"""How many queries run at once, and where: small ones on the event loop, large ones in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from stoker.metrics.frozen import Frozen, Source
from stoker.metrics.sample import Matcher
from stoker.metrics.storage import Storage
from stoker.promql.engine import Limits, QueryTimeoutError
from stoker.promql.value import Value

MAX_CONCURRENCY: Final = 20  # as Prometheus' --query.max-concurrency
_GRACE: Final = 0.5  # seconds for a thread to find out by itself
_THREADS: Final = 2  # one interpreter lock: more would only share it
_SMALL: Final = 500_000  # cells, at 0.1 us: 50 ms of the event loop


class Queries:
    """The gate that all queries of one API go through."""

    def __init__(self, max_concurrency: int = MAX_CONCURRENCY) -> None:
        self._gate = asyncio.Semaphore(max_concurrency)
        self._threads: ThreadPoolExecutor | None = None

    async def run(
        self,
        storage: Storage,
        wanted: Iterable[tuple[Matcher, ...]],
        cost: int,
        limits: Limits,
        ask: Callable[[Source], Value],
    ) -> Value:
        """The answer of *ask*, which reads the selectors *wanted*.

        Raises:
            QueryTimeoutError: no turn came in time, or no answer.
        """
        try:
            async with asyncio.timeout(limits.timeout):
                await self._gate.acquire()
        except TimeoutError:
            raise QueryTimeoutError("query timed out in query queue") from None
        try:
            if cost <= _SMALL:
                return ask(storage)
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="promql")
            return await self._beside(Frozen(storage, wanted), limits, ask)
        finally:
            self._gate.release()

    async def _beside(
        self, source: Source, limits: Limits, ask: Callable[[Source], Value]
    ) -> Value:
        """Evaluate in a thread, and answer in time also if it is late to look at its clock."""
        asked = asyncio.get_running_loop().run_in_executor(self._threads, ask, source)
        grace = None if limits.timeout is None else limits.timeout + _GRACE
        try:
            async with asyncio.timeout(grace):
                return await asked
        except TimeoutError:
            raise QueryTimeoutError("query timed out in expression evaluation") from None

    def close(self) -> None:
        """Let the threads go."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
