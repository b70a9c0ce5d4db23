"""Pull: ask every target for its page, every few seconds.

Targets start at offsets that follow from their address, so that they are spread over the interval
and a run can be repeated. Each target keeps its own beat; a slow one delays nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp

from stoker.clock import Clock
from stoker.errors import InputError
from stoker.metrics.exposition import Format
from stoker.metrics.feed import Feed, PageTooLargeError
from stoker.metrics.sample import Labels
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.metrics.storage import Storage

MAX_PAGE_BYTES: Final = 16 * 2**20
MAX_PAGE_SAMPLES: Final = 100_000
_ACCEPT: Final = (
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

Health = Literal["unknown", "up", "down"]


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How the last scrape of a target went."""

    target: ScrapeTarget
    health: Health = "unknown"
    last_scrape: float | None = None  # seconds since the epoch; None: not yet
    last_duration: float = 0.0
    last_error: str = ""
    samples: int = 0


class _Subject:
    """A target with what is known of it while it is scraped."""

    def __init__(self, target: ScrapeTarget, feed: Feed, due: float) -> None:
        self.target = target
        self.feed = feed
        self.due = due
        self.status = TargetStatus(target)
        self.task: asyncio.Task[None] | None = None


class Scraper:
    """Scrapes the targets that it was told, into *storage*."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        on_page: Callable[[], None] = lambda: None,
        on_target: Callable[[ScrapeTarget, float], None] = lambda _target, _first: None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._on_page = on_page
        self._on_target = on_target  # told of a new one, and when it is scraped first
        self._subjects: dict[ScrapeTarget, _Subject] = {}
        self._pushed: dict[Labels, Feed] = {}
        self._changed = asyncio.Event()

    def set_targets(self, targets: Iterable[ScrapeTarget]) -> None:
        """Scrape these and no others. Series of targets that are gone end now."""
        now = self._clock.now()
        wanted = dict.fromkeys(targets)
        for target in [target for target in self._subjects if target not in wanted]:
            subject = self._subjects.pop(target)
            if subject.task is not None:
                subject.task.cancel()
            subject.feed.close(now)
        for target in wanted:
            if target not in self._subjects:
                feed = Feed(
                    self._storage,
                    target.labels,
                    source=target.url,
                    honor_labels=target.honor_labels,
                    honor_timestamps=target.honor_timestamps,
                    metric_relabelings=target.metric_relabelings,
                )
                first = now + target.offset()
                self._subjects[target] = _Subject(target, feed, first)
                self._on_target(target, first)
        self._changed.set()

    def targets(self) -> list[TargetStatus]:
        """How each target does, in the order in which they were told."""
        return [subject.status for subject in self._subjects.values()]

    def ingest(self, page_text: str, labels: Labels, now: float) -> int:
        """Take a page that was made in this process, as if a target with *labels* had shown it.

        Returns how many samples it had. Raises InputError.
        """
        feed = self._pushed.get(labels)
        if feed is None:
            feed = self._pushed[labels] = Feed(self._storage, labels)
        return feed.ingest(page_text, now)

    def forget(self, labels: Labels, now: float) -> None:
        """End the series of pages that were ingested under *labels*."""
        feed = self._pushed.pop(labels, None)
        if feed is not None:
            feed.close(now)

    async def run(self) -> None:
        """Scrape until cancelled."""
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)
        async with (
            aiohttp.ClientSession(connector=connector, headers={"Accept": _ACCEPT}) as session,
            asyncio.TaskGroup() as group,
        ):
            while True:
                self._changed.clear()
                now = self._clock.now()
                for subject in list(self._subjects.values()):
                    if subject.due <= now:
                        self._start(subject, group, session, now)
                await self._wait()

    def _start(
        self,
        subject: _Subject,
        group: asyncio.TaskGroup,
        session: aiohttp.ClientSession,
        now: float,
    ) -> None:
        interval = subject.target.interval
        # The beat stays, also when a turn was missed: the next multiple that lies ahead.
        subject.due += interval * max(1, int((now - subject.due) // interval) + 1)
        if subject.task is None or subject.task.done():
            subject.task = group.create_task(self._scrape(subject, session))

    async def _wait(self) -> None:
        due = min((subject.due for subject in self._subjects.values()), default=None)
        delay = None if due is None else max(due - self._clock.now(), 0.0)
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _scrape(self, subject: _Subject, session: aiohttp.ClientSession) -> None:
        """One scrape: whatever goes wrong becomes ``up 0`` and an error in the status."""
        target, started = subject.target, self._clock.now()
        samples, error = 0, ""
        try:
            async with asyncio.timeout(target.timeout):
                text, format_ = await _fetch(session, target.url)
            samples = subject.feed.ingest(
                text, started, format_=format_, sample_limit=MAX_PAGE_SAMPLES
            )
        except TimeoutError:
            error = f"no answer within {target.timeout:g} s"
        except (aiohttp.ClientError, InputError, PageTooLargeError, OSError, ValueError) as problem:
            error = str(problem) or type(problem).__name__
        if error:
            subject.feed.fail(started)
        else:
            self._on_page()
        duration = self._clock.now() - started
        subject.feed.report(started, up=not error, duration=duration, samples=samples)
        health: Health = "down" if error else "up"
        subject.status = TargetStatus(target, health, started, duration, error, samples)


async def _fetch(session: aiohttp.ClientSession, url: str) -> tuple[str, Format]:
    """The page and its format. Raises ClientError, PageTooLargeError, UnicodeDecodeError."""
    async with session.get(url) as response:
        if response.status != 200:
            raise aiohttp.ClientPayloadError(
                f"server returned HTTP status {response.status} {response.reason}"
            )
        body = bytearray()
        async for chunk in response.content.iter_chunked(65536):
            body += chunk
            if len(body) > MAX_PAGE_BYTES:
                raise PageTooLargeError(f"page larger than {MAX_PAGE_BYTES} bytes")
        openmetrics = response.content_type == "application/openmetrics-text"
    return body.decode("utf-8"), "openmetrics" if openmetrics else "prometheus"
