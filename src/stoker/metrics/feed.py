"""One source of pages: from text to samples in the storage, with staleness.

A feed knows what its last page had. What is missing on the next page gets a staleness marker, and
so does everything when the source goes away.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from stoker.metrics.exposition import Format, PageParser
from stoker.metrics.relabel import Relabeling, relabelled
from stoker.metrics.sample import METRIC_NAME, Labels
from stoker.metrics.storage import Storage

UP = "up"
DURATION = "scrape_duration_seconds"
SAMPLES = "scrape_samples_scraped"


class Feed:
    """The pages of one target.

    Labels of the target win over labels on the page, which are kept as ``exported_...``; with
    *honor_labels* those on the page win. Without *honor_timestamps* a time on the page is passed
    over. *metric_relabelings* come last and may drop samples.
    Source: Prometheus' configuration reference, ``scrape_config``.
    """

    def __init__(
        self,
        storage: Storage,
        labels: Labels,
        *,
        source: str = "metrics",
        honor_labels: bool = False,
        honor_timestamps: bool = True,
        metric_relabelings: Iterable[Relabeling] = (),
    ) -> None:
        self.labels = labels
        self._honor_labels = honor_labels
        self._honor_timestamps = honor_timestamps
        self._relabelings = tuple(metric_relabelings)
        self._storage = storage
        self._parser = PageParser(source)
        self._final: dict[Labels, Labels | None] = {}  # None: dropped
        self._alive: set[Labels] = set()
        self._reports = {
            name: labels.with_label(METRIC_NAME, name) for name in (UP, DURATION, SAMPLES)
        }

    def ingest(
        self,
        text: str,
        now: float,
        *,
        format_: Format = "prometheus",
        sample_limit: int | None = None,
    ) -> int:
        """Take a page. Returns how many samples it had. Raises InputError and takes nothing."""
        lines = self._parser.lines(text, format_=format_)
        # One more than allowed is enough to know: the rest of a huge page is not even read.
        page = list(lines if sample_limit is None else islice(lines, sample_limit + 1))
        if sample_limit is not None and len(page) > sample_limit:
            raise PageTooLargeError(f"sample limit of {sample_limit} exceeded")
        final, append = self._final, self._storage.append
        seen: set[Labels] = set()
        for raw, value, timestamp in page:
            if raw in final:
                labels = final[raw]
            else:
                labels = final[raw] = self._named(raw)
            if labels is None:
                continue
            if timestamp is None or not self._honor_timestamps:
                append(labels, now, value)
                seen.add(labels)
            else:
                append(labels, timestamp, value)  # its time is its own, and so is its end
        self._end(self._alive - seen, now)
        self._alive = seen
        if len(final) > 4 * len(page) + 1000:
            final.clear()  # a page that keeps inventing labels must not grow us
        self._storage.metadata.update(self._parser.metadata)
        return len(page)

    def report(self, now: float, *, up: bool, duration: float, samples: int) -> None:
        """Write the series that a scrape leaves about itself. *duration* is seconds."""
        values = {UP: float(up), DURATION: duration, SAMPLES: float(samples)}
        for name, value in values.items():
            self._storage.append(self._reports[name], now, value)

    def fail(self, now: float) -> None:
        """The source did not answer: its series have no value until it does."""
        self._end(self._alive, now)
        self._alive = set()

    def close(self, now: float) -> None:
        """The source is gone, and what was said about it, too."""
        self.fail(now)
        self._end(set(self._reports.values()), now)

    def _end(self, labels: set[Labels], now: float) -> None:
        for one in labels:
            self._storage.mark_stale(one, now)

    def _named(self, raw: Labels) -> Labels | None:
        """What the storage calls a sample of the page; None if it is not kept."""
        named = {**dict(self.labels), **dict(raw)} if self._honor_labels else self._exported(raw)
        if not self._relabelings:
            return Labels(named)
        kept = relabelled(named, self._relabelings)
        return Labels(kept) if kept and METRIC_NAME in kept else None

    def _exported(self, raw: Labels) -> dict[str, str]:
        pairs = dict(raw.pairs)
        for name, value in self.labels:
            kept = pairs.pop(name, "")
            if kept:
                exported = f"exported_{name}"
                while exported in pairs or exported in self.labels:
                    exported = f"exported_{exported}"
                pairs[exported] = kept
            pairs[name] = value
        return pairs


class PageTooLargeError(Exception):
    """A page with more samples or bytes than are taken."""
