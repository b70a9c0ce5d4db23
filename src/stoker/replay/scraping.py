"""Scrapes in virtual time: at the moments and under the labels of a live run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stoker.metrics.feed import DURATION, SAMPLES, UP
from stoker.metrics.relabel import relabelled
from stoker.metrics.sample import METRIC_NAME, Labels
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.metrics.storage import Storage
from stoker.replay.agenda import Agenda
from stoker.replay.exposition import EnginePage
from stoker.replay.pods import Life
from stoker.simulator.fleet.fleet import Fleet

_TOOK = 0.005  # seconds that a scrape takes, as a real engine answered


class PodScrape:
    """One target's beat, from the start of its process to the end of its pod."""

    def __init__(
        self,
        target: ScrapeTarget,
        life: Life,
        page: EnginePage,
        *,
        fleet: Fleet,
        storage: Storage,
        agenda: Agenda,
        start: float,
        before: Callable[[], None],
    ) -> None:
        self._life, self._page = life, page
        self._fleet, self._storage, self._agenda = fleet, storage, agenda
        self._start = start
        self._before = before
        self._interval = target.interval
        self._labels = final_labels(target, page.labels())
        self._alive = False
        self.is_up = False
        self.last: float | None = None
        self._reports = [
            (target.labels.with_label(METRIC_NAME, name), name)
            for name in (UP, DURATION, SAMPLES)
            if page.demand.has(name)
        ]

    def begin(self, after: float) -> None:
        """Scrape for the first time in *after* seconds, then at every interval."""
        self._agenda.at(self._agenda.now + after, self._scrape)

    def _scrape(self) -> None:
        if self._life.gone is not None:
            return
        time = self._agenda.now
        now = self._start + time
        self._agenda.at(time + self._interval, self._scrape)
        self.is_up = self._life.is_open
        self.last = now
        append = self._storage.append
        if self.is_up:
            self._before()
            for labels, value in zip(self._labels, self._page.values(self._fleet), strict=True):
                if labels is not None:
                    append(labels, now, value)
            self._alive = True
        else:
            self._end(now)
        for labels, name in self._reports:
            value = float(self.is_up) if name == UP else _TOOK
            append(labels, now, value if name != SAMPLES else float(len(self._labels)))

    @property
    def series(self) -> int:
        """How many it has now."""
        return len(self._labels) if self._alive else 0

    def close(self) -> None:
        """The pod is gone."""
        now = self._start + self._agenda.now
        self._end(now)
        for labels, _ in self._reports:
            self._storage.mark_stale(labels, now)

    def _end(self, now: float) -> None:
        if self._alive:
            for labels in self._labels:
                if labels is not None:
                    self._storage.mark_stale(labels, now)
            self._alive = False


def final_labels(target: ScrapeTarget, pages: Sequence[dict[str, str]]) -> list[Labels | None]:
    """What the storage calls each series of a page; None: it is dropped."""
    return [_final(target, raw) for raw in pages]


def _final(target: ScrapeTarget, raw: dict[str, str]) -> Labels | None:
    own = dict(target.labels)
    if target.honor_labels:
        named = {**own, **raw}
    else:
        named = {f"exported_{k}" if k in own else k: v for k, v in raw.items()} | own
    if not target.metric_relabelings:
        return Labels(named)
    kept = relabelled(named, target.metric_relabelings)
    return Labels(kept) if kept and METRIC_NAME in kept else None


class GatewayScrape:
    """The gateway's page, as it is taken in a live run: from the start, at every interval."""

    def __init__(
        self,
        labels: dict[str, str],
        interval: float,
        values: Callable[[], list[tuple[dict[str, str], float]]],
        *,
        storage: Storage,
        agenda: Agenda,
        start: float,
    ) -> None:
        self._own, self._interval, self._values = labels, interval, values
        self._storage, self._agenda, self._start = storage, agenda, start
        self._labels: dict[tuple[tuple[str, str], ...], Labels] = {}
        agenda.at(0.0, self._scrape)

    def _scrape(self) -> None:
        time = self._agenda.now
        self._agenda.at(time + self._interval, self._scrape)
        for raw, value in self._values():
            key = tuple(raw.items())
            labels = self._labels.get(key)
            if labels is None:
                labels = self._labels[key] = Labels({**raw, **self._own})
            self._storage.append(labels, self._start + time, value)
