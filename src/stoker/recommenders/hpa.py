"""What the HPA's replica calculator proposes for each metric."""

from __future__ import annotations

from stoker.scaling.decision import Recommendation
from stoker.scaling.observation import TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec


def recommend(
    spec: ScalingSpec,
    values: tuple[TriggerValue, ...],
    target: TargetStatus,
    settings: ControllerSettings,
) -> tuple[Recommendation, ...]:
    """One recommendation a metric, in the order of the HPA's metrics."""
    raise NotImplementedError
