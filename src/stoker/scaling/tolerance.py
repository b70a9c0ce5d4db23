"""How far a ratio may be from 1 before the HPA acts."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.scaling.annotations import effective_behavior
from stoker.scaling.records import quick
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec


@quick
@dataclass(frozen=True, slots=True)
class Tolerance:
    """The band around 1. *directional* is the comparison of Kubernetes 1.33 and later."""

    up: float
    down: float
    directional: bool = True

    @classmethod
    def of(cls, spec: ScalingSpec, settings: ControllerSettings) -> Tolerance:
        """The controller's tolerance, or that of ``behavior`` where it counts."""
        up = down = settings.tolerance
        behavior = effective_behavior(spec)
        if behavior is not None and settings.behavior_tolerance:
            up = up if behavior.scale_up.tolerance is None else behavior.scale_up.tolerance
            down = down if behavior.scale_down.tolerance is None else behavior.scale_down.tolerance
        return cls(up, down, settings.directional_tolerance)

    def covers(self, ratio: float) -> bool:
        """Whether *ratio* is close enough to 1. NaN never is.

        At a ratio of exactly 1.1 the two comparisons differ: abs(1 - 1.1) is a little over 0.1.
        """
        if self.directional:
            return 1.0 - self.down <= ratio <= 1.0 + self.up
        return abs(1.0 - ratio) <= self.up

    def __str__(self) -> str:
        if self.up == self.down:
            return f"within tolerance {self.up:g}"
        return f"within tolerance -{self.down:g}/+{self.up:g}"
