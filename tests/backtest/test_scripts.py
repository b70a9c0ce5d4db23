"""The decision scripts of tests/scaling once more, through the engine of a backtest.

Triggers are real ones there, asked at the times of the script, and replicas are those that the walk
made. Scripts that say how many pods are ready or reported are about what a walk has by itself.
"""

from __future__ import annotations

import math
import re
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
ABOUT_PODS = re.compile(r"^at .*\b(ready|status)=", re.MULTILINE)
SCRIPTS = [path for path in ALL if not ABOUT_PODS.search(path.read_text())]
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
class Walked(scripts.Script):
    """A script whose steps are looks of a walk."""

    walk: Walk | None = None
    metrics: Said = field(default_factory=Said)

    def step(self, now, kind, said):
        self.metrics.said = said
        spec = replace(self.spec, triggers=tuple(map(self.real, self.spec.triggers)))
        if self.walk is None:
            plan = Plan(0.0, math.inf, self.replicas, settings=self.settings)
            self.walk = Walk(spec, self.metrics, plan)
            self.walk.state = ScalingState.new(0.0)
            if kind != "reconcile":
                self.walk.edit(spec, 0.0)
        walk = self.walk
        if walk.replicas.status(now).spec_replicas != self.replicas:
            walk.replicas.scale(self.replicas, now)  # somebody else did
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


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_rule(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scripts, "Script", Walked)

    assert list(scripts.run(path)) == []


def test_most_rules_are_run() -> None:
    assert len(SCRIPTS) > len(ALL) * 2 / 3
