"""From readings to values: KEDA's rounding, failure counts, fallback and formula."""

from __future__ import annotations

from stoker.scaling.observation import Observation, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import ScalingState


def settle(
    spec: ScalingSpec,
    observation: Observation,
    state: ScalingState,
    now: float,
    settings: ControllerSettings,
) -> tuple[ScalingState, tuple[TriggerValue, ...]]:
    """What the readings mean after fallback and formula; the state counts the failures."""
    raise NotImplementedError
