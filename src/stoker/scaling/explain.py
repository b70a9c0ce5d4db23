"""What will happen next if nothing changes, in sentences.

Nothing is guessed: the HPA's next syncs are run with the recommendation of the last one until the
size changes, and KEDA's next poll after the cooldown is computed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from stoker.scaling.activation import cooldown_end
from stoker.scaling.annotations import (
    FORCE_ACTIVATION,
    PAUSED_SCALE_IN,
    PAUSED_SCALE_OUT,
    effective_behavior,
    is_on,
    is_paused,
)
from stoker.scaling.behavior import Bounds, Normalised, normalise, store_event
from stoker.scaling.cadence import next_poll, next_sync
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Behavior, ScalingSpec
from stoker.scaling.state import HpaState, ScalingState

_FURTHEST = 7200.0  # the longest window is an hour; two are enough to see what follows


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
    failing = tuple(v.metric_name for v in values if v.error is not None)
    sentences = [_failing(spec, state, name, current) for name in failing]
    if current == 0:
        poll = max(next_poll(spec, state), now)
        if is_on(spec, PAUSED_SCALE_OUT):
            sentences.append(f"stays at 0: {PAUSED_SCALE_OUT} is set")
        elif not any(v.active for v in values):
            sentences.append(f"stays at 0 until a trigger is active; next poll at {_at(poll)}")
        return tuple(sentences)
    to_zero = _to_zero_or_idle(spec, state, values, current, now)
    resize = None if failing else _resize(spec, state, target, now, settings)
    return tuple(s for s in (*sentences, resize, to_zero) if s)


def fill_times(sentence: str, show: Callable[[float], str]) -> str:
    """*sentence* with every ``{t:SECONDS}`` replaced by ``show(SECONDS)``."""
    return re.sub(r"\{t:([-0-9.e+]+)\}", lambda match: show(float(match[1])), sentence)


def _at(seconds: float) -> str:
    return f"{{t:{seconds:.3f}}}"


def _failing(spec: ScalingSpec, state: ScalingState, name: str, current: int) -> str:
    if spec.fallback is None:
        return f"{name} fails and there is no fallback: cannot go below {current} until it answers"
    left = spec.fallback.failure_threshold + 1 - state.failures(name)
    if left > 0:
        return (
            f"{name} fails: fallback to {spec.fallback.replicas} replicas after {left} more "
            f"failed reads (failureThreshold {spec.fallback.failure_threshold})"
        )
    return f"{name} fails and its fallback cannot be computed: stays at {current}"


def _to_zero_or_idle(
    spec: ScalingSpec,
    state: ScalingState,
    values: tuple[TriggerValue, ...],
    current: int,
    now: float,
) -> str | None:
    """When KEDA's poll takes the target down. None: it does not."""
    idle = spec.idle_replica_count
    can_fall = current > idle if idle is not None else spec.min_replicas == 0
    if not can_fall or is_on(spec, FORCE_ACTIVATION):
        return None
    if any(v.active for v in values) or any(v.error is not None for v in values):
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
    target: TargetStatus,
    now: float,
    settings: ControllerSettings,
) -> str | None:
    """When the HPA changes the size, with the recommendation of its last sync."""
    hpa, first = state.hpa, next_sync(state, settings)
    current = target.spec_replicas
    if hpa is None or first is None:
        return None
    at = max(now, first)
    if not spec.hpa_min_replicas <= current <= spec.max_replicas:
        goal = min(max(current, spec.hpa_min_replicas), spec.max_replicas)
        return f"goes to {goal} at the next sync, {_at(at)} (outside its bounds)"
    desired = _last_recommendation(hpa)
    if desired is None:
        return f"first HPA sync at {_at(at)}"
    behavior = effective_behavior(spec)
    bounds = Bounds(spec.hpa_min_replicas, spec.max_replicas, current)
    why = ""
    settled = _settled_at(hpa, behavior, desired, settings)
    while at <= now + _FURTHEST:
        step = normalise(desired, bounds, hpa, behavior, settings.downscale_stabilization, at)
        if step.replicas != current:
            if behavior is not None:
                hpa = store_event(hpa, current, step.replicas, behavior, at)
            held = f"holds {current} until {_at(at)}" + (f" ({why})" if why else "")
            return f"{held}, then {step.replicas} if nothing changes"
        why = why or _holding(spec, step, settings)
        if at > settled:
            break
        hpa = replace(hpa, recommendations=step.recommendations)
        at += settings.sync_period
    return f"holds {current}" + (f" ({why})" if why else "")


def _settled_at(
    hpa: HpaState, behavior: Behavior | None, desired: int, settings: ControllerSettings
) -> float:
    """From when on every sync is like the one before: all that is remembered has run out.

    Recommendations of *desired* itself do not count, further syncs only add to them. A size that
    holds is thus known after one sync, not after the 480 of two hours.
    """
    window, period = settings.downscale_stabilization, 0.0
    if behavior is not None:
        rules = (behavior.scale_up, behavior.scale_down)
        window = max([window, *(r.stabilization_window_seconds or 0 for r in rules)])
        period = max([p.period_seconds for r in rules for p in r.policies], default=0)
    remembered = [r.at + window for r in hpa.recommendations or () if r.replicas != desired]
    events = (*hpa.scale_up_events, *hpa.scale_down_events)
    return max([*remembered, *(e.at + period for e in events)], default=0.0)


def _holding(spec: ScalingSpec, step: Normalised, settings: ControllerSettings) -> str:
    """The setting that keeps the size where it is."""
    behavior = effective_behavior(spec)
    if step.stabilized_reason == "ScaleUpStabilized" and behavior is not None:
        window = behavior.scale_up.stabilization_window_seconds or 0
        return f"scaleUp stabilizationWindowSeconds {window}"
    if step.stabilized_reason == "ScaleDownStabilized":
        given = behavior.scale_down.stabilization_window_seconds if behavior else None
        window_seconds = settings.downscale_stabilization if given is None else given
        return f"stabilizationWindowSeconds {window_seconds:g}"
    if step.limited_reason == "TooManyReplicas":
        return f"maxReplicaCount {spec.max_replicas}"
    if step.limited_reason == "TooFewReplicas":
        return f"minReplicas {spec.hpa_min_replicas}"
    if step.limited_reason in ("ScaleUpLimit", "ScaleDownLimit"):
        return "scaleUp policies" if step.limited_reason == "ScaleUpLimit" else "scaleDown policies"
    return ""


def _last_recommendation(hpa: HpaState) -> int | None:
    if not hpa.recommendations or hpa.last_sync is None:
        return None
    latest = max(hpa.recommendations, key=lambda r: r.at)
    return latest.replicas
