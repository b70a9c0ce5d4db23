"""An instant vector at many moments at once: a row a series, a column a step.

An instant query has one column. A cell that has no value is told by the mask ``present``, since
NaN is a value like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.errors import QueryError
from stoker.metrics.sample import Labels
from stoker.metrics.series import SeriesSet, Times, Values
from stoker.promql.ast import Node, Selector

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of values with their labels. All three have the same number of rows."""

    labels: SeriesSet
    values: Values  # (series, steps)
    present: Mask  # (series, steps)

    def with_values(self, values: Values) -> Columns:
        """Other values for the same cells."""
        return Columns(self.labels, values, self.present)

    def without_name(self) -> Columns:
        """The same without metric names. Raises QueryError if two series become one."""
        return merged(Columns(self.labels.without_name(), self.values, self.present))

    def rows(self, indices: NDArray[np.intp] | list[int]) -> Columns:
        """Some of the rows, in this order."""
        return Columns(self.labels.pick(indices), self.values[indices], self.present[indices])


def anywhere(present: Mask) -> Mask:
    """At which steps any of the rows has a value."""
    there: Mask = np.any(present, axis=0)
    return there


def empty(steps: int) -> Columns:
    """No series at all."""
    return Columns(SeriesSet(()), np.empty((0, steps)), np.empty((0, steps), np.bool_))


def single(labels: Labels, values: Values, present: Mask) -> Columns:
    """One series."""
    return Columns(SeriesSet((labels,)), values[None, :], present[None, :])


def merged(columns: Columns, message: str = SAME_LABELSET) -> Columns:
    """Rows with the same labels made one. Raises QueryError if both have a value at one step."""
    if not columns.labels.has_duplicates():
        return columns
    rows: dict[Labels, int] = {}
    first: list[int] = []
    values: list[Values] = []
    present: list[Mask] = []
    for i, labels in enumerate(columns.labels.labels):
        at = rows.get(labels)
        if at is None:
            rows[labels] = len(values)
            first.append(i)
            values.append(columns.values[i])
            present.append(columns.present[i])
            continue
        if np.any(present[at] & columns.present[i]):
            raise QueryError(message)
        values[at] = np.where(present[at], values[at], columns.values[i])
        present[at] = present[at] | columns.present[i]
    return Columns(columns.labels.pick(first), np.array(values), np.array(present))


@dataclass(frozen=True, slots=True)
class Windows:
    """A range vector at many moments: a row a series, a column a step.

    The samples of a cell, those in ``(end - range, end]``, stand side by side in the flat columns
    at ``lows[row, step] <= i < highs[row, step]``. There are no staleness markers among them.
    """

    labels: SeriesSet
    times_ms: Times
    values: Values
    lows: Indices  # (series, steps)
    highs: Indices  # (series, steps)
    ends_ms: Times
    range_ms: int
    steady: Mask | None = None  # rows without a counter reset; None: not known

    def rows(self, begin: int, end: int) -> Windows:
        """Some of the rows, without their labels."""
        steady = None if self.steady is None else self.steady[begin:end]
        return replace(self, lows=self.lows[begin:end], highs=self.highs[begin:end], steady=steady)


@dataclass(frozen=True, slots=True)
class Track:
    """The samples of one series that a range function may look at; no staleness markers."""

    times_ms: Times
    values: Values


def windows_of(
    labels: SeriesSet, tracks: Sequence[Track], ends_ms: Times, range_ms: int
) -> Windows:
    """A range vector from the samples of each series."""
    shape = (len(tracks), len(ends_ms))
    lows, highs = np.empty(shape, np.intp), np.empty(shape, np.intp)
    begins, at = ends_ms - range_ms, 0
    for row, track in enumerate(tracks):
        lows[row] = track.times_ms.searchsorted(begins, "right") + at
        highs[row] = track.times_ms.searchsorted(ends_ms, "right") + at
        at += len(track.times_ms)
    times = np.concatenate([track.times_ms for track in tracks] or [np.empty(0, np.int64)])
    values = np.concatenate([track.values for track in tracks] or [np.empty(0)])
    steady = _steady(values, np.array([len(track.values) for track in tracks], np.intp))
    return Windows(labels, times, values, lows, highs, ends_ms, range_ms, steady)


def _steady(values: Values, lengths: Indices) -> Mask:
    """Which of the tracks that stand one after the other in *values* never fall."""
    falls = np.zeros(len(values) + 1, np.intp)
    np.cumsum(values[1:] < values[:-1], out=falls[1:-1] if len(values) else falls[:0])
    ends = np.cumsum(lengths)
    starts = ends - lengths
    steady: Mask = falls[np.maximum(ends - 1, starts)] == falls[starts]
    return steady


class Context(Protocol):
    """What functions and operators may ask of the evaluation they are part of."""

    @property
    def steps_ms(self) -> Times:
        """The moments of evaluation."""
        ...

    @property
    def bounds_ms(self) -> tuple[int, int, int]:
        """First moment, last moment and step of the whole query."""
        ...

    def vector(self, node: Node) -> Columns:
        """Evaluate to an instant vector."""
        ...

    def scalar(self, node: Node) -> Values:
        """Evaluate to a number a step."""
        ...

    def text(self, node: Node) -> str:
        """A string literal."""
        ...

    def windows(self, node: Node) -> Windows:
        """Evaluate to a range vector."""
        ...

    def sample_times(self, node: Selector) -> Columns:
        """The times, in seconds, of the samples that a selector finds."""
        ...

    def spend(self, samples: int) -> None:
        """Count samples that are looked at. Raises QueryError over the limits of a query."""
        ...

    def info(self, message: str) -> None:
        """Tell the user something that may be a mistake."""
        ...

    def warn(self, message: str) -> None:
        """Tell the user that the answer is not to be trusted."""
        ...
