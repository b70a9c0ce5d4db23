"""What a run came to: latencies, cost, promises kept, and how the replicas followed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.replay.pods import Life
from stoker.replay.slo import Condition, Slo
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Timeline = Sequence[tuple[float, int, int]]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds. All None when there was nothing to measure."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Floats) -> Percentiles:
        """Of measured values."""
        if not len(values):
            return cls(None, None, None, None, None)
        p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
        return cls(math.fsum(values) / len(values), p50, p95, p99, float(values.max()))


@dataclass(frozen=True, slots=True)
class Gaps:
    """Times between two tokens, counted in narrow buckets (0.8 % wide)."""

    counts: NDArray[np.int64]
    bounds: Floats
    sum: float

    def percentile(self, percent: float) -> float | None:
        """Interpolated within its bucket."""
        total = int(self.counts.sum())
        if not total:
            return None
        wanted = percent / 100.0 * total
        cumulative = np.cumsum(self.counts)
        bucket = int(np.searchsorted(cumulative, wanted, "left"))
        high = float(self.bounds[min(bucket, len(self.bounds) - 1)])
        low = float(self.bounds[bucket - 1]) if bucket else 0.0
        inside = int(self.counts[bucket])
        share = (wanted - (int(cumulative[bucket]) - inside)) / inside if inside else 1.0
        return low + (high - low) * share

    def percentiles(self) -> Percentiles:
        """Those that every measure has."""
        total = int(self.counts.sum())
        if not total:
            return Percentiles(None, None, None, None, None)
        p50, p95, p99, most = (self.percentile(percent) for percent in (50, 95, 99, 100))
        return Percentiles(self.sum / total, p50, p95, p99, most)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of all requests of a run, or of some. Columns are by request, NaN: it did not happen."""

    ttft: Floats
    e2e: Floats
    queue: Floats  # in the engine's queue
    held: Floats  # at the gateway
    per_token: Floats  # the mean gap between the tokens of a request; 0 for a single token
    done: NDArray[np.bool_]
    gaps: Gaps

    @classmethod
    def of(cls, fleet: Fleet) -> Latencies:
        """From the columns of a fleet that has run."""
        s = fleet.state
        times, output = s.times, s.request[:, at.Q_OUTPUT]
        done = s.request[:, at.Q_STATUS] == at.DONE
        decode = np.where(done, times[:, at.T_LAST] - times[:, at.T_FIRST], math.nan)
        gaps = Gaps(s.fine.sum(axis=0), s.fine_bounds, fleet.gap_seconds())
        return cls(
            ttft=times[:, at.T_FIRST] - times[:, at.T_ARRIVED],
            e2e=np.where(done, times[:, at.T_LAST] - times[:, at.T_ARRIVED], math.nan),
            queue=times[:, at.T_SCHEDULED] - times[:, at.T_SENT],
            held=times[:, at.T_SENT] - times[:, at.T_ARRIVED],
            per_token=decode / np.maximum(output - 1, 1),
            done=done,
            gaps=gaps,
        )

    def kept(self, slo: Slo) -> NDArray[np.bool_]:
        """Which requests were served as promised."""
        kept = self.done.copy()
        columns = {"ttft": self.ttft, "e2e": self.e2e, "itl": self.per_token}
        for measure, column in columns.items():
            limit = slo.limit(measure)
            if limit is not None:
                kept &= np.nan_to_num(column, nan=math.inf) < limit
        return kept

    def measured(self, condition: Condition) -> float | None:
        """What a condition speaks of, over all requests; those that failed count as infinite.

        None: it is infinite, or nothing was asked.
        """
        percent = condition.percent
        if condition.measure == "itl":
            if percent is None:
                return self.gaps.percentiles().mean
            return self.gaps.percentile(percent)
        column = self.ttft if condition.measure == "ttft" else self.e2e
        if not len(column):
            return None
        values = np.nan_to_num(column, nan=math.inf)
        value = float(values.mean() if percent is None else _percentile(values, percent))
        return value if math.isfinite(value) else None


def _percentile(values: Floats, percent: float) -> float:
    """Between neighbours where both are finite, else the upper one."""
    ordered = np.sort(values)
    at_ = percent / 100.0 * (len(ordered) - 1)
    low, high = float(ordered[math.floor(at_)]), float(ordered[math.ceil(at_)])
    return low + (high - low) * (at_ - math.floor(at_)) if math.isfinite(high) else high


def paid_seconds(lives: Sequence[Life], end: float) -> float:
    """Replica-seconds from the moment a pod has its GPUs to its end."""
    spans = (
        max(min(end if life.gone is None else life.gone, end) - life.scheduled, 0.0)
        for life in lives
        if life.scheduled is not None
    )
    return math.fsum(spans)


@dataclass(frozen=True, slots=True)
class Following:
    """How ready replicas followed what was needed, in replica-seconds and seconds."""

    over: float  # more ready than needed
    under: float  # less ready than needed
    reactions: tuple[float, ...]  # how long each stretch with less than needed lasted

    @classmethod
    def of(cls, ready: Timeline, needed: Sequence[tuple[float, int]], end: float) -> Following:
        """*ready* as a timeline of (time, wanted, ready), *needed* of (time, replicas)."""
        times = sorted({0.0, end, *(t for t, *_ in ready), *(t for t, _ in needed)})
        over = under = 0.0
        reactions: list[float] = []
        short_since: float | None = None
        at_ready = at_needed = -1
        for begin, stop in pairwise(times):
            if begin >= end:
                break
            while at_ready + 1 < len(ready) and ready[at_ready + 1][0] <= begin:
                at_ready += 1
            while at_needed + 1 < len(needed) and needed[at_needed + 1][0] <= begin:
                at_needed += 1
            have = ready[at_ready][2] if at_ready >= 0 else 0
            want = needed[at_needed][1] if at_needed >= 0 else 0
            length = min(stop, end) - begin
            over += max(have - want, 0) * length
            under += max(want - have, 0) * length
            if have < want and short_since is None:
                short_since = begin
            elif have >= want and short_since is not None:
                reactions.append(begin - short_since)
                short_since = None
        if short_since is not None:
            reactions.append(end - short_since)
        return cls(over, under, tuple(reactions))


def plain(value: Any) -> Any:
    """A dataclass as JSON has it, numbers rounded to nanoseconds, NaN and infinity as null."""
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) else None
    return value
