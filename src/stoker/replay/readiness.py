"""When probes find a container ready, or have it killed.

What :mod:`stoker.targets.processes.health` does, for a container whose port opens at a known moment
and answers from then on: tests hold the two equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.resources.workload import Probe, Workload
from stoker.targets.processes.probes import ProbeCounter


@dataclass(frozen=True, slots=True)
class Verdict:
    """What probes make of a start; one of the two times is infinite."""

    ready_at: float = math.inf  # for the first time
    killed_at: float = math.inf  # the container is to be restarted


def verdict(workload: Workload, started: float, opens: float) -> Verdict:
    """A container that was started at *started* and listens from *opens* on."""
    begin = started
    if workload.startup_probe is not None:
        begin, is_up = _verdict(workload.startup_probe, started, started, opens)
        if not is_up:
            return Verdict(killed_at=begin)
    if workload.liveness_probe is not None:
        at, is_up = _verdict(workload.liveness_probe, started, begin, opens)
        if not is_up:
            return Verdict(killed_at=at)
    if workload.readiness_probe is not None:
        begin, _ = _verdict(workload.readiness_probe, started, begin, opens, until_up=True)
    return Verdict(ready_at=begin)


def _verdict(
    probe: Probe, started: float, begin: float, opens: float, *, until_up: bool = False
) -> tuple[float, bool]:
    """When one of the thresholds is reached, and which."""
    counter = ProbeCounter(probe.success_threshold, probe.failure_threshold)
    at = max(started + probe.initial_delay, begin)
    while True:
        found = counter.count(at >= opens)
        if found or (found is not None and not until_up):
            return at, found
        at += probe.period
