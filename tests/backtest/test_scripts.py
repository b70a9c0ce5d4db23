"""The decision scripts of tests/scaling once more, through the engine of a backtest.

Triggers are real ones there, asked at the times of the script, and replicas are those that the walk
made, except where a line says how many are ready or reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stoker.backtest.run import Plan, Walk
from stoker.errors import StokerError
from stoker.scaling.numbers import plain
from stoker.scaling.observation import Reader
from stoker.scaling.state import ScalingState
from stoker.triggers.base import QueryAnswer

from ..scaling import script as scripts  # noqa: TID252 - tests have no package to name

ALL = sorted((Path(scripts.__file__).parent / "testdata").glob("*.test"))
READERS = {"sync": Reader.HPA, "poll": Reader.KEDA, "push": Reader.PUSH}


@dataclass
class Said:
    """In the place of recorded metrics: what the line of the script says."""

    said: dict[str, str] = field(default_factory=dict)
    series: int = 0

    def query_for(self, trigger, _count):
        async def ask(_query, now):
            if trigger.name not in self.said:
                pytest.skip("a trigger that is asked says nothing in this script")
            text = self.said[trigger.name]
            if text == "error":
                raise StokerError("it fails")
            return QueryAnswer("vector", [{"metric": {}, "value": [now, text]}])

        return ask


@dataclass
class Dictated:
    """Replicas of which the script may say how many are ready or reported."""

    script: scripts.Script

    def scale(self, replicas, _now):
        self.script.replicas = replicas

    def status(self, _now):
        return self.script.target()


@dataclass
class Walked(scripts.Script):
    """A script whose steps are looks of a walk."""

    walk: Walk | None = None
    metrics: Said = field(default_factory=Said)

    def step(self, now, kind, said):
        self.metrics.said = said
        spec = replace(self.spec, triggers=tuple(map(self.real, self.spec.triggers)))
        if self.walk is None:
            plan = Plan(0.0, math.inf, self.replicas, settings=self.settings)
            self.walk = Walk(spec, self.metrics, plan, Dictated(self))
            self.walk.state = ScalingState.new(0.0)
            if kind != "reconcile":
                self.walk.edit(spec, 0.0)
        walk = self.walk
        if kind == "reconcile":
            decision = walk.edit(spec, now)
        else:
            walk.spec = spec
            decision = walk.look(READERS[kind], now).decision
        self.state = walk.state
        return decision

    def real(self, trigger):
        options = self.targets[trigger.name]
        metadata = {
            "serverAddress": "http://p.svc:9090",
            "query": trigger.name,
            "threshold": plain(options["target"]),
            "activationThreshold": plain(options["activation"]),
        }
        return replace(trigger, metadata=metadata)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_rule(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scripts, "Script", Walked)

    assert list(scripts.run(path)) == []
