"""The scripted external scaler of a live recording, asked by Stoker's own trigger.

A script says from when on each call is answered how. What was really called and when stands in a
``rpcs.jsonl`` beside the recordings, where there is one. Two addresses of the recorder mean
something: nobody listens at one, and the program behind the other was away for a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from stoker.backtest.conformance.recorded import Case, lines
from stoker.errors import StokerError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.external import ExternalTrigger

TYPES = ("external", "external-push")
_CALLS = ("rpcs.jsonl", "rpcs.jsonl.gz")
_NOBODY = ":19799"
_AWAY = ":19702"
_AWAY_FROM, _AWAY_UNTIL = 120.0, 180.0
_NEAR = 1.0  # seconds between a read and the calls that it made
_DEFAULTS: Mapping[str, Any] = {
    "active": False,
    "metrics": 0,
    "spec": {"specs": [{"metricName": "q", "targetSize": 5}]},
}


def calls_beside(path: Path, name: str) -> tuple[Case, ...]:
    """The recorded calls of ScaledObject *name* in the folder of *path* or the one above it."""
    return _calls(path.parent).get(name) or _calls(path.parent.parent).get(name, ())


@lru_cache(maxsize=4)
def _calls(folder: Path) -> Mapping[str, tuple[Case, ...]]:
    found: dict[str, list[Case]] = {}
    for file in (folder / name for name in _CALLS):
        for call in lines(file) if file.is_file() else ():
            found.setdefault(call["scaledobject"], []).append(call)
    return {name: tuple(calls) for name, calls in found.items()}


def read_times(calls: Sequence[Case]) -> list[float]:
    """When each read of a trigger was over: a call for activity ends it, or one that failed."""
    ends = []
    for call in calls:
        failed = isinstance(call["answer"], dict) and "error" in call["answer"]
        if call["rpc"] == "IsActive" or (call["rpc"] in ("GetMetrics", "GetMetricSpec") and failed):
            ends.append(float(call["t"]))
    return ends


def pushes(header: Case, calls: Sequence[Case]) -> list[float]:
    """When the scaler's stream said "active" and KEDA heard it."""
    if calls:
        sent = (c for c in calls if c["rpc"] == "StreamIsActive" and c["answer"] == {"sent": True})
        return [float(call["t"]) for call in sent]
    scripts = (header.get("external_script") or {}).values()
    return [float(t) for one in scripts for t, said in one.get("stream", ()) if said is True]


def slowest(header: Case) -> float:
    """Seconds that the scripts take to answer one read, at the worst."""
    scripts = (header.get("external_script") or {}).values()
    return sum(
        max((said["sleep"] for _, said in one.get(what, ()) if _sleeps(said)), default=0.0)
        for one in scripts
        for what in ("active", "metrics", "spec")
    )


def _sleeps(said: Any) -> bool:
    return isinstance(said, dict) and "sleep" in said


class ScriptedTrigger(ExternalTrigger):
    """An external trigger whose calls a script answers."""

    def __init__(
        self, spec: TriggerSpec, context: TriggerContext, script: Case, calls: Sequence[Case]
    ) -> None:
        # a memory of its own, as a live run gives one to each trigger
        super().__init__(spec, replace(context, memory={}))
        self.now = 0.0  # in the time of the recording
        self._script = script
        self._called = [float(call["t"]) for call in calls if call["rpc"] != "StreamIsActive"]

    async def _call(self, name: str, request: Any) -> Any:  # noqa: ARG002 - as its parent's
        """What the recorded scaler would have said."""
        from stoker.protocols import externalscaler_pb2 as pb  # noqa: PLC0415 - an extra

        if self._unreachable():
            raise StokerError("rpc error: code = Unavailable desc = connection refused")
        what = {"get_metric_spec": "spec", "get_metrics": "metrics", "is_active": "active"}[name]
        said = self._said(what)
        if isinstance(said, dict) and "code" in said:
            raise StokerError(f"rpc error: code = {said['code']} desc = {said.get('msg', '')}")
        if what == "active":
            return said.get("result", True) if isinstance(said, dict) else bool(said)
        if what == "spec":
            return pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(**s) for s in said["specs"]])
        values = said["values"] if isinstance(said, dict) else [_value(said)]
        return pb.GetMetricsResponse(metricValues=[pb.MetricValue(**_numbers(v)) for v in values])

    def _said(self, what: str) -> Any:
        script = self._script.get(what) or [[0, _DEFAULTS[what]]]
        said = script[0][1]
        for t, value in script:
            if t <= self.now:
                said = value
        return said

    def _unreachable(self) -> bool:
        if self.peer.address.endswith(_NOBODY):
            return True
        if not self.peer.address.endswith(_AWAY):
            return False
        if self._called:
            return not any(abs(t - self.now) < _NEAR for t in self._called)
        return _AWAY_FROM <= self.now < _AWAY_UNTIL


def _value(number: float) -> Case:
    whole = number == int(number)
    key = "metricValue" if whole else "metricValueFloat"
    return {"metricName": "q", key: int(number) if whole else number}


def _numbers(value: Case) -> dict[str, Any]:
    """JSON has no infinity: it is a text there."""
    return {k: float(v) if k == "metricValueFloat" else v for k, v in value.items()}
