"""Step 5 of the way of data: how many replicas there shall be.

Three things make KEDA and the HPA act: a poll, a sync and a push; :func:`decide` is for them. A
fourth is a change of the object itself; :func:`reconcile` is for that.
"""

from __future__ import annotations

import hashlib

from stoker.errors import InputError
from stoker.scaling import activation, horizontal
from stoker.scaling.annotations import (
    PAUSED_REPLICAS,
    PAUSED_SCALE_IN,
    PAUSED_SCALE_OUT,
    is_on,
    is_paused,
    paused_replicas,
)
from stoker.scaling.decision import Condition, Decision, DecisionEvent, Recommendation
from stoker.scaling.fallback import with_fallback_condition
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerValue
from stoker.scaling.reasons import SENTENCES, keda_condition, keda_event
from stoker.scaling.records import replace
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import HpaState, ScalingState, conditioned, with_conditions
from stoker.scaling.validation import problems


def decide(
    spec: ScalingSpec,
    observation: Observation,
    values: tuple[TriggerValue, ...],
    recommendations: tuple[Recommendation, ...],
    state: ScalingState,
    now: float,
    settings: ControllerSettings,
) -> tuple[ScalingState, Decision]:
    """What the reader of *observation* does about it. A PUSH needs no values."""
    target = observation.target
    if observation.reader is Reader.HPA:
        if state.hpa is None:
            message = "there is no HPA: the ScaledObject is paused"
            return state, _unchanged(target, "ScaledObjectPaused", message)
        hpa, decision = horizontal.sync(
            spec, target, values, recommendations, state.hpa, now, settings
        )
        return replace(state, hpa=hpa, last_values=values), decision
    if spec.is_hpa:
        # KEDA neither polls it nor activates it: at zero the HPA's own sync wakes it, or nobody
        return state, _unchanged(target, "ScalingDisabled", "KEDA has no part in this HPA")
    if observation.reader is Reader.KEDA:
        state = replace(state, last_poll=now)
    if is_paused(spec):
        ready = keda_condition("Ready", "True", "ScaledObjectReady")
        state = conditioned(state, (ready,))
        return state, replace(_paused(spec, target), conditions=(ready,))
    act = activation.push if observation.reader is Reader.PUSH else activation.poll
    before = state
    state, decision = act(spec, target, values, state, now)
    state = conditioned(state, decision.conditions)
    if observation.reader is Reader.KEDA:
        state = _with_hpa_active(state)
        if all(_same(before.condition(c.type), c) for c in decision.conditions):
            # otherwise KEDA writes all conditions from the copy it has read before the poll, and so
            # what this poll has found out of its fallback shows only after the next one
            state = with_fallback_condition(spec, state)
    return _with_trouble(state, decision, observation)


def reconcile(
    spec: ScalingSpec,
    target: TargetStatus,
    state: ScalingState,
    now: float,
    settings: ControllerSettings,  # noqa: ARG001 - the same arguments as decide
) -> tuple[ScalingState, Decision]:
    """What KEDA's operator does when an object is created, edited, paused or resumed.

    It makes or deletes the HPA, sets Ready and Paused, scales to ``paused-replicas``, and restarts
    the polling loop after a change of the spec. Calling it again changes nothing. What it cannot
    use, an annotation set by hand for example, makes Ready False.
    """
    if spec.is_hpa:
        if state.hpa is None:
            state = replace(state, hpa=HpaState(now), hpas_made=state.hpas_made + 1)
        return state, _unchanged(target, "ReadyForNewScale", "")
    if state.original_replicas is None:
        state = replace(state, original_replicas=target.spec_replicas, conditions=_INITIAL)
    digest = _digest(spec)
    if digest != state.spec_digest:
        # a new generation: the loop starts again, with a poll
        state = replace(state, spec_digest=digest, last_poll=None)
    refused = [problem for problem in problems(spec) if problem.operator]
    if refused:
        return _refuse(target, state, refused[0].message)
    if is_paused(spec):
        return _pause(spec, target, state)
    return _resume(spec, target, state, now)


# what KEDA writes before it has looked at anything
_INITIAL = (
    Condition("ScaledObject", "Ready", "Unknown", "", ""),
    Condition("ScaledObject", "Active", "Unknown", "", ""),
    Condition("ScaledObject", "Fallback", "Unknown", "", ""),
    Condition("ScaledObject", "Paused", "False", "", ""),
)


def _refuse(
    target: TargetStatus, state: ScalingState, message: str
) -> tuple[ScalingState, Decision]:
    """KEDA's operator makes no HPA, and leaves one that is there."""
    reason = "ScaledObjectCheckFailed"
    conditions = (
        keda_condition("Ready", "False", reason, message),
        keda_condition("Active", "Unknown", "UnknownState", "ScaledObject check failed"),
        keda_condition("Fallback", "False", "NoFallbackFound"),
    )
    ready = state.condition("Ready")
    told = ready is not None and ready.reason == reason and ready.message == message
    events = () if told else (keda_event("Warning", reason, message),)
    state = conditioned(state, conditions)
    decision = _unchanged(target, reason, message)
    return state, replace(decision, conditions=conditions, events=events)


def _pause(
    spec: ScalingSpec, target: TargetStatus, state: ScalingState
) -> tuple[ScalingState, Decision]:
    decision = _paused(spec, target)
    conditions = (keda_condition("Paused", "True", "ScaledObjectPaused"),)
    events: tuple[DecisionEvent, ...] = ()
    if state.hpa is not None or not _is_true(state.condition("Paused")):
        events = (keda_event("Normal", "ScaledObjectPaused", "ScaledObject is paused"),)
    state = replace(
        state,
        hpa=None,  # and with it what its controller remembers
        paused_replicas=paused_replicas(spec),
        conditions=with_conditions(state.conditions, conditions),
    )
    return state, replace(decision, conditions=conditions, events=events)


def _resume(
    spec: ScalingSpec, target: TargetStatus, state: ScalingState, now: float
) -> tuple[ScalingState, Decision]:
    conditions: list[Condition] = []
    events: list[DecisionEvent] = []
    if is_on(spec, PAUSED_SCALE_IN) or is_on(spec, PAUSED_SCALE_OUT):
        # one direction is enough for the condition, though both readers go on
        conditions.append(keda_condition("Paused", "True", "ScaledObjectPaused"))
    elif _is_true(state.condition("Paused")):
        conditions.append(keda_condition("Paused", "False", "ScaledObjectUnpaused"))
        events.append(
            keda_event("Normal", "ScaledObjectUnpaused", SENTENCES["ScaledObjectUnpaused"])
        )
    if state.hpa is None and state.hpas_made:
        state = replace(state, last_poll=None, paused_replicas=None)
    if state.hpa is None:
        made = state.hpas_made + 1
        state = replace(state, hpa=HpaState(now, generation=made), hpas_made=made)
    ready = state.condition("Ready")
    if ready is None or ready.reason in {"", "ScaledObjectCheckFailed"}:
        conditions.append(keda_condition("Ready", "True", "ScaledObjectReady"))
        events.append(
            keda_event("Normal", "ScaledObjectReady", "ScaledObject is ready for scaling")
        )
    state = conditioned(state, tuple(conditions))
    message = SENTENCES["ScaledObjectReady"]
    decision = _unchanged(target, "ScaledObjectReady", message)
    return state, replace(decision, conditions=tuple(conditions), events=tuple(events))


def _paused(spec: ScalingSpec, target: TargetStatus) -> Decision:
    reason = "ScaledObjectPaused"
    try:
        wanted = paused_replicas(spec)
    except InputError as error:
        return _unchanged(target, reason, error.message)
    if wanted is None:
        return _unchanged(target, reason, SENTENCES[reason])
    message = f"{SENTENCES[reason]} at {wanted} by `{PAUSED_REPLICAS}`"
    return replace(_unchanged(target, reason, message), replicas=wanted)


def _with_trouble(
    state: ScalingState, decision: Decision, observation: Observation
) -> tuple[ScalingState, Decision]:
    """*decision* with the events of failing triggers and of a fallback that comes or goes."""
    events = [
        keda_event("Warning", "KEDAScalerFailed", reading.error)
        for reading in observation.readings
        if reading.error is not None
    ]
    in_force = _is_true(state.condition("Fallback"))
    if in_force and not state.fallback_announced:
        message = "ScaledObject fallback is active"
        events.append(keda_event("Warning", "ScaledObjectFallbackActivated", message))
    if state.fallback_announced and not in_force:
        message = "ScaledObject fallback is no longer active"
        events.append(keda_event("Normal", "ScaledObjectFallbackDeactivated", message))
    if in_force != state.fallback_announced:
        state = replace(state, fallback_announced=in_force)
    return state, replace(decision, events=(*decision.events, *events)) if events else decision


def _with_hpa_active(state: ScalingState) -> ScalingState:
    """Mirror ScalingActive of the HPA as HPAActive on the ScaledObject, as KEDA's polls do."""
    active = state.condition("ScalingActive", "HorizontalPodAutoscaler")
    if active is None:
        return state
    if active.status == "True":
        shown = keda_condition("HPAActive", "True", "HPAActive", "HPA is actively scaling")
    elif active.reason == "ScalingDisabled":
        shown = keda_condition("HPAActive", "True", active.reason, active.message)
    else:
        message = f"HPA is not actively scaling: {active.message}"
        shown = keda_condition("HPAActive", "False", active.reason, message)
    return conditioned(state, (shown,))


def _unchanged(target: TargetStatus, reason: str, message: str) -> Decision:
    return Decision(target.spec_replicas, target.spec_replicas, reason, message)


def _same(old: Condition | None, new: Condition) -> bool:
    return old is not None and (old.status, old.reason) == (new.status, new.reason)


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _digest(spec: ScalingSpec) -> str:
    """A fingerprint of what raises ``metadata.generation``: all but annotations and labels."""
    text = repr(replace(spec, annotations={}, labels={}))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
