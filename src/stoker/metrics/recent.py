"""The newest samples of all series side by side, so that one NumPy pass looks at thousands.

Every series has a row of two columns with its last samples, 64 at least (five minutes at a scrape
every 5 s). A full row moves its newer half to the front, so that a window is always one slice.
Staleness markers are left out: no function of a window looks at them. Autoscaling asks for short
windows that end now; whatever the rows cannot answer for sure is left to the series' own columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker.metrics.sample import STALE_BITS
from stoker.metrics.series import Times, Values

KEPT: Final = 64
ROW: Final = 2 * KEPT
ROW_BYTES: Final = 16 * ROW + 25
MAX_ROWS: Final = 65_536  # 130 MiB when all are taken; series beyond are read one by one
_FIRST_ROWS: Final = 16
NEVER: Final = np.iinfo(np.int64).min
_GUESSES: Final = 6  # targets are scraped at different moments: few window lengths, not many

Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RecentWindows:
    """Sample *i* of row *r* is at ``lows[r] <= i < highs[r]``. Rows outside *sure* are not known.

    *steady* rows have no counter reset in their window. The columns are those of the storage, not
    a copy: they hold until the next append.
    """

    times_ms: Times
    values: Values
    lows: Indices
    highs: Indices
    sure: Mask
    steady: Mask


class Recent:
    """Rows by slot, *max_rows* at most."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = min(max_rows, MAX_ROWS)
        rows = max(min(_FIRST_ROWS, max_rows), 1)
        self._times: Times = np.empty((rows, ROW), np.int64)
        self._values: Values = np.empty((rows, ROW))
        self._ends: Indices = np.zeros(rows, np.intp)
        self._whole: Mask = np.ones(rows, np.bool_)  # the row has all samples the series ever had
        self._reset_ms: Times = np.full(rows, NEVER, np.int64)
        self._flat_times, self._flat_values = self._times.reshape(-1), self._values.reshape(-1)

    def begin(self, slot: int) -> None:
        """An empty row for a new series."""
        if slot >= self._max_rows:
            return
        while slot >= len(self._ends):
            self._grow()
        self._ends[slot] = 0
        self._whole[slot] = True
        self._reset_ms[slot] = NEVER

    def append(self, slot: int, t_ms: int, value: float) -> None:
        """The next sample of a series, no staleness marker."""
        if slot >= self._max_rows:
            return
        end = self._ends[slot]
        if end and value < self._values[slot, end - 1]:
            self._reset_ms[slot] = t_ms
        if end == ROW:
            self._times[slot, :KEPT] = self._times[slot, KEPT:]
            self._values[slot, :KEPT] = self._values[slot, KEPT:]
            self._whole[slot] = False
            end = KEPT
        self._times[slot, end] = t_ms
        self._values[slot, end] = value
        self._ends[slot] = end + 1

    def fill(self, slot: int, times_ms: Times, values: Values) -> None:
        """Take over a whole series."""
        fresh = values.view(np.int64) != STALE_BITS
        times_ms, values = times_ms[fresh], values[fresh]
        if slot >= self._max_rows or not len(times_ms):
            return
        kept = min(len(times_ms), ROW)
        self._times[slot, :kept], self._values[slot, :kept] = times_ms[-kept:], values[-kept:]
        self._ends[slot] = kept
        self._whole[slot] = kept == len(times_ms)
        resets = np.flatnonzero(values[1:] < values[:-1])
        self._reset_ms[slot] = times_ms[resets[-1] + 1] if len(resets) else NEVER

    def bytes(self) -> int:
        """Memory of all rows, taken or not."""
        return len(self._ends) * ROW_BYTES

    def windows(self, slots: Indices, low_ms: int, end_ms: int) -> RecentWindows:
        """The samples in ``(low_ms, end_ms]`` of the series in *slots*."""
        inside = slots < len(self._ends)
        if not inside.all():
            slots = np.where(inside, slots, 0)
        times = self._flat_times
        bases = slots * ROW
        highs = bases + self._ends[slots]
        last = times[highs - 1]
        sure = inside & (last <= end_ms) & (highs > bases)
        lows = highs.copy()
        self._find_lows(slots, lows, bases, sure, sure & (last > low_ms), low_ms)
        steady = self._reset_ms[slots] <= times[np.minimum(lows, len(times) - 1)]
        return RecentWindows(times, self._flat_values, lows, highs, sure, steady)

    def _find_lows(
        self, slots: Indices, lows: Indices, bases: Indices, sure: Mask, open_: Mask, low_ms: int
    ) -> None:
        """Where each window begins. Series of one target have the same times: guess and verify."""
        times = self._flat_times
        for _ in range(_GUESSES):
            if not open_.any():
                return
            one = int(open_.argmax())
            row = times[bases[one] : lows[one]]
            starts = lows - (len(row) - int(row.searchsorted(low_ms, "right")))
            first = starts == bases
            before = times[starts - 1] <= low_ms
            begins = np.where(first, self._whole[slots], before) if first.any() else before
            fits = open_ & (starts >= bases) & (times[starts] > low_ms) & begins
            np.copyto(lows, starts, where=fits)
            open_ &= ~fits
            if not fits[one]:  # its row does not reach back to the beginning
                open_[one] = sure[one] = False
        sure &= ~open_

    def _grow(self) -> None:
        rows = len(self._ends)
        more = min(rows, self._max_rows - rows)
        self._times = np.concatenate([self._times, np.empty((more, ROW), np.int64)])
        self._values = np.concatenate([self._values, np.empty((more, ROW))])
        self._ends = np.concatenate([self._ends, np.zeros(more, np.intp)])
        self._whole = np.concatenate([self._whole, np.ones(more, np.bool_)])
        self._reset_ms = np.concatenate([self._reset_ms, np.full(more, NEVER, np.int64)])
        self._flat_times, self._flat_values = self._times.reshape(-1), self._values.reshape(-1)
