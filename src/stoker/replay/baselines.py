"""What fixed fleets would have done, and one that knows the future.

None of them needs a control loop, so each is one pass of the fleet.

The number of replicas that a moment *needs* is the smallest fixed fleet that serves the requests of
that minute as promised: as large a share of them as the highest percentile of the SLO says. The
clairvoyant has exactly these replicas ready at the beginning of each minute: it starts them their
start-up time earlier, which it pays, and keeps one through a lull that is shorter than a start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.replay.outcome import Latencies
from stoker.replay.servers import Served
from stoker.replay.slo import Slo
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet
from stoker.traces import Arrivals

WINDOW = 60.0  # seconds
_MOST = 64  # replicas that are tried
_LEAD = 10.0  # seconds before a window whose requests are still there when it begins
_APART = 3600.0  # seconds between windows that are served apart


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fleet without an autoscaler."""

    name: str
    replicas: str  # a number, or a range
    replica_seconds: float
    attainment: float
    latencies: Latencies
    end: float
    timeline: list[tuple[float, int]]
    is_bound: bool = False  # it knows the future: no choice, but a limit

    @property
    def scale_events(self) -> int:
        """Changes of the number of replicas."""
        return len(self.timeline) - 1


def static(arrivals: Arrivals, engine: Served, replicas: int) -> tuple[Fleet, float]:
    """A fixed fleet, and when its last request ended."""
    fleet = Fleet(arrivals, [engine.server])
    for _ in range(replicas):
        fleet.ready(fleet.add(0), 0.0, warm=True)
    fleet.run(math.inf)
    return fleet, last_end(fleet)


def last_end(fleet: Fleet) -> float:
    """When the last request ended, or the last one came."""
    s = fleet.state
    ended = s.times[:, at.T_LAST]
    known = ended[~np.isnan(ended)]
    arrived = s.times[-1, at.T_ARRIVED] if len(s.times) else 0.0
    return float(max(arrived, known.max() if len(known) else 0.0))


def static_baseline(
    name: str, arrivals: Arrivals, engine: Served, replicas: int, slo: Slo
) -> Baseline:
    """A fixed fleet, measured."""
    fleet, end = static(arrivals, engine, replicas)
    latencies = Latencies.of(fleet)
    share = _share(latencies.kept(slo))
    timeline = [(0.0, replicas)]
    return Baseline(name, str(replicas), replicas * end, share, latencies, end, timeline)


def _share(kept: NDArray[np.bool_]) -> float:
    return float(kept.mean()) if len(kept) else 1.0


@dataclass(frozen=True, slots=True)
class Need:
    """How many replicas each window needs. ``enough``: more would not have helped."""

    replicas: NDArray[np.int64]  # by window
    enough: bool

    def timeline(self) -> list[tuple[float, int]]:
        """When the number changes, and to what."""
        return steps(self.replicas.tolist())


def steps(replicas: Sequence[int]) -> list[tuple[float, int]]:
    """A number a window as the times at which it changes."""
    found: list[tuple[float, int]] = []
    for window, number in enumerate(replicas):
        if not found or found[-1][1] != number:
            found.append((window * WINDOW, number))
    return found


def need(arrivals: Arrivals, engine: Served, slo: Slo) -> Need:
    """The smallest fixed fleet that serves each window as promised.

    Windows are served apart from each other, each with what came in the ten seconds before it:
    otherwise a fleet that was too small for a crowd would still look too small an hour later.
    """
    apart, windows, is_own = _apart(arrivals)
    count = int(windows[-1]) + 1 if len(windows) else 0
    offered = np.bincount(windows[is_own], minlength=count)
    replicas = np.zeros(count, np.int64)
    open_ = offered > 0
    goal = _goal(slo)
    best = np.zeros(count)
    fleet_size, stale = 0, 0
    while open_.any() and fleet_size < _MOST and stale < 3:
        fleet_size += 1
        fleet, _ = static(apart, engine, fleet_size)
        kept = np.bincount(windows[is_own], Latencies.of(fleet).kept(slo)[is_own], count)
        share = np.divide(kept, offered, out=np.ones(count), where=offered > 0)
        better = open_ & (share > best + 1e-9)
        replicas[better] = fleet_size
        best = np.maximum(best, share)
        open_ &= share < goal
        stale = 0 if better.any() else stale + 1
    replicas[(offered > 0) & (replicas == 0)] = 1  # nothing helps: they are beyond any promise
    return Need(replicas, not open_.any())


def _apart(arrivals: Arrivals) -> tuple[Arrivals, NDArray[np.int64], NDArray[np.bool_]]:
    """Each window with the seconds before it, all far apart.

    Returns the requests, the window that each belongs to, and whether it came in it.
    """
    times = arrivals.times
    count = int(times[-1] // WINDOW) + 1 if len(times) else 0
    starts = np.arange(count) * WINDOW
    begins = np.searchsorted(times, starts - _LEAD, "left")
    ends = np.searchsorted(times, starts + WINDOW, "left")
    sizes = ends - begins
    windows = np.repeat(np.arange(count), sizes)
    rows = np.arange(len(windows)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + begins[windows]
    moved = times[rows] + windows * _APART
    blocks = None if arrivals.blocks is None else arrivals.blocks.taken(rows)
    parts = Arrivals(moved, arrivals.prompt_tokens[rows], arrivals.output_tokens[rows], blocks)
    return parts, windows, times[rows] >= starts[windows]


def _goal(slo: Slo) -> float:
    percents = [c.percent for c in slo.conditions if c.percent is not None]
    return max(percents, default=50.0) / 100.0


def clairvoyant(arrivals: Arrivals, engine: Served, slo: Slo, needed: Need) -> Baseline:
    """A fleet that follows *needed*, knowing it a start-up time ahead."""
    startup = engine.quickest
    plan = _without_lulls(needed.replicas, math.ceil(startup / WINDOW))
    fleet = Fleet(arrivals, [engine.server])
    slots: list[int] = []
    since: dict[int, float] = {}
    leaving: set[int] = set()
    paid = 0.0

    def collect() -> float:
        seconds = 0.0
        for slot, at_ in fleet.drained():
            if slot in leaving:
                leaving.discard(slot)
                seconds += at_ - since.pop(slot)
                fleet.remove(slot)
        return seconds

    for window, replicas in enumerate(plan):
        now = window * WINDOW
        while fleet.run(now) < now:
            paid += collect()
        while len(slots) < replicas:
            slot = fleet.add(0)
            since[slot] = now - startup  # at the start of the run, too: nothing is for free
            slots.append(slot)
            fleet.ready(slot, now)
        while len(slots) > replicas:
            slot = min(slots, key=fleet.in_flight)
            slots.remove(slot)
            leaving.add(slot)
            if fleet.drain(slot):
                leaving.discard(slot)
                paid += now - since.pop(slot)
                fleet.remove(slot)
    while fleet.run(math.inf) < math.inf:
        paid += collect()
    paid += collect()
    end = last_end(fleet)
    paid += math.fsum(end - at_ for at_ in since.values())
    latencies = Latencies.of(fleet)
    least, most = (min(plan), max(plan)) if len(plan) else (0, 0)
    span = f"{least} to {most}" if least != most else str(most)
    share = _share(latencies.kept(slo))
    timeline = steps(plan)
    return Baseline("clairvoyant", span, paid, share, latencies, end, timeline, is_bound=True)


def _without_lulls(replicas: NDArray[np.int64], lull: int) -> list[int]:
    """A dip of *lull* windows or less costs less than the start after it: it is filled."""
    plan: list[int] = replicas.tolist()
    levels: Sequence[int] = range(1, max(plan, default=0) + 1)
    for level in levels:
        last = None
        for window, wanted in enumerate(replicas.tolist()):
            if wanted < level:
                continue
            if last is not None and window - last - 1 <= lull:
                for between in range(last + 1, window):
                    plan[between] = max(plan[between], level)
            last = window
    return plan
