"""Buckets: explicit ones made cumulative, exponential ones made explicit.

An exponential histogram has bounds ``2 ** (index / 2 ** scale)``. Its scale follows the data, but
series need bounds that stay. So buckets are merged to :data:`SCALE`, eight to a doubling, and to a
coarser grid, whose bounds are among the finer one's, where there would be too many of them.

*Source*: the OpenTelemetry data model, "ExponentialHistogram".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Final

from stoker.errors import InputError

SCALE: Final = 3  # bounds 9 % apart
MAX_BUCKETS: Final = 160  # what an SDK keeps at most by default


@dataclass(frozen=True, slots=True)
class Explicit:
    """Counts between bounds: ``counts`` has one more item than ``bounds``, for what is above."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    count: int

    def __add__(self, other: Explicit) -> Explicit:
        if other.bounds != self.bounds:
            raise InputError("a histogram changed its bounds between two deltas")
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Explicit(self.bounds, counts, self.sum + other.sum, self.count + other.count)

    def cumulative(self) -> list[tuple[float, int]]:
        """``le`` and how many observations are not above, ``+Inf`` last."""
        totals = list(accumulate(self.counts))[: len(self.bounds)]
        return [*zip(self.bounds, totals, strict=True), (math.inf, self.count)]


@dataclass(frozen=True, slots=True)
class Exponential:
    """Counts by index. *negative* are the absolute values of what is below zero."""

    scale: int
    positive: Mapping[int, int]
    sum: float
    count: int
    zeros: int = 0
    negative: Mapping[int, int] = field(default_factory=dict)

    def at_scale(self, scale: int) -> Exponential:
        """The same in the wider buckets of a lower *scale*."""
        down = self.scale - scale
        if down <= 0:
            return self
        return Exponential(
            scale,
            _merged(self.positive, down),
            self.sum,
            self.count,
            self.zeros,
            _merged(self.negative, down),
        )

    def __add__(self, other: Exponential) -> Exponential:
        scale = min(self.scale, other.scale)
        one, two = self.at_scale(scale), other.at_scale(scale)
        return Exponential(
            scale,
            _sum(one.positive, two.positive),
            self.sum + other.sum,
            self.count + other.count,
            self.zeros + other.zeros,
            _sum(one.negative, two.negative),
        )

    def cumulative(self) -> list[tuple[float, int]]:
        """As :meth:`Explicit.cumulative`."""
        small = self.at_scale(SCALE)
        while max(_span(small.positive), _span(small.negative)) > MAX_BUCKETS:
            small = small.at_scale(small.scale - 1)
        found: dict[float, int] = {}  # bounds beyond what a float holds become one
        total = 0
        for index in _from_below(small.negative)[::-1]:
            total += small.negative.get(index, 0)
            found[0.0 - _lower(small.scale, index)] = total
        total += small.zeros
        if small.zeros or small.negative:
            found[0.0] = total
        for index in _from_below(small.positive):
            total += small.positive.get(index, 0)
            found[_lower(small.scale, index + 1)] = total
        found[math.inf] = self.count
        return [(le, count) for le, count in found.items() if le > -math.inf]


Histogram = Explicit | Exponential


def explicit(point: Any) -> Explicit:
    """A ``HistogramDataPoint``. Without buckets there is ``+Inf`` alone. Raises InputError."""
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if not counts:
        bounds, counts = (), (point.count,)
    if len(counts) != len(bounds) + 1:
        raise InputError(f"a histogram of {len(bounds)} bounds with {len(counts)} counts")
    if any(not low < high for low, high in pairwise(bounds)):
        raise InputError("a histogram whose bounds do not increase")
    if bounds and bounds[-1] == math.inf:
        bounds, counts = bounds[:-1], (*counts[:-2], counts[-2] + counts[-1])
    return Explicit(bounds, counts, point.sum, point.count)


def exponential(point: Any) -> Exponential:
    """An ``ExponentialHistogramDataPoint``. Raises InputError."""
    if not -10 <= point.scale <= 20:
        raise InputError(f"an exponential histogram of scale {point.scale}, -10 to 20 are taken")
    positive, negative = _by_index(point.positive), _by_index(point.negative)
    made = Exponential(point.scale, positive, point.sum, point.count, point.zero_count, negative)
    return made.at_scale(SCALE)


def _by_index(buckets: Any) -> dict[int, int]:
    counts: Sequence[int] = buckets.bucket_counts
    return {buckets.offset + i: count for i, count in enumerate(counts) if count}


def _merged(buckets: Mapping[int, int], down: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for index, count in buckets.items():
        found[index >> down] = found.get(index >> down, 0) + count
    return found


def _sum(one: Mapping[int, int], two: Mapping[int, int]) -> dict[int, int]:
    return {index: one.get(index, 0) + two.get(index, 0) for index in {*one, *two}}


def _from_below(buckets: Mapping[int, int]) -> range:
    """All indices from the lowest to the highest."""
    return range(min(buckets), max(buckets) + 1) if buckets else range(0)


def _span(buckets: Mapping[int, int]) -> int:
    return len(_from_below(buckets))


def _lower(scale: int, index: int) -> float:
    """The lower bound of a bucket; beyond what a float holds it is 0 or infinite."""
    try:
        return math.exp2(math.ldexp(index, -scale))
    except OverflowError:
        return math.inf
