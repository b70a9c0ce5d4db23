"""What stood around the core in a live recording: its metrics source, its pods, its clockwork."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.backtest.conformance.recorded import Case
from stoker.errors import StokerError
from stoker.scaling.observation import PodStatus, TargetStatus
from stoker.triggers.base import QueryAnswer

SYNC = 15.02  # a sync takes some milliseconds, and the delay to the next starts at its end
NEVER = 1e9
_FAILURES = ("err", "400", "slow", "html")


class Source:
    """The scripted Prometheus: what it served at each time, and its script in between."""

    def __init__(self, header: Case, last: Case) -> None:
        served = last.get("prom_queries") or {}
        rows = (
            [(query, t, answer) for t, query, answer, _ in served]
            if isinstance(served, list)
            else [(query, t, answer) for query, given in served.items() for t, answer in given]
        )
        self._served: dict[str, list[tuple[float, Any]]] = {}
        for query, t, answer in rows:
            self._served.setdefault(query, []).append((t, answer))
        self._script: dict[str, Any] = dict(header.get("prom_series") or {})
        for name, series in (header.get("series") or {}).items():
            self._script[f"{header['header']}_{name}"] = series
        self.times = sorted(t for _, t, _ in rows)
        self.broken = False  # an address that cannot be asked

    async def query(self, query: str, now: float) -> QueryAnswer:
        """The answer as the Prometheus API would give it. Raises StokerError as a client would."""
        answer = "err" if self.broken else self._answer(query, now)
        if isinstance(answer, dict):
            ((kind, value),) = answer.items()
            if kind == "matrix":
                return QueryAnswer(kind, [{"metric": {}, "values": [[now, str(value)]]}])
            return QueryAnswer(kind, [now, str(value)])
        if answer == "null":
            return QueryAnswer("vector", [])
        if answer in _FAILURES:
            raise StokerError(f"the source answers {answer}")
        values = answer if isinstance(answer, list) else [answer]
        return QueryAnswer("vector", [{"metric": {}, "value": [now, str(v)]} for v in values])

    def _answer(self, query: str, now: float) -> Any:
        served = self._served.get(query, [])
        near = min(served, key=lambda row: abs(row[0] - now), default=None)
        if near is not None and abs(near[0] - now) < 1.0:
            return near[1]
        script = self._script.get(query, [])
        value = script[0][1] if script else "null"
        for t, scripted in script:
            if t <= now:
                value = scripted
        return value


@dataclass(slots=True)
class _Pod:
    created: float
    deleted: float | None = None  # None: it stays


@dataclass(slots=True)
class Deployment:
    """Pods as the recording's kubelet ran them: ready some seconds after creation."""

    ready_after: float
    terminating_for: float
    spec_replicas: int = 0
    _pods: list[_Pod] = field(default_factory=list)
    _scaled_at: float = -NEVER
    _previous: int = 0

    def scale(self, replicas: int, now: float) -> None:
        """Make or delete pods, the newest first."""
        self._previous, self._scaled_at = self.spec_replicas, now
        self.spec_replicas = replicas
        alive = [pod for pod in self._pods if pod.deleted is None]
        self._pods += [_Pod(now) for _ in range(replicas - len(alive))]
        for pod in alive[replicas:]:
            pod.deleted = now

    def status(self, now: float, *, watched: bool = True) -> TargetStatus:
        """What KEDA and the HPA see; the HPA asks for the size, KEDA has it from a watch."""
        gone = self.terminating_for + 1.0  # the kubelet looks once a second
        self._pods = [p for p in self._pods if p.deleted is None or now < p.deleted + gone]
        # a watch is some milliseconds behind
        behind = watched and now - self._scaled_at < 0.025
        return TargetStatus(
            self._previous if behind else self.spec_replicas,
            sum(pod.deleted is None for pod in self._pods),
            tuple(self._pod_status(i, pod, now) for i, pod in enumerate(self._pods)),
        )

    def _pod_status(self, index: int, pod: _Pod, now: float) -> PodStatus:
        # a pod that is deleted before it is ready never becomes ready
        until = now if pod.deleted is None else min(now, pod.deleted)
        return PodStatus(
            f"p{index}",
            ready=until >= pod.created + self.ready_after + 0.5,
            terminating=pod.deleted is not None,
        )


def polls(times: Sequence[float], interval: float, created: float, end: float) -> list[float]:
    """When KEDA polled: the queries that lie on its grid, which starts at creation."""
    anchor = next(
        (q for q in times if q > 0.05 and any(abs(o - q - interval) < 0.1 for o in times)),
        created + 1.0,
    )
    if times and times[0] < -0.05:
        anchor = times[0]
    grid: list[float] = []
    at = anchor - interval * int((anchor - created - 0.2) / interval)
    while at < end:
        at = _snapped(at, times, 0.25)
        grid.append(at)
        at += interval
    return grid


def syncs(
    recorded: Case,
    times: Sequence[float],
    created: float,
    end: float,
    hpa_at: float | None = None,
    slow: float = 0.0,
) -> list[float]:
    """When the HPA was reconciled. Failed reconciles are not in the log: they fill the gaps.

    Each is 15 s after the end of the one before, which takes *slow* seconds where sources are slow.
    Where none is in the log the first one came 15 s after the HPA, first seen at *hpa_at*.
    """
    rows = recorded.get("hpa_reconciles") or []
    logged = sorted({round(row[0], 2): float(row[0]) for row in rows}.values())
    known = [t for i, t in enumerate(logged) if i == 0 or t - logged[i - 1] > 1.0]
    if not known:
        known = [created + 15.5 if hpa_at is None else hpa_at + 14.5]
    filled = [known[0]]
    while filled[0] - SYNC > created + 14:
        filled.insert(0, filled[0] - SYNC)
    for t in known[1:]:
        gap = t - filled[-1]
        steps = round(gap / (SYNC + slow))
        filled += [filled[-1] + gap * i / steps for i in range(1, steps)]
        filled.append(t)
    while filled[-1] + SYNC < end:
        filled.append(filled[-1] + SYNC)
    return [t if t in known else _snapped(t, times, 0.15) for t in filled]


def _snapped(t: float, times: Sequence[float], within: float) -> float:
    """The query that was made at about *t*, or *t*."""
    index = bisect_left(times, t)
    near = min(times[max(index - 1, 0) : index + 1], key=lambda q: abs(q - t), default=t)
    return near if abs(near - t) < within else t
