"""A page that is scraped. Apart from the scraper, whose HTTP client a replay does not need."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from stoker.metrics.relabel import Relabeling
from stoker.metrics.sample import EMPTY, Labels


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """What to ask, and what to call the answer. *interval* and *timeout* are seconds."""

    url: str
    labels: Labels = EMPTY
    interval: float = 5.0
    timeout: float = 3.0
    honor_labels: bool = False
    honor_timestamps: bool = True
    metric_relabelings: tuple[Relabeling, ...] = ()

    def offset(self) -> float:
        """Seconds after the start at which the first scrape comes."""
        return zlib.crc32(f"{self.url} {self.labels}".encode()) / 2**32 * self.interval
