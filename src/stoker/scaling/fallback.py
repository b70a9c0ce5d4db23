"""From readings to values: KEDA's rounding, failure counts, fallback and formula.

Both readers count failures of a metric in the same place, so that with polls every 30 s and syncs
every 15 s there are three counts in 30 s. A value that a poll left for ``useCachedMetrics`` counts
as a success, even when it is itself a fallback value.

*Source*: ``pkg/fallback/fallback.go`` and ``pkg/scaling/scale_handler.go`` of KEDA 2.20.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.scaling import numbers
from stoker.scaling.cadence import sync_reads_metrics
from stoker.scaling.modifiers import compose, valid_fallback_target
from stoker.scaling.observation import (
    EACH_POD,
    Missing,
    Observation,
    Reader,
    TargetStatus,
    TriggerReading,
    TriggerValue,
)
from stoker.scaling.reasons import keda_condition
from stoker.scaling.records import quick, replace
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import RESOURCE_TRIGGERS, MetricType, ScalingSpec
from stoker.scaling.state import CachedRead, ScalingState, conditioned, with_health

_RACE = 0.02  # seconds that KEDA needs to write a count; seen: 4 ms apart count once


@quick
@dataclass(frozen=True, slots=True)
class _Read:
    """One metric of one trigger after fallback."""

    index: int
    name: str  # of the trigger, "" when it has none
    value: TriggerValue


def settle(
    spec: ScalingSpec,
    observation: Observation,
    state: ScalingState,
    now: float,
    settings: ControllerSettings,
) -> tuple[ScalingState, tuple[TriggerValue, ...]]:
    """What the readings mean after fallback and formula; the state counts the failures.

    With a formula there is one value, ``composite-metric``. A push has none, nor has a sync that
    finds the target at zero or out of its bounds: the HPA then asks for no metric.
    """
    if observation.reader is Reader.PUSH or _reads_nothing(spec, observation, state, settings):
        return state, ()
    if spec.is_hpa:
        # in the order of the file; KEDA's part, fallback and formula, is not there
        return state, tuple(
            _of_hpa(reading, observation.target) for reading in observation.readings
        )
    reads: list[_Read] = []
    native: list[TriggerValue] = []
    seen = set()
    for reading in observation.readings:
        seen.add(reading.index)
        if reading.type in RESOURCE_TRIGGERS:
            native.append(_native(reading))
            continue
        state, value = _with_fallback(spec, observation, state, reading, now)
        reads.append(_Read(reading.index, reading.trigger_name, value))
    state, from_cache = _cached(spec, state, seen)
    reads += from_cache
    reads.sort(key=lambda read: read.index)
    if observation.reader is Reader.HPA and spec.fallback is not None:
        state = with_fallback_condition(spec, state)
    state = _with_cache(spec, observation.reader, state, reads)
    values = tuple([read.value for read in reads])
    if observation.reader is Reader.KEDA:
        active = tuple(value.metric_name for value in values if value.active)
        if active != state.active_metrics:
            state = replace(state, active_metrics=active)
    if spec.modifiers is not None:
        named = tuple((read.name, read.value) for read in reads)
        # KEDA keeps Resource metrics beside the formula and loses those of a single container
        kept = tuple(value for value in native if value.kind == "Resource")
        return state, (compose(spec, named), *kept)
    if not native:
        return state, values
    # the HPA lists its metrics by type: ContainerResource, External, Resource
    return state, tuple(sorted((*native, *values), key=lambda value: value.kind))


def _cached(
    spec: ScalingSpec, state: ScalingState, seen: set[int]
) -> tuple[ScalingState, list[_Read]]:
    """What the last poll left of triggers that were not asked; each counts as a success."""
    reads = []
    for trigger in spec.triggers:
        if trigger.index in seen or not trigger.use_cached_metrics:
            continue
        for cached in state.cached:
            if cached.index == trigger.index:
                state = _counted(spec, state, cached.value.metric_name, failures=0)
                reads.append(_Read(trigger.index, trigger.name, cached.value))
    return state, reads


def _native(reading: TriggerReading) -> TriggerValue:
    """Cpu or memory: between the HPA and its metrics; KEDA neither counts nor replaces failures."""
    return TriggerValue(
        metric_name=reading.metric_name,
        value=reading.value,
        target=reading.target,
        metric_type=reading.metric_type,
        error=reading.error,
        resource=reading.resource,
    )


def _same_moment(observation: Observation, state: ScalingState, now: float) -> bool:
    """Whether the HPA reads while a poll is still writing: both then count from the same number."""
    if observation.reader is not Reader.HPA or state.last_poll is None:
        return False
    return 0.0 <= now - state.last_poll < _RACE


def _reads_nothing(
    spec: ScalingSpec, observation: Observation, state: ScalingState, settings: ControllerSettings
) -> bool:
    if observation.reader is not Reader.HPA:
        return False
    return not sync_reads_metrics(spec, state, observation.target, settings)


def _of_hpa(reading: TriggerReading, target: TargetStatus) -> TriggerValue:
    """A metric of a user's HPA. Of a Pods metric only the target's own pods count."""
    value, custom = _native(reading), reading.custom
    if custom is None:
        return value
    value = replace(value, custom=custom, milli=custom.milli)
    if custom.kind != "Pods":
        return value
    given = dict(custom.pods)
    every = given.get(EACH_POD)
    found = ((pod.name, given.get(pod.name, every)) for pod in target.pods)
    own = tuple((name, milli) for name, milli in found if milli is not None)
    return replace(value, per_pod_milli=own)


def _with_fallback(
    spec: ScalingSpec,
    observation: Observation,
    state: ScalingState,
    reading: TriggerReading,
    now: float,
) -> tuple[ScalingState, TriggerValue]:
    if reading.error is None and reading.value is not None:
        value = TriggerValue(
            metric_name=reading.metric_name,
            value=reading.value,
            target=reading.target,
            metric_type=reading.metric_type,
            active=reading.active,
            activation_threshold=reading.activation_threshold,
            milli=(numbers.milli_of_metric(reading.value),),
        )
        return _counted(spec, state, reading.metric_name, failures=0), value
    if reading.missing is not Missing.NOTHING:
        return state, _without_count(observation.reader, reading)
    failures = state.failures(reading.metric_name)
    if not _same_moment(observation, state, now) or failures == 0:
        failures += 1
    state = _counted(spec, state, reading.metric_name, failures=failures)
    value = TriggerValue(
        metric_name=reading.metric_name,
        value=None,
        target=reading.target,
        metric_type=reading.metric_type,
        activation_threshold=reading.activation_threshold,
        error=_told_error(observation.reader, reading),
    )
    milli = _fallback_milli(spec, observation.target, reading, failures)
    if milli is None:
        # what is nil in a formula counts as active from the same count on
        return state, replace(value, active=_is_nil(spec, failures))
    return state, replace(
        value, value=milli / 1000, milli=(milli,), error=None, active=True, is_fallback=True
    )


def _without_count(reader: Reader, reading: TriggerReading) -> TriggerValue:
    """A metric that an external scaler does not give, which no fallback can replace."""
    told = reading.missing is Missing.SPECS or reader is Reader.HPA
    return TriggerValue(
        metric_name=reading.metric_name,
        value=None,
        target=reading.target,
        metric_type=reading.metric_type,
        active=reading.active,
        activation_threshold=reading.activation_threshold,
        error=_told_error(reader, reading) if told else None,
    )


def _is_nil(spec: ScalingSpec, failures: int) -> bool:
    fallback = spec.fallback
    if spec.modifiers is None or fallback is None or fallback.behavior != "scalingModifiers":
        return False
    return failures > fallback.failure_threshold


def _told_error(reader: Reader, reading: TriggerReading) -> str:
    if reader is Reader.HPA:
        # all that the HPA is told by KEDA's adapter
        return (
            "rpc error: code = Unknown desc = error when getting metric values "
            f"metric:{reading.metric_name.lower()} encountered error"
        )
    return reading.error or "no answer"


def _fallback_milli(
    spec: ScalingSpec, target: TargetStatus, reading: TriggerReading, failures: int
) -> int | None:
    """What is reported instead of *reading*. None: there is no fallback, or not yet."""
    fallback = spec.fallback
    if fallback is None or failures <= fallback.failure_threshold:
        return None
    if spec.modifiers is not None and not valid_fallback_target(spec.modifiers):
        return None
    if spec.modifiers is not None and fallback.behavior == "scalingModifiers":
        return None
    replicas = float(_fallback_replicas(spec, target))
    metric_target, metric_type = reading.target, reading.metric_type
    if spec.modifiers is not None:
        metric_target, metric_type = spec.modifiers.target, spec.modifiers.metric_type
    if metric_type is MetricType.VALUE:
        if target.ready_pods == 0:
            return None
        replicas /= target.ready_pods
    return numbers.int64(metric_target * 1000 * replicas)


def _fallback_replicas(spec: ScalingSpec, target: TargetStatus) -> int:
    fallback = spec.fallback
    if fallback is None:
        return target.spec_replicas
    match fallback.behavior:
        case "currentReplicas":
            return target.spec_replicas
        case "currentReplicasIfHigher":
            return max(target.spec_replicas, fallback.replicas)
        case "currentReplicasIfLower":
            return min(target.spec_replicas, fallback.replicas)
        case _:
            return fallback.replicas


def _counted(
    spec: ScalingSpec, state: ScalingState, metric_name: str, *, failures: int
) -> ScalingState:
    """``status.health`` is kept only where there is a fallback."""
    return state if spec.fallback is None else with_health(state, metric_name, failures)


def with_fallback_condition(spec: ScalingSpec, state: ScalingState) -> ScalingState:
    """Whether a fallback is in force, as the condition says it; also where there is none to be."""
    in_force = spec.fallback is not None and any(
        health.number_of_failures > spec.fallback.failure_threshold for health in state.health
    )
    condition = (
        keda_condition("Fallback", "True", "FallbackExists")
        if in_force
        else keda_condition("Fallback", "False", "NoFallbackFound")
    )
    return conditioned(state, (condition,))


def _with_cache(
    spec: ScalingSpec, reader: Reader, state: ScalingState, reads: list[_Read]
) -> ScalingState:
    """A failed read of any trigger drops what was cached; a poll then stores what it has."""
    if not any(t.use_cached_metrics for t in spec.triggers) and not state.cached:
        return state
    if any(read.value.error is not None for read in reads):
        state = replace(state, cached=())
    if reader is not Reader.KEDA:
        return state
    wanted = {t.index for t in spec.triggers if t.use_cached_metrics}
    cached = tuple(
        CachedRead(read.index, read.value)
        for read in reads
        if read.index in wanted and read.value.error is None
    )
    return replace(state, cached=cached)
