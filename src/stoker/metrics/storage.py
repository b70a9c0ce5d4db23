"""Series in memory: append, select, staleness, retention.

The rules are those of Prometheus' head block: samples of a series come in the order of time, an
older one is refused, the same one twice is harmless, a second value for the same time is refused.
A series ends with a staleness marker. Times are seconds since the epoch for callers, and whole
milliseconds inside. Nothing here reads a clock: the newest appended sample is what "now" means for
retention.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from stoker.metrics.exposition import Metadata
from stoker.metrics.index import LabelIndex
from stoker.metrics.recent import ROW_BYTES, Recent, RecentWindows
from stoker.metrics.sample import METRIC_NAME, STALE, STALE_BITS, Labels, Matcher, is_stale
from stoker.metrics.series import SERIES_BYTES, Series, SeriesSet, Times, Values, to_ms

LOOKBACK: Final = 300.0
_SAMPLE_BYTES: Final = 16
_MAX_SELECTIONS: Final = 512
_NO_SAMPLE: Final = np.iinfo(np.int64).min

Refusal = Literal["out_of_order", "duplicate", "too_many_series"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The series that a selector finds, sorted by labels. Valid until series come or go."""

    series: tuple[Series, ...]
    slots: NDArray[np.intp]
    labels: SeriesSet


@dataclass(frozen=True, slots=True)
class SeriesData:
    """The samples of one series in a window, staleness markers included."""

    labels: Labels
    times: Values  # seconds since the epoch
    values: Values


class Storage:
    """All series of a run.

    Args:
        retention: seconds that samples are kept, counted back from the newest one.
        max_bytes: estimate of the memory that samples may take; the oldest go first.
        max_series: more series than this are refused, so that a label bomb stays outside.
    """

    def __init__(
        self,
        *,
        retention: float = 2 * 3600.0,
        max_bytes: int = 96 * 2**20,
        max_series: int = 200_000,
    ) -> None:
        self.retention = retention
        self.max_bytes = max_bytes
        self.max_series = max_series
        self.refused: Counter[Refusal] = Counter()
        self.metadata: dict[str, Metadata] = {}
        self.version = 0  # counts changes of what is stored
        self._series: dict[Labels, Series] = {}
        self._by_slot: dict[int, Series] = {}
        self._free: list[int] = []
        self._index = LabelIndex()
        self._selections: dict[tuple[Matcher, ...], Selection] = {}
        self._last_ms: Times = np.full(64, _NO_SAMPLE, np.int64)
        self._last_values: Values = np.zeros(64, np.float64)
        self._recent = Recent(max_bytes // 2 // ROW_BYTES)
        self._cut_ms = _NO_SAMPLE  # samples before are forgotten
        self._slots = 0  # slots room was asked for: samples, not bytes
        self._shrink_above = max_bytes
        self._newest_ms: int | None = None
        self._next_cut_ms: int | None = None

    # -- writing ---------------------------------------------------------------------------------

    def append(self, labels: Labels, t: float, value: float) -> bool:
        """Add one sample. False if it was refused; ``refused`` counts why."""
        return self._append(labels, to_ms(t), value)

    def append_batch(self, samples: Iterable[tuple[Labels, float]], t: float) -> int:
        """Add samples of one moment. Returns how many were taken."""
        t_ms = to_ms(t)
        return sum(self._append(labels, t_ms, value) for labels, value in samples)

    def mark_stale(self, labels: Labels, t: float) -> None:
        """End a series: it has no value from *t* on, until a new sample comes."""
        series = self._series.get(labels)
        if series is not None and not is_stale(float(self._last_values[series.slot])):
            self._append(labels, to_ms(t), STALE)

    def _append(self, labels: Labels, t_ms: int, value: float) -> bool:
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= self.max_series:
                self.refused["too_many_series"] += 1
                return False
            series = self._create(labels)
        slot = series.slot
        last = self._last_ms[slot]
        if t_ms <= last:
            return self._same_or_refused(series, t_ms, value)
        self.version += 1
        self._slots += series.append(t_ms, value)
        self._last_ms[slot] = t_ms
        self._last_values[slot] = value
        if value != value and is_stale(value):  # noqa: PLR0124 - NaN, the rare case first
            series.has_stale = True
        else:
            self._recent.append(slot, t_ms, value)
        if self._newest_ms is None or t_ms > self._newest_ms:
            self._advance(t_ms)
        elif self._bytes() > self._shrink_above:
            self._shrink()
        return True

    def _same_or_refused(self, series: Series, t_ms: int, value: float) -> bool:
        if t_ms < self._last_ms[series.slot]:
            self.refused["out_of_order"] += 1
            return False
        known = float(self._last_values[series.slot])
        both_nan = math.isnan(known) and math.isnan(value) and is_stale(known) == is_stale(value)
        if known == value or both_nan:
            return True
        self.refused["duplicate"] += 1
        return False

    def _create(self, labels: Labels) -> Series:
        slot = self._free.pop() if self._free else len(self._by_slot)
        if slot >= len(self._last_ms):
            more = len(self._last_ms)
            self._last_ms = np.concatenate([self._last_ms, np.full(more, _NO_SAMPLE, np.int64)])
            self._last_values = np.concatenate([self._last_values, np.zeros(more)])
        series = Series(labels, slot)
        self._series[labels] = self._by_slot[slot] = series
        self._index.add(slot, labels)
        self._recent.begin(slot)
        self._last_values[slot] = math.nan
        self._slots += series.capacity
        self._selections.clear()
        return series

    def _remove(self, series: Series) -> None:
        self.version += 1
        del self._series[series.labels], self._by_slot[series.slot]
        self._index.remove(series.slot, series.labels)
        self._last_ms[series.slot] = _NO_SAMPLE
        self._free.append(series.slot)
        self._slots -= series.capacity
        self._selections.clear()

    # -- retention -------------------------------------------------------------------------------

    def _advance(self, t_ms: int) -> None:
        self._newest_ms = t_ms
        if self._next_cut_ms is None or t_ms >= self._next_cut_ms:
            self.drop_before((t_ms / 1000) - self.retention)
            # A cut looks at every series; 32 a retention keep at most 3 % too much.
            self._next_cut_ms = t_ms + to_ms(self.retention / 32)
        if self._bytes() > self._shrink_above:
            self._shrink()

    def drop_before(self, t: float) -> None:
        """Forget samples older than *t*, and series that have none left."""
        t_ms = to_ms(t)
        self._cut_ms = max(self._cut_ms, t_ms)
        for series in list(self._series.values()):
            self._slots += series.drop_before(t_ms)
            if not len(series):
                self._remove(series)

    def _shrink(self) -> None:
        """Forget the oldest eighth of the time span until a tenth of the memory is free.

        The look-back window stays whatever it takes: max_series bounds how much that can be.
        """
        last_cut = (self._newest_ms or 0) - to_ms(LOOKBACK)
        while self._bytes() > 0.9 * self.max_bytes:
            oldest = min((int(one.times_ms[0]) for one in self._filled()), default=last_cut)
            if oldest >= last_cut:
                break
            self.drop_before(min(oldest + (last_cut - oldest) // 8 + 1, last_cut) / 1000)
        # Not at every append when nothing can be gained.
        self._shrink_above = max(self.max_bytes, self._bytes() * 11 // 10)

    def _filled(self) -> Iterable[Series]:
        return (series for series in self._series.values() if len(series))

    def _bytes(self) -> int:
        columns, series = self._slots * _SAMPLE_BYTES, len(self._series) * SERIES_BYTES
        return columns + series + self._recent.bytes()

    # -- reading ---------------------------------------------------------------------------------

    def find(self, matchers: tuple[Matcher, ...]) -> Selection:
        """The series that meet all *matchers*. The answer is remembered until series come or go."""
        known = self._selections.get(matchers)
        if known is not None:
            return known
        found = sorted(
            (self._by_slot[slot] for slot in self._index.find(matchers)),
            key=lambda series: series.labels.pairs,
        )
        selection = Selection(
            tuple(found),
            np.array([series.slot for series in found], np.intp),
            SeriesSet(tuple(series.labels for series in found)),
        )
        if len(self._selections) >= _MAX_SELECTIONS:
            self._selections.clear()
        self._selections[matchers] = selection
        return selection

    def latest(self, selection: Selection) -> tuple[Times, Values]:
        """Time in ms and value of the newest sample of each series of a selection."""
        return self._last_ms[selection.slots], self._last_values[selection.slots]

    def recent(self, selection: Selection, low_ms: int, end_ms: int) -> RecentWindows | None:
        """Windows ``(low_ms, end_ms]`` of a selection in one pass; None where samples were cut."""
        if low_ms + 1 < self._cut_ms or not len(selection.slots):
            return None
        return self._recent.windows(selection.slots, low_ms, end_ms)

    def select(self, matchers: Iterable[Matcher], start: float, end: float) -> list[SeriesData]:
        """Samples with ``start <= t <= end``, series sorted by labels, empty ones left out."""
        result = []
        for series in self.find(tuple(matchers)).series:
            times, values = series.times_ms, series.values
            low = int(np.searchsorted(times, to_ms(start), "left"))
            high = int(np.searchsorted(times, to_ms(end), "right"))
            if low < high:
                result.append(SeriesData(series.labels, times[low:high] / 1000.0, values[low:high]))
        return result

    def series(
        self, matchers: Iterable[Matcher] = (), start: float | None = None, end: float | None = None
    ) -> list[Labels]:
        """Label sets that meet *matchers* and have a sample between *start* and *end*, sorted."""
        found = self.find(tuple(matchers)).series
        if start is None and end is None:
            return [series.labels for series in found]
        low = _NO_SAMPLE if start is None else to_ms(start)
        high = np.iinfo(np.int64).max if end is None else to_ms(end)
        return [series.labels for series in found if _has_sample(series, low, high)]

    def label_names(self, matchers: Iterable[Matcher] = ()) -> list[str]:
        """Sorted names of the labels of series that meet *matchers*."""
        wanted = tuple(matchers)
        if not wanted:
            return self._index.names()
        return sorted({name for labels in self.series(wanted) for name, _ in labels})

    def label_values(self, name: str, matchers: Iterable[Matcher] = ()) -> list[str]:
        """Sorted values of one label of series that meet *matchers*."""
        wanted = tuple(matchers)
        if not wanted:
            return self._index.values(name)
        return sorted({labels.get(name) for labels in self.series(wanted)} - {""})

    def series_count(self, matchers: Iterable[Matcher] = ()) -> int:
        """How many series meet *matchers* and have not ended."""
        selection = self.find(tuple(matchers))
        return int(np.count_nonzero(self._alive(selection)))

    def newest(self, matchers: Iterable[Matcher] = ()) -> float | None:
        """Time of the newest sample of the series that have not ended; None if there is none."""
        selection = self.find(tuple(matchers))
        alive = self._last_ms[selection.slots][self._alive(selection)]
        return float(alive.max()) / 1000.0 if len(alive) else None

    def metric_names(self) -> list[str]:
        """Sorted names of all metrics."""
        return self._index.values(METRIC_NAME)

    def memory_bytes(self) -> int:
        """Estimate of the memory that samples and series take."""
        return self._bytes()

    def sample_count(self) -> int:
        """How many samples are kept."""
        return sum(len(series) for series in self._series.values())

    def _alive(self, selection: Selection) -> NDArray[np.bool_]:
        alive: NDArray[np.bool_] = self._last_values[selection.slots].view(np.int64) != STALE_BITS
        return alive

    # -- whole series, for snapshots -------------------------------------------------------------

    def restore(self, labels: Labels, times_ms: Times, values: Values) -> None:
        """Put a whole series in, as it was taken out of another storage."""
        if not len(times_ms) or labels in self._series:
            return
        series = self._create(labels)
        stale = bool(np.any(values.view(np.int64) == STALE_BITS))
        self._slots += series.replace(times_ms, values, has_stale=stale)
        self._last_ms[series.slot] = times_ms[-1]
        self._last_values[series.slot] = values[-1]
        self._recent.fill(series.slot, times_ms, values)
        if self._newest_ms is None or times_ms[-1] > self._newest_ms:
            self._newest_ms = int(times_ms[-1])


def _has_sample(series: Series, low: int, high: int) -> bool:
    at = int(np.searchsorted(series.times_ms, low, "left"))
    return at < len(series) and int(series.times_ms[at]) <= high
