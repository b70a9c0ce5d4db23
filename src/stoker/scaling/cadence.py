"""When the two readers look: pure functions of what was.

KEDA polls once at creation and then every ``pollingInterval``. The HPA controller syncs one period
after the HPA was made, and then one period after the end of each sync.
"""

from __future__ import annotations

from stoker.scaling.observation import Reader
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import RESOURCE_TRIGGERS, ScalingSpec
from stoker.scaling.state import ScalingState


def next_poll(spec: ScalingSpec, state: ScalingState) -> float:
    """When KEDA polls next. A time that has passed means now."""
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
    if reader is Reader.PUSH:
        return ()
    if reader is Reader.KEDA:
        return tuple(t.index for t in spec.triggers if t.type not in RESOURCE_TRIGGERS)
    cached = {c.index for c in state.cached}
    return tuple(t.index for t in spec.triggers if not (t.use_cached_metrics and t.index in cached))
