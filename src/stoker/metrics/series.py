"""One series: two growable columns, times in milliseconds (as in Prometheus) and values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker.metrics.sample import METADATA_LABELS, Labels

Times = NDArray[np.int64]
Values = NDArray[np.float64]

_FIRST_CAPACITY: Final = 16
SERIES_BYTES: Final = 1200  # what a series costs besides its columns: labels, postings, objects


def to_ms(seconds: float) -> int:
    """Seconds as whole milliseconds, rounded to the nearest."""
    return round(seconds * 1000)


class Series:
    """The samples of one label set in the order of time.

    Appending never moves what a reader holds: columns are replaced when they grow or shrink, and
    a view that was handed out keeps the old ones.
    """

    __slots__ = ("_begin", "_end", "_times", "_values", "has_stale", "labels", "slot")

    def __init__(self, labels: Labels, slot: int) -> None:
        self.labels = labels
        self.slot = slot
        self.has_stale = False
        self._times: Times = np.empty(_FIRST_CAPACITY, np.int64)
        self._values: Values = np.empty(_FIRST_CAPACITY, np.float64)
        self._begin = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def times_ms(self) -> Times:
        """Milliseconds since the epoch, strictly rising."""
        return self._times[self._begin : self._end]

    @property
    def values(self) -> Values:
        """Values in the same order; staleness markers included."""
        return self._values[self._begin : self._end]

    @property
    def capacity(self) -> int:
        """How many samples the columns have room for."""
        return len(self._times)

    def append(self, t_ms: int, value: float) -> int:
        """Add a sample that is newer than all others. Returns by how many slots it grew."""
        grown = 0
        if self._end == len(self._times):
            grown = self._resize(max(2 * len(self), _FIRST_CAPACITY))
        self._times[self._end] = t_ms
        self._values[self._end] = value
        self._end += 1
        return grown

    def drop_before(self, t_ms: int) -> int:
        """Forget samples older than *t_ms*. Returns by how many slots the columns changed."""
        self._begin += int(np.searchsorted(self.times_ms, t_ms))
        if 4 * len(self) < self.capacity > _FIRST_CAPACITY:
            return self._resize(max(2 * len(self), _FIRST_CAPACITY))
        return 0

    def replace(self, times_ms: Times, values: Values, *, has_stale: bool) -> int:
        """Take these columns instead, as when a snapshot is loaded."""
        grown = len(times_ms) - self.capacity
        self._times, self._values = times_ms, values
        self._begin, self._end, self.has_stale = 0, len(times_ms), has_stale
        return grown

    def frozen(self) -> Series:
        """The series as it is now. Shares the columns: what is there never changes."""
        copy = object.__new__(Series)
        copy.labels, copy.slot, copy.has_stale = self.labels, self.slot, self.has_stale
        copy._times, copy._values = self._times, self._values
        copy._begin, copy._end = self._begin, self._end
        return copy

    def _resize(self, capacity: int) -> int:
        count, before = len(self), self.capacity
        times, values = np.empty(capacity, np.int64), np.empty(capacity, np.float64)
        times[:count], values[:count] = self.times_ms, self.values
        self._times, self._values, self._begin, self._end = times, values, 0, count
        return capacity - before


class SeriesSet:
    """The label sets of a selection, in order, with what has been derived from them.

    A query that is asked every few seconds selects the same series; grouping and renaming them is
    remembered here and goes when the selection goes.

    Names that an operation takes away go at once, or, where *unnamed* is given, at the end: it
    tells of each series whether its name will go (Prometheus' delayed name removal).
    """

    __slots__ = ("derived", "labels", "unnamed")

    def __init__(self, labels: tuple[Labels, ...], unnamed: tuple[bool, ...] | None = None) -> None:
        self.labels = labels
        self.unnamed = unnamed
        self.derived: dict[object, object] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def without_name(self) -> SeriesSet:
        """The same series without metric names, now or at the end."""
        known = self.derived.get("without_name")
        if isinstance(known, SeriesSet):
            return known
        if self.unnamed is None:
            made = SeriesSet(tuple(labels.drop(METADATA_LABELS) for labels in self.labels))
        else:
            made = SeriesSet(self.labels, (True,) * len(self.labels))
        self.derived["without_name"] = made
        return made

    def delayed(self) -> SeriesSet:
        """The same series, whose names will go at the end of the query if at all."""
        known = self.derived.get("delayed")
        if not isinstance(known, SeriesSet):
            known = self.derived["delayed"] = SeriesSet(self.labels, (False,) * len(self.labels))
        return known

    def settled(self) -> SeriesSet:
        """The series as they are at the end of a query."""
        if self.unnamed is None:
            return self
        pairs = zip(self.labels, self.unnamed, strict=True)
        return SeriesSet(tuple(one.drop(METADATA_LABELS) if gone else one for one, gone in pairs))

    def pick(self, rows: Iterable[int]) -> SeriesSet:
        """Some of the series, in this order."""
        rows = list(rows)
        unnamed = None if self.unnamed is None else tuple(self.unnamed[row] for row in rows)
        return SeriesSet(tuple(self.labels[row] for row in rows), unnamed)

    def flags(self) -> tuple[bool, ...]:
        """Of each series, whether its name will go at the end."""
        return (False,) * len(self.labels) if self.unnamed is None else self.unnamed

    def has_duplicates(self) -> bool:
        """Whether a label set occurs twice."""
        known = self.derived.get("has_duplicates")
        if known is None:
            known = len(set(self.labels)) != len(self.labels)
            self.derived["has_duplicates"] = known
        return bool(known)
