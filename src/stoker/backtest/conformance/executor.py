"""Recordings of KEDA's scale executor: many polls of one ScaledObject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stoker.backtest.conformance.recorded import Case
from stoker.scaling.decide import decide
from stoker.scaling.decision import Decision
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Fallback, ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState


def executor_differences(case: Case) -> Iterator[str]:
    """The polls of one case: size, conditions, ``lastActiveTime`` and events after each."""
    spec, settings = _spec(case), ControllerSettings()
    state = ScalingState.new(0.0)
    for step in case["steps"]:
        values = [TriggerValue("s0-prometheus", 1.0, 1.0, active=step["active"], milli=(1000,))]
        if step["error"]:
            values.append(TriggerValue("s1-prometheus", None, 1.0, error="boom"))
        target = TargetStatus(step["replicas"], step["replicas"])
        observation = Observation(Reader.KEDA, (), target)
        state, decision = decide(spec, observation, tuple(values), (), state, step["t"], settings)
        for field, value in _got(state, decision).items():
            if value != step.get(field):
                yield (
                    f"case {case['id']} t={step['t']} {case.get('annotations')}: "
                    f"{field} {value!r}, recorded {step.get(field)!r}"
                )


def _spec(case: Case) -> ScalingSpec:
    given = case["spec"]
    fallback = given.get("fallback")
    return ScalingSpec(
        name="d",
        target=ScaleTargetRef("d"),
        triggers=(TriggerSpec(0, "prometheus"),),
        min_replica_count=given.get("minReplicaCount"),
        max_replica_count=given.get("maxReplicaCount"),
        idle_replica_count=given.get("idleReplicaCount"),
        cooldown_period=given.get("cooldownPeriod", 300),
        initial_cooldown_period=given.get("initialCooldownPeriod", 0),
        fallback=Fallback(fallback["failureThreshold"], fallback["replicas"]) if fallback else None,
        annotations=case.get("annotations") or {},
    )


def _got(state: ScalingState, decision: Decision) -> dict[str, Any]:
    conditions = {
        c.type: f"{c.status}/{c.reason}" for c in state.conditions if c.of == "ScaledObject"
    }
    events = (e.reason for e in decision.events if e.reason.startswith("KEDAScaleTarget"))
    return {
        "desired": decision.replicas,
        "active_cond": conditions.get("Active", ""),
        "ready_cond": conditions.get("Ready", ""),
        "last_active": state.last_active,
        "events": "".join(events) or None,
    }
