"""A run over time, for figures: arrivals, queues and latencies in steps of equal length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.replay.outcome import plain
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet

_POINTS = 240
_LENGTHS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)


def series_of(fleet: Fleet, end: float) -> dict[str, Any]:
    """Curves with at most 240 points. ``time`` is where each step begins."""
    length = next((one for one in _LENGTHS if end / one <= _POINTS), 0.0)
    if not length:
        length = 3600.0 * math.ceil(end / _POINTS / 3600.0)
    starts = np.arange(max(math.ceil(end / length), 1)) * length
    middles = starts + length / 2
    s = fleet.state
    arrived = s.times[:, at.T_ARRIVED]
    counts = np.bincount((arrived // length).astype(np.int64), minlength=len(starts))
    sent, scheduled = _column(s, at.T_SENT), _column(s, at.T_SCHEDULED)
    ended = np.nan_to_num(s.times[:, at.T_LAST], nan=math.inf)
    never_sent = np.isnan(s.times[:, at.T_SENT])
    given_up = np.sort(s.times[never_sent & ~np.isnan(s.times[:, at.T_LAST]), at.T_LAST])
    refused = s.request[:, at.Q_STATUS] == at.TOO_LONG
    offered = np.sort(arrived[~refused])
    held = _until(offered, middles) - _until(sent, middles) - _until(given_up, middles)
    never_scheduled = np.isnan(s.times[:, at.T_SCHEDULED])
    left_queue = np.sort(ended[never_scheduled & ~never_sent])
    waiting = _until(sent, middles) - _until(scheduled, middles) - _until(left_queue, middles)
    over = _until(np.sort(ended[~never_scheduled]), middles)
    ttft = s.times[:, at.T_FIRST] - arrived
    return {
        "time": plain(starts.tolist()),
        "step": length,
        "arrival_rate": plain((counts[: len(starts)] / length).tolist()),
        "held": held.tolist(),
        "waiting": np.maximum(waiting, 0).tolist(),
        "running": np.maximum(_until(scheduled, middles) - over, 0).tolist(),
        "ttft": _percentiles(arrived, ttft, length, len(starts)),
    }


def _column(s: at.State, column: int) -> NDArray[np.float64]:
    return np.sort(np.nan_to_num(s.times[:, column], nan=math.inf))


def _until(times: NDArray[np.float64], moments: NDArray[Any]) -> NDArray[np.int64]:
    return np.searchsorted(times, moments, "right").astype(np.int64)


def _percentiles(
    arrived: NDArray[np.float64], values: NDArray[np.float64], length: float, count: int
) -> dict[str, list[float | None]]:
    """By the step in which a request arrived; None where none did."""
    found: dict[str, list[float | None]] = {"p50": [], "p95": [], "p99": []}
    bounds = np.searchsorted(arrived, np.arange(count + 1) * length, "left")
    for low, high in zip(bounds.tolist(), bounds[1:].tolist(), strict=False):
        part = values[low:high]
        part = part[~np.isnan(part)]
        row = np.percentile(part, [50, 95, 99]).tolist() if len(part) else [None] * 3
        for name, value in zip(found, row, strict=True):
            found[name].append(plain(value))
    return found
