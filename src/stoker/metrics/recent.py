"""The newest samples of all series side by side, so that one NumPy pass looks at thousands.

Every series has a row of two columns with its last samples, 64 at least (five minutes at a scrape
every 5 s). A full row moves its newer half to the front, so that a window is always one slice.
Autoscaling asks for short windows that end now; whatever the rows cannot answer for sure is left to
the series' own columns.
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
MAX_ROWS: Final = 65_536  # 128 MiB when all are taken; series beyond are read one by one
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
    """Rows by slot."""

    def __init__(self) -> None:
        self._times: Times = np.empty((64, ROW), np.int64)
        self._values: Values = np.empty((64, ROW))
        self._ends: Indices = np.zeros(64, np.intp)
        self._whole: Mask = np.ones(64, np.bool_)  # the row has all samples the series ever had
        self._reset_ms: Times = np.full(64, NEVER, np.int64)
        self._stale_ms: Times = np.full(64, NEVER, np.int64)
        self._flat_times, self._flat_values = self._times.reshape(-1), self._values.reshape(-1)

    def begin(self, slot: int) -> None:
        """An empty row for a new series."""
        if slot >= MAX_ROWS:
            return
        if slot >= len(self._ends):
            self._grow()
        self._ends[slot] = 0
        self._whole[slot] = True
        self._reset_ms[slot] = self._stale_ms[slot] = NEVER

    def append(self, slot: int, t_ms: int, value: float) -> None:
        """The next sample of a series."""
        if slot >= MAX_ROWS:
            return
        end = self._ends[slot]
        if end == ROW:
            self._times[slot, :KEPT] = self._times[slot, KEPT:]
            self._values[slot, :KEPT] = self._values[slot, KEPT:]
            self._whole[slot] = False
            end = KEPT
        self._times[slot, end] = t_ms
        self._values[slot, end] = value
        self._ends[slot] = end + 1

    def note_reset(self, slot: int, t_ms: int) -> None:
        """The value at *t_ms* is below the one before."""
        if slot < MAX_ROWS:
            self._reset_ms[slot] = t_ms

    def note_stale(self, slot: int, t_ms: int) -> None:
        """The series ended at *t_ms*."""
        if slot < MAX_ROWS:
            self._stale_ms[slot] = t_ms

    def fill(self, slot: int, times_ms: Times, values: Values) -> None:
        """Take over a whole series."""
        if slot >= MAX_ROWS or not len(times_ms):
            return
        kept = min(len(times_ms), ROW)
        self._times[slot, :kept], self._values[slot, :kept] = times_ms[-kept:], values[-kept:]
        self._ends[slot] = kept
        self._whole[slot] = kept == len(times_ms)
        resets = np.flatnonzero(values[1:] < values[:-1])
        stale = np.flatnonzero(values.view(np.int64) == STALE_BITS)
        self._reset_ms[slot] = times_ms[resets[-1] + 1] if len(resets) else NEVER
        self._stale_ms[slot] = times_ms[stale[-1]] if len(stale) else NEVER

    def windows(self, slots: Indices, low_ms: int, end_ms: int) -> RecentWindows:
        """The samples in ``(low_ms, end_ms]`` of the series in *slots*."""
        inside = slots < len(self._ends)
        if not inside.all():
            slots = np.where(inside, slots, 0)
        times = self._flat_times
        bases = slots * ROW
        highs = bases + self._ends[slots]
        last = times[highs - 1]
        sure = inside & (last <= end_ms) & (self._stale_ms[slots] <= low_ms) & (highs > bases)
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
        more = min(rows, MAX_ROWS - rows)
        self._times = np.concatenate([self._times, np.empty((more, ROW), np.int64)])
        self._values = np.concatenate([self._values, np.empty((more, ROW))])
        self._ends = np.concatenate([self._ends, np.zeros(more, np.intp)])
        self._whole = np.concatenate([self._whole, np.ones(more, np.bool_)])
        self._reset_ms = np.concatenate([self._reset_ms, np.full(more, NEVER, np.int64)])
        self._stale_ms = np.concatenate([self._stale_ms, np.full(more, NEVER, np.int64)])
        self._flat_times, self._flat_values = self._times.reshape(-1), self._values.reshape(-1)
