"""What will happen next if nothing changes, in sentences.

Nothing is guessed: the HPA's next syncs are run with the recommendation of the last one until the
size changes, and KEDA's next poll after the cooldown is computed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from stoker.scaling.activation import cooldown_end
from stoker.scaling.annotations import (
    FORCE_ACTIVATION,
    PAUSED_SCALE_IN,
    PAUSED_SCALE_OUT,
    is_on,
    is_paused,
)
from stoker.scaling.cadence import next_poll, next_sync, wakes_by_itself
from stoker.scaling.modifiers import COMPOSITE_METRIC, valid_fallback_target
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.outlook import Outlook, look_ahead
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import RESOURCE_TRIGGERS, Fallback, ScalingSpec
from stoker.scaling.state import ScalingState


def explain_next(
    spec: ScalingSpec,
    state: ScalingState,
    values: tuple[TriggerValue, ...],
    target: TargetStatus,
    now: float,
    settings: ControllerSettings,
) -> tuple[str, ...]:
    """Sentences of what comes next. Times stand in them as ``{t:SECONDS}``: see fill_times."""
    current = target.spec_replicas
    if is_paused(spec):
        return (f"paused: stays at {current} until the annotation is removed",)
    if spec.is_hpa:
        return _of_hpa(spec, state, values, target, now, settings)
    sentences = [_trouble(spec, state, value, current) for value in values]
    active = _is_active(spec, state, values)
    if current == 0:
        sentences.append(_at_zero(spec, state, now, active=active))
    else:
        sentences.append(_resize(spec, state, values, target, now, settings))
        if not active:
            sentences.append(_to_zero_or_idle(spec, state, values, current, now))
    return tuple(sentence for sentence in sentences if sentence)


def _of_hpa(
    spec: ScalingSpec,
    state: ScalingState,
    values: tuple[TriggerValue, ...],
    target: TargetStatus,
    now: float,
    settings: ControllerSettings,
) -> tuple[str, ...]:
    """The HPA of a user: nobody but its own syncs changes anything."""
    current = target.spec_replicas
    if spec.ambiguous:
        return (f"stays at {current}: {spec.ambiguous}",)
    meanwhile = f"the HPA cannot go below {current} until it has"
    if current == 0:
        meanwhile = "it cannot wake the target until it has"
    sentences = [
        f"{value.metric_name} has no value: {meanwhile}"
        for value in values
        if value.error is not None
    ]
    if current > 0:
        resize = _resize(spec, state, values, target, now, settings)
        return tuple(s for s in (*sentences, resize) if s)
    if not wakes_by_itself(spec, state.hpa, settings):
        return ("stays at 0: somebody else took it there, so the HPA is off; scale it to 1",)
    sync = _at(max(next_sync(state, settings) or now, now))
    return (*sentences, f"stays at 0 until a metric asks for replicas; next HPA sync at {sync}")


def fill_times(sentence: str, show: Callable[[float], str]) -> str:
    """*sentence* with every ``{t:SECONDS}`` replaced by ``show(SECONDS)``."""
    return re.sub(r"\{t:([-0-9.e+]+)\}", lambda match: show(float(match[1])), sentence)


def _at(seconds: float) -> str:
    return f"{{t:{seconds:.3f}}}"


def _is_active(spec: ScalingSpec, state: ScalingState, values: tuple[TriggerValue, ...]) -> bool:
    """Whether KEDA would take the object for active at its next poll."""
    if spec.has_only_resource_triggers or is_on(spec, FORCE_ACTIVATION):
        return True
    if not values:  # nobody was asked just now: what the last poll found
        active = state.condition("Active")
        return active is not None and active.status == "True"
    return any(value.active for value in values)


def _trouble(
    spec: ScalingSpec, state: ScalingState, value: TriggerValue, current: int
) -> str | None:
    """What a value that is missing, or replaced, leads to. None: all is well."""
    name = value.metric_name
    if value.is_fallback and spec.fallback is not None:
        return f"{name} is replaced by the fallback, {_aim(spec.fallback)}, until it answers again"
    if value.error is None:
        return None
    if value.resource is not None:
        return f"{name} has no value: the HPA cannot go below {current} until it has"
    if spec.fallback is None:
        stays = f"cannot go below {current}" if current else "cannot wake it"
        return f"{name} fails and there is no fallback: {stays} until it answers"
    return _before_fallback(spec, spec.fallback, state, name, current)


def _before_fallback(
    spec: ScalingSpec, fallback: Fallback, state: ScalingState, name: str, current: int
) -> str:
    """A failing metric whose fallback is not in force: not yet, or never."""
    left = fallback.failure_threshold + 1 - _failures(state, name)
    if spec.modifiers is not None and not valid_fallback_target(spec.modifiers):
        target = spec.modifiers.target_text
        return f"{name} fails; KEDA ignores the fallback, for the target {target} is not whole"
    if left > 0:
        return (
            f"{name} fails: fallback {_aim(fallback)} after {left} more failed "
            f"{'read' if left == 1 else 'reads'} "
            f"(failureThreshold {fallback.failure_threshold})"
        )
    return f"{name} fails and its fallback cannot be computed: stays at {current}"


def _failures(state: ScalingState, name: str) -> int:
    """Failed reads so far; a formula fails with the worst of its triggers."""
    if name == COMPOSITE_METRIC:
        return max((health.number_of_failures for health in state.health), default=0)
    return state.failures(name)


def _aim(fallback: Fallback) -> str:
    """Where a fallback leads."""
    wanted = f"to {fallback.replicas} replicas"
    match fallback.behavior:
        case "currentReplicas":
            return "to the current replicas"
        case "currentReplicasIfHigher":
            return f"{wanted}, or the current ones if they are more"
        case "currentReplicasIfLower":
            return f"{wanted}, or the current ones if they are fewer"
        case _:
            return wanted


def _at_zero(spec: ScalingSpec, state: ScalingState, now: float, *, active: bool) -> str:
    if is_on(spec, PAUSED_SCALE_OUT):
        return f"stays at 0: {PAUSED_SCALE_OUT} is set"
    poll = _at(max(next_poll(spec, state), now))
    if active:
        return f"wakes to {max(spec.min_replicas, 1)} at the next poll, {poll}"
    if spec.idle_replica_count is None and spec.min_replicas > 0:
        return f"goes to {spec.min_replicas} (minReplicaCount) at the next poll, {poll}"
    return f"stays at 0 until a trigger is active; next poll at {poll}"


def _to_zero_or_idle(
    spec: ScalingSpec,
    state: ScalingState,
    values: tuple[TriggerValue, ...],
    current: int,
    now: float,
) -> str | None:
    """When KEDA's poll takes an inactive target down. None: it does not."""
    idle = spec.idle_replica_count
    can_fall = (idle is not None and current > idle) or spec.min_replicas == 0
    if not can_fall:
        return None
    failing = any(value.error is not None for value in values)
    if failing and (spec.fallback is None or spec.fallback.replicas != 0):
        return None
    goal = "zero" if idle in (None, 0) else f"{idle} (idleReplicaCount)"
    if is_on(spec, PAUSED_SCALE_IN):
        return f"does not scale to {goal}: {PAUSED_SCALE_IN} is set"
    end = cooldown_end(spec, state)
    poll = max(next_poll(spec, state), now)
    if poll <= end:
        poll += (math.floor((end - poll) / spec.polling_interval) + 1) * spec.polling_interval
    waits = f"cooldownPeriod {spec.cooldown_period:g}"
    if state.last_active is None:
        waits = f"initialCooldownPeriod {spec.initial_cooldown_period:g}"
    return f"scales to {goal} at {_at(poll)} ({waits}) if no trigger becomes active"


def _resize(
    spec: ScalingSpec,
    state: ScalingState,
    values: tuple[TriggerValue, ...],
    target: TargetStatus,
    now: float,
    settings: ControllerSettings,
) -> str | None:
    """When the HPA changes the size, with the recommendation of its last sync."""
    current, sync = target.spec_replicas, next_sync(state, settings)
    if state.hpa is None or sync is None:
        return "there is no HPA: nothing changes between 1 and the maximum"
    sync = max(now, sync)
    if not spec.hpa_min_replicas <= current <= spec.max_replicas:
        return _back_into_bounds(spec, state, current, sync, now)
    failing = [value for value in values if value.error is not None]
    if failing and len(failing) == len(values):
        return None
    outlook = look_ahead(spec, state.hpa, current, sync, settings)
    if outlook is None:
        return f"holds {current}; next HPA sync at {_at(sync)}"
    if failing and outlook.replicas <= current:
        return None
    return _told(outlook, current, made_at=state.hpa.current_replicas)


def _told(outlook: Outlook, current: int, made_at: int | None) -> str:
    why = f" ({outlook.why})" if outlook.why else ""
    if outlook.at is None:
        return f"holds {current}{why}"
    condition = "nothing changes"
    if made_at not in (None, current):
        # made for another size: at this one the ratio may be inside the tolerance, and under Value
        # the recommendation grows with the pods that are ready
        condition = f"the recommendation stays at {outlook.desired}"
    return f"holds {current} until {_at(outlook.at)}{why}, then {outlook.replicas} if {condition}"


def _back_into_bounds(
    spec: ScalingSpec, state: ScalingState, current: int, sync: float, now: float
) -> str:
    """The HPA corrects at its next sync; KEDA lifts to the minimum at a poll, idle mode aside."""
    if spec.is_hpa:
        bound = "maxReplicas" if current > spec.max_replicas else "minReplicas"
        goal = min(max(current, spec.hpa_min_replicas), spec.max_replicas)
        return f"goes to {goal} at the next sync, {_at(sync)} ({bound})"
    if current > spec.max_replicas:
        return f"goes to {spec.max_replicas} at the next sync, {_at(sync)} (maxReplicaCount)"
    poll = max(next_poll(spec, state), now)
    only_cpu = all(trigger.type in RESOURCE_TRIGGERS for trigger in spec.triggers)
    if spec.idle_replica_count is None and not only_cpu and poll < sync:
        return f"goes to {spec.min_replicas} at the next poll, {_at(poll)} (minReplicaCount)"
    return f"goes to {spec.hpa_min_replicas} at the next sync, {_at(sync)} (minReplicaCount)"
