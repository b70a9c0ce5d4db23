"""One poll of KEDA's operator: it owns 0, 1 and idle; the HPA owns the rest.

*Source*: ``RequestScale`` in ``pkg/scaling/executor/scale_scaledobjects.go`` of KEDA 2.20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.scaling.annotations import (
    FORCE_ACTIVATION,
    PAUSED_SCALE_IN,
    PAUSED_SCALE_OUT,
    is_on,
)
from stoker.scaling.decision import Decision, DecisionEvent
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.reasons import SENTENCES, Status, keda_condition, keda_event
from stoker.scaling.records import quick, replace
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import ScalingState


@quick
@dataclass(frozen=True, slots=True)
class _Step:
    """What one branch of the table answers. *ready* and *active* are reasons."""

    replicas: int
    reason: str
    message: str
    active: str
    ready: str = "ScaledObjectReady"
    refresh_last_active: bool = False
    events: tuple[DecisionEvent, ...] = ()


_READY: dict[str, Status] = {
    "ScaledObjectReady": "True",
    "TriggerError": "False",
    "PartialTriggerError": "Unknown",
}


def poll(
    spec: ScalingSpec,
    target: TargetStatus,
    values: tuple[TriggerValue, ...],
    state: ScalingState,
    now: float,
) -> tuple[ScalingState, Decision]:
    """What KEDA does after it has read all triggers. The caller has seen to pausing."""
    # cpu and memory never activate; where there is nothing else the object is always active
    active = spec.has_only_resource_triggers or any(value.active for value in values)
    error = any(value.error is not None for value in values)
    step = _choose(spec, target, values, state, now, active=active, error=error)
    return _apply(target, state, step, now)


def push(
    spec: ScalingSpec,
    target: TargetStatus,
    values: tuple[TriggerValue, ...],
    state: ScalingState,
    now: float,
) -> tuple[ScalingState, Decision]:
    """Somebody says "active" out of turn: 0 to 1 at once, and the cooldown starts anew."""
    step = _when_active(spec, target, values, error=False)
    return _apply(target, state, step, now)


def _choose(
    spec: ScalingSpec,
    target: TargetStatus,
    values: tuple[TriggerValue, ...],
    state: ScalingState,
    now: float,
    *,
    active: bool,
    error: bool,
) -> _Step:
    if active or is_on(spec, FORCE_ACTIVATION):
        return _when_active(spec, target, values, error=error)
    current, minimum = target.spec_replicas, spec.min_replicas
    if error and spec.fallback is not None and spec.fallback.replicas != 0:
        message = "a trigger fails and its fallback is not in force yet: replicas stay"
        return _Step(current, "TriggerError", message, "ScalerNotActive")
    if error and spec.fallback is None:
        reason = "TriggerError"
        return _Step(current, reason, SENTENCES[reason], "ScalerNotActive", ready=reason)
    idle = spec.idle_replica_count
    if (idle is not None and current > idle) or (current > 0 and minimum == 0):
        return _to_zero_or_idle(spec, current, state, now)
    if idle is None and current < minimum:
        message = f"scaled to minReplicaCount {minimum} at once, without cooldown"
        return _Step(minimum, "BelowMinReplicaCount", message, "ScalerNotActive")
    return _Step(current, "ScalerNotActive", SENTENCES["ScalerNotActive"], "ScalerNotActive")


def _when_active(
    spec: ScalingSpec, target: TargetStatus, values: tuple[TriggerValue, ...], *, error: bool
) -> _Step:
    current, minimum = target.spec_replicas, spec.min_replicas
    if (spec.idle_replica_count is not None and current < minimum) or current == 0:
        if is_on(spec, PAUSED_SCALE_OUT):
            message = f"`{PAUSED_SCALE_OUT}` holds {current} although a trigger is active"
            return _Step(current, "PausedScaleOut", message, "ScalerActive")
        replicas = max(minimum, 1)
        names = ", ".join(v.metric_name for v in values if v.active)
        message = f"Scaled {_full_name(spec)} from {current} to {replicas}"
        if names:
            message += f", triggered by {names}"
        event = keda_event("Normal", "KEDAScaleTargetActivated", message)
        return _Step(
            replicas,
            "KEDAScaleTargetActivated",
            message,
            "ScalerActive",
            refresh_last_active=True,
            events=(event,),
        )
    if error:
        # lastActive is left alone: once the good trigger falls silent there may be no cooldown
        reason = "PartialTriggerError"
        return _Step(current, reason, SENTENCES[reason], "ScalerActive", ready=reason)
    reason = "ScalerActive"
    return _Step(current, reason, SENTENCES[reason], reason, refresh_last_active=True)


def _to_zero_or_idle(spec: ScalingSpec, current: int, state: ScalingState, now: float) -> _Step:
    if is_on(spec, PAUSED_SCALE_IN):
        message = f"`{PAUSED_SCALE_IN}` holds {current} although no trigger is active"
        return _Step(current, "PausedScaleIn", message, "ScalerNotActive")
    if now <= cooldown_end(spec, state):
        reason = "ScalerCooldown"
        return _Step(current, reason, SENTENCES[reason], reason)
    idle = spec.idle_replica_count
    replicas = spec.min_replicas if idle is None else idle
    message = f"Deactivated {_full_name(spec)} from {current} to {replicas}"
    event = keda_event("Normal", "KEDAScaleTargetDeactivated", message)
    return _Step(
        replicas, "KEDAScaleTargetDeactivated", message, "ScalerNotActive", events=(event,)
    )


def cooldown_end(spec: ScalingSpec, state: ScalingState) -> float:
    """Until when an inactive object is kept up, this moment included."""
    if state.last_active is None:
        return state.created_at + spec.initial_cooldown_period
    return state.last_active + spec.cooldown_period


def _apply(
    target: TargetStatus, state: ScalingState, step: _Step, now: float
) -> tuple[ScalingState, Decision]:
    conditions = [keda_condition("Active", "True", step.active)]
    if step.active != "ScalerActive":
        conditions = [keda_condition("Active", "False", step.active)]
    # every poll sets Ready back to True first, also one that has failed and finds a fallback
    conditions.append(keda_condition("Ready", _READY[step.ready], step.ready))
    if step.refresh_last_active:
        # the API keeps whole seconds
        state = replace(state, last_active=float(math.floor(now)))
    decision = Decision(
        step.replicas,
        target.spec_replicas,
        step.reason,
        step.message,
        conditions=tuple(conditions),
        events=step.events,
    )
    return state, decision


def _full_name(spec: ScalingSpec) -> str:
    target = spec.target
    return f"{target.api_version}.{target.kind} {spec.namespace}/{target.name}"
