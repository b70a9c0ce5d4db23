"""``behavior`` and metric targets of an autoscaling/v2 HorizontalPodAutoscaler.

Limits and defaults are those of the API server (Kubernetes 1.36).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stoker.errors import InputError
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import Int32, Model, describe
from stoker.scaling.spec import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    PolicyType,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
)


def _tolerance(value: Any) -> Any:
    if value is None:
        return None
    message = f"must be a quantity such as `0.05`, not {describe(value)}"
    is_number = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        quantity = parse_quantity(value if is_number else "")
    except InputError:
        raise ValueError(message) from None
    if quantity < 0:
        raise ValueError(f"must not be negative, not {value}")
    return float(quantity)


Tolerance = Annotated[float | None, BeforeValidator(_tolerance)]


class HPAScalingPolicy(Model):
    """At most *value* pods or percent in *periodSeconds*."""

    type: Literal["Pods", "Percent"]
    value: Annotated[Int32, Field(gt=0)]
    period_seconds: Annotated[Int32, Field(gt=0, le=1800)]


class HPAScalingRules(Model):
    """One direction."""

    stabilization_window_seconds: Annotated[Int32, Field(ge=0, le=3600)] | None = None
    select_policy: Literal["Max", "Min", "Disabled"] | None = None
    policies: list[HPAScalingPolicy] | None = None
    tolerance: Tolerance = None

    def rules(self, default: ScalingRules) -> ScalingRules:
        """With what the API server fills in. A user's policies replace the default ones wholly."""
        window = self.stabilization_window_seconds
        policies = tuple(
            ScalingPolicy(PolicyType(item.type), item.value, item.period_seconds)
            for item in self.policies or ()
        )
        return ScalingRules(
            default.stabilization_window_seconds if window is None else window,
            SelectPolicy(self.select_policy or default.select_policy),
            policies or default.policies,  # KEDA's client drops an empty list on its way to the HPA
            self.tolerance,
        )


class HPABehavior(Model):
    """Both directions. Absent and empty differ: see :class:`stoker.scaling.spec.Behavior`."""

    scale_up: HPAScalingRules | None = None
    scale_down: HPAScalingRules | None = None

    def behavior(self) -> Behavior:
        """The behaviour that the HPA controller gets."""
        return Behavior(
            (self.scale_up or HPAScalingRules()).rules(DEFAULT_SCALE_UP),
            (self.scale_down or HPAScalingRules()).rules(DEFAULT_SCALE_DOWN),
        )
