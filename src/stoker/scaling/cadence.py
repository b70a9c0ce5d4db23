"""When the two readers look: pure functions of what was.

KEDA polls once at creation and then every ``pollingInterval``. The HPA controller syncs one period
after the HPA was made, and then one period after the end of each sync. An HPA that a user wrote is
nobody's to poll.
"""

from __future__ import annotations

import math

from stoker.scaling.observation import Reader, TargetStatus
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import RESOURCE_TRIGGERS, ScalingSpec
from stoker.scaling.state import HpaState, ScalingState

SCALED_TO_ZERO = "ScaledToZero"  # the condition by which an HPA knows its own zero from another's


def next_poll(spec: ScalingSpec, state: ScalingState) -> float:
    """When KEDA polls next. A time that has passed means now, infinity never."""
    if spec.is_hpa:
        return math.inf
    if state.last_poll is None:
        return state.created_at
    return state.last_poll + spec.polling_interval


def next_sync(state: ScalingState, settings: ControllerSettings) -> float | None:
    """When the HPA is synced next. None: there is no HPA."""
    if state.hpa is None:
        return None
    last = state.hpa.created_at if state.hpa.last_sync is None else state.hpa.last_sync
    return last + settings.sync_period


def triggers_to_read(spec: ScalingSpec, state: ScalingState, reader: Reader) -> tuple[int, ...]:
    """Indexes of the triggers whose source is asked.

    A push asks none. An HPA sync asks none while the target is at zero (the caller knows), nor
    those with ``useCachedMetrics`` that the last poll has read. A poll leaves cpu and memory to
    the HPA.
    """
    if reader is Reader.PUSH or (spec.is_hpa and reader is Reader.KEDA):
        return ()
    if reader is Reader.KEDA:
        return tuple([t.index for t in spec.triggers if t.type not in RESOURCE_TRIGGERS])
    cached = [c.index for c in state.cached]
    return tuple(
        [t.index for t in spec.triggers if not (t.use_cached_metrics and t.index in cached)]
    )


def sync_reads_metrics(
    spec: ScalingSpec, state: ScalingState, target: TargetStatus, settings: ControllerSettings
) -> bool:
    """Whether the HPA asks for metrics at all: not for a size out of its bounds, nor at zero.

    At zero it does so where the gate HPAScaleToZero is on and the HPA itself has brought the target
    there; a target that somebody else took to zero is switched off.
    """
    current = target.spec_replicas
    if current == 0:
        return wakes_by_itself(spec, state.hpa, settings)
    return spec.hpa_min_replicas <= current <= spec.max_replicas


def wakes_by_itself(spec: ScalingSpec, hpa: HpaState | None, settings: ControllerSettings) -> bool:
    """Whether the HPA looks for a reason to leave zero."""
    if not settings.scale_to_zero or hpa is None:
        return False
    scaled_to_zero = any(c.type == SCALED_TO_ZERO and c.status == "True" for c in hpa.conditions)
    return scaled_to_zero and (spec.has_object_or_external_metric or spec.hpa_min_replicas > 0)
