"""Gaps between tokens, in buckets. All else can be counted from the times of requests."""

from __future__ import annotations

import numpy as np

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.state import (
    APP,
    GAP_SUM,
    Floats,
    Ints,
    State,
)

_OCTAVES = 24  # from 2 ** -14 s (61 us) to 2 ** 10 s
_PARTS = 128  # buckets an octave: no wider than 0.8 %


def fine_bounds() -> Floats:
    """Upper bounds of fine buckets. Exact numbers, so that they are the same everywhere."""
    steps = 1.0 + np.arange(_PARTS) / _PARTS
    return np.concatenate([steps * 2.0**power for power in range(-14, _OCTAVES - 14)])


@inner
def first_not_below(bounds: Floats, begin: int, end: int, value: float) -> int:
    """The first index whose bound is not below *value*; *end* when there is none."""
    while begin < end:
        middle = (begin + end) // 2
        if bounds[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@inner
def observe_gap(s: State, r: int, seconds: float, weight: int) -> None:
    """Count a gap between two tokens."""
    s.gaps[r, first_not_below(s.coarse_bounds, 0, len(s.coarse_bounds), seconds)] += weight
    bucket = first_not_below(s.fine_bounds, 0, len(s.fine_bounds), seconds)
    s.fine[s.number[r, APP], bucket] += weight
    s.clock[r, GAP_SUM] += seconds * weight


@inner
def observe_gaps(s: State, r: int, first: float, more: float, steps: int, weight: int) -> None:
    """Count the gaps ``first + i * more`` of all *steps*, each *weight* times."""
    _spread(s.gaps[r], s.coarse_bounds, first, more, steps, weight)
    _spread(s.fine[s.number[r, APP]], s.fine_bounds, first, more, steps, weight)
    s.clock[r, GAP_SUM] += weight * (steps * first + more * (steps * (steps - 1) / 2.0))


@inner
def _spread(
    counts: Ints, bounds: Floats, first: float, more: float, steps: int, weight: int
) -> None:
    end = len(bounds)
    bucket = first_not_below(bounds, 0, end, first)
    done = 0
    while done < steps:
        up_to = steps
        if bucket < end and more > 0.0 and first + (steps - 1) * more > bounds[bucket]:
            up_to = min(steps, max(done, int((bounds[bucket] - first) / more) + 1))
        counts[bucket] += (up_to - done) * weight
        done = up_to
        bucket += 1
