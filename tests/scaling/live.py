"""Runs a live recording of the real KEDA and HPA through the core and compares replicas over time.

The recording gives when KEDA polled, when the HPA was reconciled and what the metrics source
answered; the core feeds back its own replicas. A change within 2.5 s counts as the same time, since
the recording samples at 1 Hz.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stoker.errors import InputError, StokerError
from stoker.recommenders.hpa import recommend
from stoker.scaling.cadence import triggers_to_read
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.fallback import settle
from stoker.scaling.observation import Observation, PodStatus, Reader, TargetStatus
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    Fallback,
    MetricType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingSpec,
    TriggerSpec,
)
from stoker.scaling.state import ScalingState
from stoker.triggers.base import QueryAnswer, TriggerContext
from stoker.triggers.registry import build_trigger

from .recordings import behavior, lines

SYNC = 15.02  # a sync takes some milliseconds, and the delay starts at its end
TOLERANCE = 2.5


def spec_of(document: dict[str, Any]) -> ScalingSpec:
    """The ScaledObject as submitted."""
    given = document["spec"]
    advanced = given.get("advanced", {})
    hpa = advanced.get("horizontalPodAutoscalerConfig", {})
    modifiers = advanced.get("scalingModifiers")
    return ScalingSpec(
        name=document["metadata"]["name"],
        target=ScaleTargetRef(given["scaleTargetRef"]["name"]),
        triggers=tuple(
            TriggerSpec(
                index,
                t["type"],
                metadata=t["metadata"],
                name=t.get("name", ""),
                metric_type=MetricType(t.get("metricType", "AverageValue")),
                use_cached_metrics=t.get("useCachedMetrics", False),
            )
            for index, t in enumerate(given["triggers"])
        ),
        polling_interval=given.get("pollingInterval", 30),
        cooldown_period=given.get("cooldownPeriod", 300),
        initial_cooldown_period=given.get("initialCooldownPeriod", 0),
        min_replica_count=given.get("minReplicaCount"),
        max_replica_count=given.get("maxReplicaCount"),
        idle_replica_count=given.get("idleReplicaCount"),
        fallback=Fallback(
            given["fallback"]["failureThreshold"],
            given["fallback"]["replicas"],
            given["fallback"].get("behavior", "static"),
        )
        if given.get("fallback")
        else None,
        behavior=behavior(hpa.get("behavior")),
        modifiers=ScalingModifiers(
            modifiers["formula"],
            float(modifiers["target"]),
            float(modifiers.get("activationTarget", 0)),
            MetricType(modifiers.get("metricType", "AverageValue")),
            modifiers["target"],
        )
        if modifiers
        else None,
        annotations=document["metadata"].get("annotations") or {},
    )


@dataclass
class Deployment:
    """Pods as the recording's kubelet ran them: ready some seconds after creation."""

    ready_after: float
    terminating_for: float
    spec_replicas: int = 0
    pods: list[list[float | None]] = field(default_factory=list)  # [created, deleted]
    scaled_at: float = -1e9
    previous: int = 0

    def scale(self, replicas: int, now: float) -> None:
        self.previous, self.scaled_at = self.spec_replicas, now
        self.spec_replicas = replicas
        alive = [pod for pod in self.pods if pod[1] is None]
        self.pods += [[now, None] for _ in range(replicas - len(alive))]
        for pod in reversed(alive[replicas:]):
            pod[1] = now

    def status(self, now: float) -> TargetStatus:
        # the kubelet looks once a second
        gone = self.terminating_for + 1.0
        self.pods = [p for p in self.pods if p[1] is None or now < p[1] + gone]
        # KEDA reads from a watch that is some milliseconds behind
        behind = now - self.scaled_at < 0.025
        return TargetStatus(
            self.previous if behind else self.spec_replicas,
            sum(p[1] is None for p in self.pods),
            tuple(
                PodStatus(
                    f"p{i}",
                    # a pod that is deleted before it is ready never becomes ready
                    ready=min(now, p[1] or now) >= p[0] + self.ready_after + 0.5,
                    terminating=p[1] is not None,
                )
                for i, p in enumerate(self.pods)
            ),
        )


class Source:
    """The scripted metrics source: what it served at each time."""

    def __init__(self, header: dict[str, Any], last: dict[str, Any]) -> None:
        served = last.get("prom_queries") or {}
        if isinstance(served, list):
            by_query: dict[str, list[tuple[float, Any]]] = {}
            for t, query, answer, _ in served:
                by_query.setdefault(query, []).append((t, answer))
            served = by_query
        self._served = {q: [(t, a) for t, a in rows] for q, rows in served.items()}
        self._script = dict(header.get("prom_series") or {})
        for name, series in (header.get("series") or {}).items():
            self._script[f"{header['header']}_{name}"] = series
        self.times = sorted(t for rows in self._served.values() for t, _ in rows)

    def answer(self, query: str, now: float) -> Any:
        rows = self._served.get(query, ())
        near = min(rows, key=lambda row: abs(row[0] - now), default=None)
        if near is not None and abs(near[0] - now) < 1.0:
            return near[1]
        script = self._script.get(query, [])
        value = script[0][1] if script else "null"
        for t, scripted in script:
            if t <= now:
                value = scripted
        return value

    async def query(self, query: str, now: float) -> QueryAnswer:
        answer = self.answer(query, now)
        if isinstance(answer, dict):
            ((kind, value),) = answer.items()
            if kind == "matrix":
                return QueryAnswer(kind, [{"metric": {}, "values": [[now, str(value)]]}])
            return QueryAnswer(kind, [now, str(value)])
        if answer == "null":
            return QueryAnswer("vector", [])
        if answer in ("err", "400", "slow", "html"):
            raise StokerError(f"the source answers {answer}")
        values = answer if isinstance(answer, list) else [answer]
        return QueryAnswer("vector", [{"metric": {}, "value": [now, str(v)]} for v in values])


def polls(times: list[float], interval: float, created: float, end: float) -> list[float]:
    """When KEDA polled: the queries that lie on its grid, which starts at creation."""
    grid: list[float] = []
    anchor = next(
        (q for q in times if q > 0.05 and any(abs(o - q - interval) < 0.1 for o in times)),
        created + 1.0,
    )
    if times and times[0] < -0.05:
        anchor = times[0]
    at = anchor - interval * int((anchor - created - 0.2) / interval)
    while at < end:
        near = min((q for q in times), key=lambda q: abs(q - at), default=at)
        if abs(near - at) < 0.25:
            at = near
        grid.append(at)
        at += interval
    return grid


def syncs(recorded: list[list[Any]], times: list[float], created: float, end: float) -> list[float]:
    """When the HPA was reconciled. Failed reconciles are not in the log: they fill the gaps."""
    known = sorted({round(row[0], 2): row[0] for row in recorded}.values())
    known = [t for i, t in enumerate(known) if i == 0 or t - known[i - 1] > 1.0]
    if not known:
        known = [created + 15.5]
    filled = [known[0]]
    while filled[0] - SYNC > created + 14:
        filled.insert(0, filled[0] - SYNC)
    for t in known[1:]:
        gap = t - filled[-1]
        steps = round(gap / SYNC)
        filled += [filled[-1] + gap * i / steps for i in range(1, steps)]
        filled.append(t)
    while filled[-1] + SYNC < end:
        filled.append(filled[-1] + SYNC)
    return [t if t in known else _snapped(t, times) for t in filled]


def _snapped(t: float, times: list[float]) -> float:
    """A reconcile that is not in the log, at the query that it made."""
    near = min(times, key=lambda q: abs(q - t), default=t)
    return near if abs(near - t) < 0.15 else t


async def replay(path: Path, *, terminating_for: float = 1.0) -> Iterator[str]:
    """Run one recording. What differs, one text a difference; none: the replicas agree."""
    rows = list(lines(path))
    header, last, seconds = rows[0], rows[-1], rows[1:-1]
    spec = spec_of(header["scaledobject"])
    created = header.get("scaledobject_created_t", last.get("scaledobject_created_t"))
    created = seconds[0]["t"] if created is None else created
    epoch = header.get("t0_epoch", last.get("t0_epoch"))
    end = (
        seconds[-1]["t"]
        if "trajectory" not in header
        else max([seconds[-1]["t"], *(r[0] for r in last["hpa_reconciles"])])
    )
    recorded: list[tuple[float, int]] = []
    for row in seconds:
        if not recorded or recorded[-1][1] != row["spec_replicas"]:
            recorded.append((row["t"], row["spec_replicas"]))
    got = await _run(header, last, spec, created, epoch, end, terminating_for)
    return compare(recorded, got, seconds[-1]["t"] if "trajectory" not in header else end)


async def _run(header, last, spec, created, epoch, end, terminating_for):
    source = Source(header, last)
    settings = ControllerSettings(
        downscale_stabilization={"5m0s": 300, "60s": 60}[
            header.get("hpa_downscale_stabilization", "5m0s")
        ]
    )
    deployment = Deployment(
        header.get("pod_ready_after_s", 2), header.get("pod_terminating_s", terminating_for)
    )
    deployment.scale(header["start_replicas"], created - 1)
    trajectory = [(created, header["start_replicas"])]
    context = TriggerContext(query_for=lambda _: lambda q, _: source.query(q, at_now[0]))
    at_now = [created]
    try:
        triggers = [build_trigger(t, context) for t in spec.triggers]
    except InputError:
        return trajectory
    if any(round(t.parameters.threshold * 1000) <= 0 for t in triggers):
        return trajectory  # the API server refuses the HPA
    if any("://" not in t.parameters.server_address for t in triggers):
        source.answer = lambda *_: "err"
    state = ScalingState.new(epoch + created)
    steps = [(t, "poll", None) for t in polls(source.times, spec.polling_interval, created, end)]
    steps += [(t, "sync", None) for t in syncs(last["hpa_reconciles"], source.times, created, end)]
    steps += [(t, kind, patch) for t, kind, patch in header.get("actions") or []]
    steps.append((created + 0.1, "so", {}))
    for t, kind, patch in sorted(steps, key=lambda step: step[0]):
        at_now[0] = t
        now, status = epoch + t, deployment.status(t)
        if kind == "dep":
            deployment.scale(patch["spec"]["replicas"], t)
            trajectory.append((t, deployment.spec_replicas))
            continue
        if kind == "so":
            spec = _patched(spec, patch)
            state, decision = reconcile(spec, status, state, now, settings)
        else:
            reader = Reader.KEDA if kind == "poll" else Reader.HPA
            if reader is Reader.HPA and (state.hpa is None or now < state.hpa.created_at + 13.5):
                continue
            readings = tuple(
                [await triggers[i].read(now) for i in triggers_to_read(spec, state, reader)]
            )
            observation = Observation(reader, readings, status)
            state, values = settle(spec, observation, state, now, settings)
            wants = recommend(spec, values, status, settings) if kind == "sync" else ()
            state, decision = decide(spec, observation, values, wants, state, now, settings)
            state = ScalingState.from_dict(state.to_dict())
        if decision.changes:
            deployment.scale(decision.replicas, t)
            trajectory.append((t, decision.replicas))
    return trajectory


def _patched(spec: ScalingSpec, patch: dict[str, Any]) -> ScalingSpec:
    annotations = dict(spec.annotations)
    for key, value in patch.get("metadata", {}).get("annotations", {}).items():
        if value is None:
            annotations.pop(key, None)
        else:
            annotations[key] = value
    changes = patch.get("spec", {})
    known = {
        "minReplicaCount": "min_replica_count",
        "maxReplicaCount": "max_replica_count",
        "cooldownPeriod": "cooldown_period",
        "pollingInterval": "polling_interval",
        "idleReplicaCount": "idle_replica_count",
    }
    assert set(changes) <= set(known), changes
    return replace(
        spec, annotations=annotations, **{known[key]: value for key, value in changes.items()}
    )


def compare(recorded, got, end: float) -> Iterator[str]:
    """Both as [(t, replicas)]. What lasted less than a second cannot be in the recording."""
    first_t, first_n = recorded[0]
    want = recorded[1:]
    have: list[tuple[float, int]] = []
    at_start = first_n
    for (t, n), (until, _) in zip(got, [*got[1:], (1e9, 0)], strict=True):
        if (t <= first_t and n == first_n) or until <= first_t:
            at_start, have = n, []
        elif until - t >= 1.0 and n != (have[-1][1] if have else at_start):
            have.append((t, n))
    while len(have) > len(want) and have[-1][0] > end - TOLERANCE:
        have.pop()
    same = (
        at_start == first_n
        and len(want) == len(have)
        and all(
            a[1] == b[1] and abs(a[0] - b[0]) <= TOLERANCE for a, b in zip(want, have, strict=True)
        )
    )
    if not same:
        shown = [(round(t, 1), n) for t, n in have]
        yield f"replicas {at_start}, {shown}, recorded {first_n}, {want}"


def differences(path: Path, **options: Any) -> list[str]:
    return list(asyncio.run(replay(path, **options)))
