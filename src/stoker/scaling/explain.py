"""What will happen next if nothing changes, in sentences."""

from __future__ import annotations

from collections.abc import Callable

from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
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
    raise NotImplementedError


def fill_times(sentence: str, show: Callable[[float], str]) -> str:
    """*sentence* with every ``{t:SECONDS}`` replaced by ``show(SECONDS)``."""
    raise NotImplementedError
