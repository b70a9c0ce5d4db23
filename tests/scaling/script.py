"""Reads and runs decision scripts. A script tells one rule and reads aloud.

    # what the rule is
    spec      min=1 max=10 cooldown=60 fallback=3/4          the ScaledObject; again: an edit of it
    spec      formula="a + b" formula_target=5 formula_type=Value formula_activation=2
    hpa                                                      it is an HPA, triggers its metrics
    behavior  scaleDown.window=30 scaleUp.policy=Pods/4/60   or `behavior {}`, or `behavior absent`
    annotate  autoscaling.keda.sh/paused=true                `key=` alone removes it
    trigger   queue target=5 type=Value activation=2 cached  in the order of `triggers`
    cluster   kubernetes_version=1.32 tolerance=0.2
    at 15s    sync queue=12 ready=1   expect 3 SucceededRescale ScalingActive=True/ValidMetricFound

Readers are sync (HPA), poll (KEDA), push, and reconcile (an edit is seen). A trigger says a number
or error. What is decided is fed back; replicas=, status= and ready= say otherwise. After expect
stand the replicas, the reason of the decision if it matters, and conditions that must hold. `at`
without expect says nothing about the result.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stoker.recommenders.hpa import recommend
from stoker.scaling.cadence import triggers_to_read
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.decision import Decision
from stoker.scaling.fallback import settle
from stoker.scaling.observation import (
    CustomMetric,
    Observation,
    PodStatus,
    Reader,
    TargetStatus,
    TriggerReading,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    Behavior,
    Fallback,
    HpaMetric,
    MetricType,
    PolicyType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingPolicy,
    ScalingRules,
    ScalingSpec,
    SelectPolicy,
    SpecKind,
    TriggerSpec,
)
from stoker.scaling.state import ScalingState

READERS = {"sync": Reader.HPA, "poll": Reader.KEDA, "push": Reader.PUSH}
NUMBERS = {
    "min": ("min_replica_count", int),
    "max": ("max_replica_count", int),
    "idle": ("idle_replica_count", int),
    "polling": ("polling_interval", float),
    "cooldown": ("cooldown_period", float),
    "initial_cooldown": ("initial_cooldown_period", float),
}


@dataclass
class Script:
    """One script while it runs."""

    spec: ScalingSpec
    settings: ControllerSettings = field(default_factory=ControllerSettings)
    state: ScalingState = field(default_factory=lambda: ScalingState.new(0.0))
    replicas: int = 1
    ready: int | None = None
    status: int | None = None
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def target(self) -> TargetStatus:
        ready = self.replicas if self.ready is None else self.ready
        count = self.replicas if self.status is None else self.status
        return TargetStatus(
            self.replicas,
            count,
            tuple(PodStatus(f"p{i}", ready=i < ready) for i in range(max(count, ready))),
        )

    def reading(self, trigger: TriggerSpec, said: str) -> TriggerReading:
        options = self.targets[trigger.name]
        value = None if said == "error" else float(said)
        if trigger.metric is not None:
            return self.metric(trigger, trigger.metric, value)
        return TriggerReading(
            index=trigger.index,
            metric_name=f"s{trigger.index}-prometheus",
            value=value,
            target=options["target"],
            active=value is not None and value > options["activation"],
            error="it fails" if value is None else None,
            metric_type=trigger.metric_type,
            activation_threshold=options["activation"],
            trigger_name=trigger.name,
        )

    def metric(
        self, trigger: TriggerSpec, metric: HpaMetric, value: float | None
    ) -> TriggerReading:
        """An External metric of an HPA."""
        milli = () if value is None else (round(value * 1000),)
        return TriggerReading(
            index=trigger.index,
            metric_name=metric.name,
            value=value,
            target=metric.target or 0.0,
            error="it fails" if value is None else None,
            metric_type=metric.target_type,
            type=metric.type,
            custom=CustomMetric(metric.type, milli=milli),
        )

    def step(self, now: float, kind: str, said: dict[str, str]) -> Decision:
        if kind == "reconcile":
            self.state, decision = reconcile(
                self.spec, self.target(), self.state, now, self.settings
            )
            return decision
        if self.state.hpas_made == 0 and self.state.original_replicas is None:
            self.state, _ = reconcile(self.spec, self.target(), self.state, 0.0, self.settings)
        reader = READERS[kind]
        wanted = triggers_to_read(self.spec, self.state, reader)
        readings = tuple(
            self.reading(t, said[t.name])
            for t in self.spec.triggers
            if t.index in wanted and t.name in said
        )
        target = self.target()
        observation = Observation(reader, readings, target)
        self.state, values = settle(self.spec, observation, self.state, now, self.settings)
        wants = recommend(self.spec, values, target, self.settings) if kind == "sync" else ()
        self.state, decision = decide(
            self.spec, observation, values, wants, self.state, now, self.settings
        )
        # a restart between any two steps changes nothing
        self.state = ScalingState.from_dict(self.state.to_dict())
        return decision


def run(path: Path) -> Iterator[str]:
    """What a script expected and did not get, one text a line of the script."""
    script = Script(ScalingSpec("llama", ScaleTargetRef("llama"), ()))
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "at":
            for problem in _at(script, words[1:]):
                yield f"{path.name}:{number}: {line.strip()}: {problem}"
        else:
            _set(script, words[0], words[1:])


def _at(script: Script, words: list[str]) -> Iterator[str]:
    expected = words[words.index("expect") + 1 :] if "expect" in words else []
    given = words[: words.index("expect")] if "expect" in words else words
    now = float(given[0].removesuffix("s"))
    said = dict(word.split("=", 1) for word in given[2:])
    script.replicas = int(said.pop("replicas", script.replicas))
    script.ready = int(said.pop("ready")) if "ready" in said else None
    script.status = int(said.pop("status")) if "status" in said else None
    unknown = set(said) - set(script.targets)
    assert not unknown, f"no trigger {unknown}"
    decision = script.step(now, given[1], said)
    script.replicas = decision.replicas
    if expected and decision.replicas != int(expected[0]):
        yield f"{decision.replicas} replicas ({decision.reason}: {decision.message})"
    for word in expected[1:]:
        type_, sign, wanted = word.partition("=")
        if not sign:
            if decision.reason != word:
                yield f"reason {decision.reason}"
            continue
        found = script.state.condition(type_) or script.state.condition(
            type_, "HorizontalPodAutoscaler"
        )
        shown = f"{found.status}/{found.reason}" if found else "not set"
        if shown != wanted:
            yield f"{type_} is {shown}"


def _set(script: Script, what: str, words: list[str]) -> None:
    if what == "behavior":
        script.spec = replace(script.spec, behavior=_behavior(words))
        return
    options = dict(word.partition("=")[::2] for word in words)
    if what == "cluster":
        kinds = {"kubernetes_version": str}
        script.settings = replace(
            script.settings, **{k: kinds.get(k, float)(v) for k, v in options.items()}
        )
    elif what == "annotate":
        annotations = {**script.spec.annotations, **options}
        kept = {k: v for k, v in annotations.items() if f"{k}=" not in words}
        script.spec = replace(script.spec, annotations=kept)
    elif what == "hpa":
        script.spec = replace(script.spec, kind=SpecKind.HPA)
    elif what == "trigger":
        name = words[0]
        known = {"target", "type", "activation", "cached"}
        assert set(options) - {name} <= known, options
        script.targets[name] = {
            "target": float(options.get("target", 5)),
            "activation": float(options.get("activation", 0)),
        }
        trigger = TriggerSpec(
            len(script.spec.triggers),
            "prometheus",
            name=name,
            metric_type=MetricType(options.get("type", "AverageValue")),
            use_cached_metrics="cached" in words,
        )
        if script.spec.is_hpa:
            target = script.targets[name]["target"]
            metric = HpaMetric("External", name, target, trigger.metric_type, f"{target:g}")
            trigger = replace(trigger, type="External", metric=metric)
        script.spec = replace(script.spec, triggers=(*script.spec.triggers, trigger))
    elif what == "spec":
        script.spec = replace(script.spec, **_spec_options(options))
    else:
        raise AssertionError(f"unknown word {what}")


def _spec_options(options: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in [k for k in options if k in NUMBERS]:
        name, kind = NUMBERS[key]
        found[name] = kind(options.pop(key))
    if "fallback" in options:
        threshold, count, *behavior = options.pop("fallback").split("/")
        found["fallback"] = Fallback(int(threshold), int(count), *behavior)
    if "formula" in options:
        text = options.pop("formula_target")
        found["modifiers"] = ScalingModifiers(
            options.pop("formula"),
            float(text),
            activation_target=float(options.pop("formula_activation", 0)),
            metric_type=MetricType(options.pop("formula_type", "AverageValue")),
            target_text=text,
        )
    assert not options, options
    return found


def _behavior(words: list[str]) -> Behavior | None:
    if words == ["absent"]:
        return None
    behavior = Behavior()
    policies: dict[str, list[ScalingPolicy]] = {}
    for word in [w for w in words if w != "{}"]:
        match = re.fullmatch(r"(scaleUp|scaleDown)\.(\w+)=(.+)", word)
        assert match, word
        side = {"scaleUp": "scale_up", "scaleDown": "scale_down"}[match[1]]
        rules: ScalingRules = getattr(behavior, side)
        if match[2] == "window":
            rules = replace(rules, stabilization_window_seconds=int(match[3]))
        elif match[2] == "select":
            rules = replace(rules, select_policy=SelectPolicy(match[3]))
        elif match[2] == "tolerance":
            rules = replace(rules, tolerance=float(match[3]))
        elif match[2] == "policy":
            kind, value, period = match[3].split("/")
            policies.setdefault(side, []).append(
                ScalingPolicy(PolicyType(kind), int(value), int(period))
            )
            rules = replace(rules, policies=tuple(policies[side]))
        else:
            raise AssertionError(word)
        behavior = replace(behavior, **{side: rules})
    return behavior
