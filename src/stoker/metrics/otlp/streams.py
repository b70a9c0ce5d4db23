"""What must be remembered of a pushed stream: deltas add up, and a restart is seen.

A stream is what has one name, one kind and one set of labels. PromQL reads cumulative values and
finds a restart where they fall. Where a restart does not show, because the new value is already
above the old one, or because the first value is there before anybody looks, a zero at the stream's
start says it: the increase since then counts.

*Source*: ``exporter/prometheusexporter/accumulator.go`` of the collector; the zeros are what
Prometheus calls created-timestamp-zero-ingestion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from stoker.errors import InputError
from stoker.metrics.otlp.histograms import Explicit, Exponential, Histogram
from stoker.metrics.sample import Labels

EXPIRATION: Final = 300.0  # seconds without a point; ``metric_expiration`` of the exporter
Value = float | Histogram


@dataclass(frozen=True, slots=True)
class Point:
    """One data point. Times are nanoseconds since the epoch; a start of 0 is not known."""

    start: int
    time: int
    value: Value


@dataclass(frozen=True, slots=True)
class Total:
    """A point made cumulative.

    *zero* is when the stream was at zero, where that has to be written; *before* is the point that
    this one goes on from.
    """

    point: Point
    zero: int | None = None
    before: Point | None = None


@dataclass(slots=True)
class _Stream:
    point: Point
    series: frozenset[Labels]
    seen: float  # when it was last pushed
    written: float  # time of its newest sample


class Streams:
    """The newest point of each stream."""

    def __init__(self) -> None:
        self._streams: dict[Labels, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, labels: Labels, point: Point, *, delta: bool) -> Total | None:
        """*point* as a total; None: it is older than what is there, or overlaps it.

        Nothing is remembered before :meth:`keep`. Raises InputError for histograms that cannot be
        added.
        """
        known = self._streams.get(labels)
        last = None if known is None else known.point
        if last is None or point.start > last.time:
            return Total(point, point.start if 0 < point.start < point.time else None)
        if point.time < last.time:
            return None
        if not delta:
            return Total(point, before=last)
        if point.start == last.time:
            total = replace(point, start=last.start, value=_sum(last.value, point.value))
            return Total(total, before=last)
        # an overlap: the exporter takes a sum for restarted and leaves a histogram out
        return Total(point) if isinstance(point.value, float) else None

    def time(self, labels: Labels, point: Point, now: float) -> float:
        """When the sample of *point* is: not after *now*, when it arrived.

        Samples are apart by a millisecond at least, points need not be.
        """
        known = self._streams.get(labels)
        at = min(point.time / 1e9, now)
        if known is None or point.time <= known.point.time:
            return at if known is None else known.written
        return max(at, known.written + 0.001)

    def keep(
        self, labels: Labels, point: Point, series: frozenset[Labels], *, now: float, written: float
    ) -> None:
        """*point* is the newest of its stream, which has these *series*."""
        self._streams[labels] = _Stream(point, series, now, written)

    def forget(self, labels: Labels) -> frozenset[Labels]:
        """End a stream. Returns the series that it had."""
        ended = self._streams.pop(labels, None)
        return frozenset() if ended is None else ended.series

    def series(self, labels: Labels) -> frozenset[Labels]:
        """The series of a stream, none if it is not known."""
        known = self._streams.get(labels)
        return frozenset() if known is None else known.series

    def expired(self, now: float) -> Iterator[Labels]:
        """Streams that have not been pushed for :data:`EXPIRATION`."""
        found = [one for one, it in self._streams.items() if now - it.seen > EXPIRATION]
        yield from found


def _sum(one: Value, two: Value) -> Value:
    match one, two:
        case (float(), float()):
            return one + two
        case (Explicit(), Explicit()):
            return one + two
        case (Exponential(), Exponential()):
            return one + two
    raise InputError("a stream changed its kind between two deltas")
