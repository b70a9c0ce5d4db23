"""Recordings of a live control plane: etcd, API server, HPA controller, KEDA, scripted metrics.

The recording gives when KEDA polled, when the HPA was reconciled and what the metrics source
answered; the core feeds back its own replicas. A change within 2.5 s counts as the same time, since
the recording samples once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoker.backtest.conformance import external
from stoker.backtest.conformance.cluster import NEVER, Deployment, Source, polls, syncs
from stoker.backtest.conformance.conditions import (
    Conditions,
    condition_differences,
    conditions_of,
    recorded_conditions,
)
from stoker.backtest.conformance.recorded import Case, behavior
from stoker.controller import evaluate
from stoker.errors import InputError
from stoker.scaling.annotations import stops
from stoker.scaling.cadence import triggers_to_read
from stoker.scaling.decide import reconcile
from stoker.scaling.observation import Observation, Reader, TriggerReading
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
from stoker.triggers.base import Trigger, TriggerContext, read_all
from stoker.triggers.parameters import go_duration
from stoker.triggers.prometheus import PrometheusTrigger
from stoker.triggers.registry import build_trigger

TOLERANCE = 2.5
_ANSWERED = ("prometheus", *external.TYPES)  # trigger types whose source a recording holds
Trajectory = list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Recording:
    """One live recording. Times are its own, except *epoch*: when its zero was."""

    header: Case
    last: Case
    created: float
    epoch: float
    watched_until: float
    end: float
    replicas: Trajectory
    hpa_at: float | None  # when the HPA was first seen, if it was not there from the start

    @classmethod
    def of(cls, rows: Sequence[Case]) -> Recording:
        """From the lines of a file: header, one a second (or a change), and what was logged."""
        header, seconds, last = rows[0], rows[1:-1], rows[-1]
        created = header.get("scaledobject_created_t", last.get("scaledobject_created_t"))
        watched = end = float(seconds[-1]["t"])
        if "trajectory" in header:  # one line a change: it was watched as long as the HPA ran
            watched = end = max([end, *(r[0] for r in last.get("hpa_reconciles") or [])])
        replicas: Trajectory = []
        for row in seconds:
            if not replicas or replicas[-1][1] != row["spec_replicas"]:
                replicas.append((row["t"], row["spec_replicas"]))
        return cls(
            header,
            last,
            seconds[0]["t"] if created is None else created,
            header.get("t0_epoch", last.get("t0_epoch")),
            watched,
            end,
            replicas,
            _first_seen(seconds),
        )

    @property
    def pod_terminating(self) -> float:
        """Seconds until a deleted pod is gone."""
        if "pod_terminating_s" in self.header:
            return float(self.header["pod_terminating_s"])
        # the first recorder that wrote a trajectory had nobody who finished a deletion
        return NEVER if "trajectory" in self.header else 1.0

    @property
    def settings(self) -> ControllerSettings:
        """The flags of the recorded controller."""
        header = self.header
        return ControllerSettings(
            sync_period=go_duration(header.get("hpa_sync", "15s")),
            downscale_stabilization=go_duration(header.get("hpa_downscale_stabilization", "5m0s")),
        )


def _first_seen(seconds: Sequence[Case]) -> float | None:
    """When the HPA appears in the rows; None: it is there in the first, or never."""
    if seconds[0].get("hpa"):
        return None
    return next((float(row["t"]) for row in seconds if row.get("hpa")), None)


def why_skipped(header: Case) -> str | None:
    """What this reader cannot answer in the place of the recorded source, None when it can all."""
    types = {t["type"] for t in header["scaledobject"]["spec"]["triggers"]} - set(_ANSWERED)
    if types:
        return f"trigger type {', '.join(sorted(types))} is not read from recordings yet"
    return None


def live_differences(rows: Sequence[Case], calls: Sequence[Case] = ()) -> Iterator[str]:
    """Run one recording; what differs, as one text. None: replicas and conditions agree.

    *calls* are those that were made to its external scaler.
    """
    recording, run = Recording.of(rows), _Run(Recording.of(rows), calls)
    got = asyncio.run(run.replicas())
    found = list(_compare(recording.replicas, got, recording.watched_until))
    shown = tuple(recorded_conditions(rows[1:-1], recording.watched_until))
    interval = float(recording.header["scaledobject"]["spec"].get("pollingInterval", 30))
    found += condition_differences(shown, run.shown, recording.created, interval)
    if found:
        yield "\n     ".join(found)


class _Run:
    """A recording on its way through the core."""

    def __init__(self, recording: Recording, calls: Sequence[Case]) -> None:
        asked = external.read_times(calls)
        if asked:  # the recorder looked for the first time after KEDA had
            first = min(recording.created, asked[0] - 0.2)
            recording = replace(recording, created=first)
        self._recording = recording
        self._calls = calls
        self._source = Source(recording.header, recording.last)
        self._document = recording.header["scaledobject"]
        self._spec = spec_of(self._document)
        self._triggers: list[Trigger] = []
        self._settings = recording.settings
        self._state = ScalingState.new(recording.epoch + recording.created)
        self._deployment = Deployment(
            recording.header.get("pod_ready_after_s", 2), recording.pod_terminating
        )
        self._now = recording.created
        self.shown: list[tuple[float, Conditions]] = []

    async def replicas(self) -> Trajectory:
        """``spec.replicas`` over time, a row a change."""
        recording = self._recording
        start = recording.header["start_replicas"]
        self._deployment.scale(start, recording.created - 1)
        found = [(recording.created, start)]
        if not self._build():
            return found
        for t, kind, patch in self._steps():
            self._now = t
            before = self._deployment.spec_replicas
            if kind == "dep":
                self._deployment.scale(patch["spec"]["replicas"], t)
            else:
                await self._step(kind, patch)
            self.shown.append((t, conditions_of(self._state)))
            if self._deployment.spec_replicas != before:
                found.append((t, self._deployment.spec_replicas))
        return found

    def _build(self) -> bool:
        """Make the triggers. False: KEDA or the API server refuses, and nothing ever scales."""

        async def ask(query: str, _: float) -> Any:
            return await self._source.query(query, self._now)

        context = TriggerContext(query_for=lambda _: ask, name=self._spec.name)
        try:
            self._triggers = [self._trigger(t, context) for t in self._spec.triggers]
        except InputError:
            return False
        asked = [t.parameters for t in self._triggers if isinstance(t, PrometheusTrigger)]
        self._source.broken = any("://" not in p.server_address for p in asked)
        # the API server refuses an HPA whose target is no thousandth
        return all(round(p.threshold * 1000) > 0 for p in asked)

    def _trigger(self, spec: TriggerSpec, context: TriggerContext) -> Trigger:
        if spec.type not in external.TYPES:
            return build_trigger(spec, context)
        scripts = self._recording.header.get("external_script") or {}
        script = scripts.get(spec.metadata.get("case", ""), {})
        return external.ScriptedTrigger(spec, context, script, self._calls)

    def _steps(self) -> list[tuple[float, str, Any]]:
        recording = self._recording
        times = sorted([*self._source.times, *external.read_times(self._calls)])
        span, slow = (recording.created, recording.end), external.slowest(recording.header)
        steps: list[tuple[float, str, Any]] = [(recording.created + 0.1, "so", {})]
        heard = external.pushes(recording.header, self._calls)
        steps += [(t, "push", None) for t in heard if t > recording.created]
        steps += [(t, "poll", None) for t in self._polls(times, slow)]
        steps += [
            (t, "sync", None) for t in syncs(recording.last, times, *span, recording.hpa_at, slow)
        ]
        steps += [(t, kind, patch) for t, kind, patch in recording.header.get("actions") or []]
        return sorted(steps, key=lambda step: step[0])

    def _polls(self, times: Sequence[float], slow: float) -> Iterator[float]:
        """When KEDA polled: on a grid that an edit of the spec, or its resumption, begins anew."""
        recording, document = self._recording, self._document
        starts = [(recording.created, document)]
        for t, kind, patch in recording.header.get("actions") or []:
            if kind == "so":
                edited = _merged(document, patch)
                stopped = stops(document["metadata"].get("annotations") or {})
                if edited["spec"] != document["spec"] or stopped:
                    starts.append((t, edited))
                document = edited
        for (start, document), (end, _) in zip(
            starts, [*starts[1:], (recording.end, None)], strict=True
        ):
            interval = max(document["spec"].get("pollingInterval", 30), slow)
            yield from polls(
                [t for t in times if start <= t < end or start == starts[0][0]],
                interval,
                start,
                end,
            )

    async def _step(self, kind: str, patch: Any) -> None:
        now = self._recording.epoch + self._now
        status = self._deployment.status(self._now, watched=kind != "sync")
        if kind == "so":
            self._document = _merged(self._document, patch)
            self._spec = spec_of(self._document)
            self._build()
            self._state, decision = reconcile(self._spec, status, self._state, now, self._settings)
        else:
            reader = {"poll": Reader.KEDA, "sync": Reader.HPA, "push": Reader.PUSH}[kind]
            hpa = self._state.hpa
            if reader is Reader.HPA and (hpa is None or now < hpa.created_at + 13.5):
                return  # a reconcile of the HPA that was there before
            wanted = triggers_to_read(self._spec, self._state, reader)
            readings = await self._readings(wanted, now)
            observation = Observation(reader, readings, status)
            result = evaluate(self._spec, observation, self._state, now, self._settings)
            decision = result.decision
            # a restart between any two steps changes nothing
            self._state = ScalingState.from_dict(result.state.to_dict())
        if decision.changes:
            self._deployment.scale(decision.replicas, self._now)

    async def _readings(self, wanted: Iterable[int], now: float) -> tuple[TriggerReading, ...]:
        found: list[TriggerReading] = []
        for index in wanted:
            trigger = self._triggers[index]
            if isinstance(trigger, external.ScriptedTrigger):
                trigger.now = self._now
            found += await read_all(trigger, now)
        return tuple(found)


def spec_of(document: Case) -> ScalingSpec:
    """A recorded ScaledObject as submitted. It was accepted, so nothing is checked."""
    given = document["spec"]
    advanced = given.get("advanced") or {}
    hpa = advanced.get("horizontalPodAutoscalerConfig") or {}
    return ScalingSpec(
        name=document["metadata"]["name"],
        target=ScaleTargetRef(given["scaleTargetRef"]["name"]),
        triggers=tuple(_trigger(index, t) for index, t in enumerate(given["triggers"])),
        polling_interval=given.get("pollingInterval", 30),
        cooldown_period=given.get("cooldownPeriod", 300),
        initial_cooldown_period=given.get("initialCooldownPeriod", 0),
        min_replica_count=given.get("minReplicaCount"),
        max_replica_count=given.get("maxReplicaCount"),
        idle_replica_count=given.get("idleReplicaCount"),
        fallback=_fallback(given.get("fallback")),
        behavior=behavior(hpa.get("behavior")),
        modifiers=_modifiers(advanced.get("scalingModifiers")),
        annotations=document["metadata"].get("annotations") or {},
    )


def _trigger(index: int, given: Case) -> TriggerSpec:
    return TriggerSpec(
        index,
        given["type"],
        metadata=given["metadata"],
        name=given.get("name", ""),
        metric_type=MetricType(given.get("metricType") or "AverageValue"),
        use_cached_metrics=given.get("useCachedMetrics", False),
    )


def _fallback(given: Case | None) -> Fallback | None:
    if not given:
        return None
    behavior_name = given.get("behavior") or "static"
    return Fallback(given["failureThreshold"], given["replicas"], behavior_name)


def _modifiers(given: Case | None) -> ScalingModifiers | None:
    if not given:
        return None
    return ScalingModifiers(
        given["formula"],
        float(given["target"]),
        float(given.get("activationTarget") or 0),
        MetricType(given.get("metricType") or "AverageValue"),
        given["target"],
    )


def _merged(document: Any, patch: Any) -> Any:
    """*document* after a JSON merge patch (RFC 7386): null takes away."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _compare(recorded: Trajectory, got: Trajectory, end: float) -> Iterator[str]:
    """Both as [(t, replicas)]. What lasted less than a second cannot be in the recording."""
    first_t, first_n = recorded[0]
    want = recorded[1:]
    have: Trajectory = []
    at_start = first_n
    for (t, n), (until, _) in zip(got, [*got[1:], (NEVER, 0)], strict=True):
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
        yield f"replicas {_shown(at_start, have)}\n     recorded {_shown(first_n, want)}"


def _shown(first: int, changes: Trajectory) -> str:
    return ", ".join([str(first), *(f"{n} at {t:.1f} s" for t, n in changes)])
