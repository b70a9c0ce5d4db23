"""What a trace is like: its rate over time, its burstiness, its lengths. One pass, little memory.

Counts are kept for each second and lengths as a histogram of tokens, so that all percentiles are
exact and 50 million requests over two weeks need some 10 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.traces.arrivals import Arrivals, Counts

Integers = NDArray[np.int64]
WINDOWS = (1, 10, 60, 600)  # seconds over which burstiness is told
PERCENTILES = (50, 90, 95, 99)


class Histogram:
    """How often each number of tokens came."""

    def __init__(self) -> None:
        self._counts: Integers = np.zeros(1024, np.int64)
        self._odd: dict[int, int] = {}  # lengths too large for an array

    def add(self, tokens: Counts) -> None:
        """Some more."""
        large = tokens >= 1 << 22
        if large.any():
            for length, count in zip(*np.unique(tokens[large], return_counts=True), strict=True):
                self._odd[int(length)] = self._odd.get(int(length), 0) + int(count)
            tokens = tokens[~large]
        counts = np.bincount(tokens)
        if len(counts) > len(self._counts):
            self._counts = np.pad(self._counts, (0, len(counts) - len(self._counts)))
        self._counts[: len(counts)] += counts

    def table(self) -> tuple[Integers, Integers]:
        """Lengths that came, ascending, and how often each."""
        lengths = np.flatnonzero(self._counts)
        odd = sorted(self._odd)
        return (
            np.concatenate([lengths, np.array(odd, np.int64)]),
            np.concatenate(
                [self._counts[lengths], np.array([self._odd[x] for x in odd], np.int64)]
            ),
        )

    def percentile(self, percent: float) -> int:
        """The smallest length that at least *percent* of a hundred requests do not exceed."""
        lengths, counts = self.table()
        rank = math.ceil(percent / 100 * counts.sum()) or 1
        return int(lengths[np.searchsorted(np.cumsum(counts), rank)])

    @property
    def total(self) -> int:
        """Tokens of all requests."""
        lengths, counts = self.table()
        return int((lengths * counts).sum())

    @property
    def longest(self) -> int:
        """The largest length."""
        return int(self.table()[0][-1])


@dataclass(frozen=True, slots=True)
class Burstiness:
    """How uneven arrivals are in windows of one length: 1 is a Poisson process."""

    window: int  # seconds
    dispersion: float  # variance of the counts over their mean
    peak: float  # requests a second in the busiest window


class Description:
    """Statistics of a trace, filled chunk by chunk."""

    def __init__(self) -> None:
        self.requests = 0
        self.start = self.end = 0.0
        self.prompt, self.output = Histogram(), Histogram()
        self.models: dict[str, int] = {}
        self.keys: dict[str, int] = {}
        self.blocks = self.repeated_blocks = 0
        self.longest_silence = 0.0
        self._seen: set[int] = set()
        self._seconds: Integers = np.zeros(1024, np.int64)
        self._gaps = 0
        self._gap_mean = self._gap_square = 0.0

    @classmethod
    def of(cls, chunks: Iterable[Arrivals]) -> Description:
        """All of a trace."""
        found = cls()
        for chunk in chunks:
            if len(chunk):
                found.add(chunk)
        return found

    def add(self, chunk: Arrivals) -> None:
        """The next requests."""
        times = chunk.times
        if not self.requests:
            self.start = self.end = float(times[0])
            gaps = np.diff(times)
        else:
            gaps = np.diff(np.concatenate([[self.end], times]))
        self._add_gaps(gaps)
        self.requests += len(chunk)
        self.end = float(times[-1])
        self._add_seconds((times - self.start).astype(np.int64))
        self.prompt.add(chunk.prompt_tokens)
        self.output.add(chunk.output_tokens)
        _count(self.models, chunk.models, chunk.model_names)
        _count(self.keys, chunk.keys, chunk.key_names)
        if chunk.blocks is not None:
            self._add_blocks(chunk.blocks.hashes)

    def _add_gaps(self, gaps: NDArray[np.float64]) -> None:
        """Mean and sum of squared differences, joined as Chan, Golub and LeVeque (1979) do."""
        if not len(gaps):
            return
        self.longest_silence = max(self.longest_silence, float(gaps.max()))
        mean, count = float(gaps.mean()), len(gaps)
        total = self._gaps + count
        difference = mean - self._gap_mean
        self._gap_square += float(((gaps - mean) ** 2).sum())
        self._gap_square += difference**2 * self._gaps * count / total
        self._gap_mean += difference * count / total
        self._gaps = total

    def _add_seconds(self, seconds: Integers) -> None:
        first = int(seconds[0])
        counts = np.bincount(seconds - first)
        needed = first + len(counts)
        if needed > len(self._seconds):
            size = max(needed, 2 * len(self._seconds))
            self._seconds = np.pad(self._seconds, (0, size - len(self._seconds)))
        self._seconds[first:needed] += counts

    def _add_blocks(self, hashes: Integers) -> None:
        new = set(hashes.tolist()) - self._seen
        self._seen |= new
        self.blocks += len(hashes)
        self.repeated_blocks += len(hashes) - len(new)

    @property
    def duration(self) -> float:
        """Seconds from the first request to the last."""
        return self.end - self.start

    @property
    def rate(self) -> float:
        """Requests a second on average; 0 of a trace without a duration."""
        return self.requests / self.duration if self.duration else 0.0

    @property
    def gap_variation(self) -> float | None:
        """Coefficient of variation of the gaps between requests: 1 of a Poisson process."""
        if self._gaps < 2 or self._gap_mean == 0:
            return None
        return math.sqrt(self._gap_square / self._gaps) / self._gap_mean

    def counts(self, window: int) -> Integers:
        """Requests in each whole window of *window* seconds; at least one window."""
        seconds = self._seconds[: int(self.duration) + 1]
        whole = max(len(seconds) // window, 1)
        used = seconds[: whole * window]
        padded = np.pad(used, (0, whole * window - len(used)))
        counts: Integers = padded.reshape(whole, window).sum(axis=1)
        return counts

    def burstiness(self) -> list[Burstiness]:
        """For each window of ``WINDOWS`` that fits at least ten times."""
        found = []
        for window in WINDOWS:
            counts = self.counts(window)
            if len(counts) < 10:
                continue
            dispersion = float(counts.var() / counts.mean()) if counts.any() else 0.0
            found.append(Burstiness(window, dispersion, float(counts.max()) / window))
        return found

    def rates(self, points: int) -> NDArray[np.float64]:
        """Requests a second over time, in at most *points* equal steps of whole seconds."""
        window = max(math.ceil((int(self.duration) + 1) / points), 1)
        return self.counts(window) / window

    @property
    def reuse(self) -> float | None:
        """Share of the prompts' blocks that had been seen before; None without blocks."""
        return self.repeated_blocks / self.blocks if self.blocks else None


def _count(known: dict[str, int], column: Counts | None, names: tuple[str, ...]) -> None:
    if column is None:
        return
    for at, count in enumerate(np.bincount(column, minlength=len(names)).tolist()):
        known[names[at]] = known.get(names[at], 0) + count
