"""Active health checks, where nobody else has probes: ``GET /health`` of each endpoint."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import aiohttp

FAILURES = 2  # in a row until an endpoint is taken for unwell


class HealthChecks:
    """Looks at endpoints and tells when one is no longer well, or well again.

    An endpoint that answers below 500 is well: one without ``/health`` is there all the same.

    Args:
        urls: The endpoints; asked before each round.
        tell: Takes an endpoint's address and whether it is well.
        interval: Seconds between two rounds.
        timeout: Seconds in which an endpoint must answer.
    """

    def __init__(
        self,
        urls: Callable[[], Iterable[str]],
        tell: Callable[[str, bool], None],
        *,
        interval: float,
        timeout: float = 2.0,
    ) -> None:
        self._urls = urls
        self._tell = tell
        self._interval = interval
        self._timeout = timeout
        self._failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Look until cancelled."""
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        connector = aiohttp.TCPConnector(force_close=True)  # a new connection is part of the check
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                urls = {url for url in self._urls() if not url.startswith("unix:")}
                for url in self._failures.keys() - urls:
                    del self._failures[url]
                async with asyncio.TaskGroup() as group:
                    for url in sorted(urls):
                        group.create_task(self._check(session, url))
                await asyncio.sleep(self._interval)

    async def _check(self, session: aiohttp.ClientSession, url: str) -> None:
        try:
            async with session.get(f"{url}/health") as answer:
                well = answer.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError):
            well = False
        before = self._failures[url]
        self._failures[url] = 0 if well else before + 1
        if well and before >= FAILURES:
            self._tell(url, True)  # noqa: FBT003 - whether it is well
        elif not well and before + 1 == FAILURES:
            self._tell(url, False)  # noqa: FBT003
