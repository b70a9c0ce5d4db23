"""Gaps between tokens, in buckets. All else can be counted from the times of requests."""

from __future__ import annotations

import math

import numpy as np

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.state import (
    APP,
    GAP_SUM,
    Floats,
    Ints,
    State,
)

_LOWEST = -14  # 2 ** -14 s, 61 us
_OCTAVES = 24  # up to 2 ** 10 s
_PARTS = 128  # buckets an octave: no wider than 0.8 %


def _fine_bounds() -> Floats:
    steps = 1.0 + np.arange(_PARTS) / _PARTS
    return np.concatenate([steps * 2.0**power for power in range(_LOWEST, _LOWEST + _OCTAVES)])


FINE_BOUNDS = _fine_bounds()  # exact numbers, so that they are the same everywhere


@inner
def coarse_bucket(bounds: Floats, value: float) -> int:
    """The first index whose bound is not below *value*; the last when there is none.

    From the beginning: there are few, and gaps between tokens are in the first of them.
    """
    at = 0
    while at < len(bounds) and bounds[at] < value:
        at += 1
    return at


@inner
def fine_bucket(value: float) -> int:
    """The same for fine bounds, without looking at them: every step of it is exact."""
    if value <= 2.0**_LOWEST:
        return 0
    mantissa, exponent = math.frexp(value)  # value = mantissa * 2 ** exponent, from 0.5 on
    part = math.ceil((2.0 * mantissa - 1.0) * _PARTS)
    return min((exponent - 1 - _LOWEST) * _PARTS + part, _OCTAVES * _PARTS)


@inner
def observe_gap(s: State, r: int, seconds: float, weight: int) -> None:
    """Count a gap between two tokens."""
    s.gaps[r, coarse_bucket(s.coarse_bounds, seconds)] += weight
    s.fine[s.number[r, APP], fine_bucket(seconds)] += weight
    s.clock[r, GAP_SUM] += seconds * weight


@inner
def observe_gaps(s: State, r: int, first: float, more: float, steps: int, weight: int) -> None:
    """Count the gaps ``first + i * more`` of all *steps*, each *weight* times."""
    coarse, fine = coarse_bucket(s.coarse_bounds, first), fine_bucket(first)
    _spread(s.gaps[r], s.coarse_bounds, coarse, first, more, steps, weight)
    _spread(s.fine[s.number[r, APP]], s.fine_bounds, fine, first, more, steps, weight)
    s.clock[r, GAP_SUM] += weight * (steps * first + more * (steps * (steps - 1) / 2.0))


@inner
def _spread(
    counts: Ints, bounds: Floats, bucket: int, first: float, more: float, steps: int, weight: int
) -> None:
    end = len(bounds)
    done = 0
    while done < steps:
        up_to = steps
        if bucket < end and more > 0.0 and first + (steps - 1) * more > bounds[bucket]:
            up_to = min(steps, max(done, int((bounds[bucket] - first) / more) + 1))
        counts[bucket] += (up_to - done) * weight
        done = up_to
        bucket += 1
