"""What the core answers: recommendations, a decision with its reason, conditions and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoker.scaling.records import quick


@quick
@dataclass(frozen=True, slots=True)
class Recommendation:
    """What one metric alone would want. *replicas* is None when the metric gave no answer.

    ``description`` is the metric in the HPA controller's words, for its conditions and events;
    ``current_milli`` is what ``status.currentMetrics`` shows of it.
    """

    metric_name: str
    replicas: int | None
    formula: str = ""  # as a person would write it down: `ceil(12 / 5)`
    error: str | None = None
    error_reason: str = "FailedGetExternalMetric"
    error_context: str = ""  # what the HPA controller puts before the error in its own messages
    description: str = ""
    current_milli: int | None = None
    current_utilization: int | None = None  # percent of the requests; of Utilization targets only


@quick
@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a ScaledObject or an HPA. ``of`` names the object that carries it."""

    of: Literal["ScaledObject", "HorizontalPodAutoscaler"]
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


@quick
@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """An event that follows from a decision, in the words of KEDA or of the HPA controller."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    about: Literal["ScaledObject", "HorizontalPodAutoscaler"]
    source: str  # keda-operator, horizontal-pod-autoscaler


@quick
@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there shall be, and why.

    ``desired`` is the number before stabilisation and limits, None when there was none to compute.
    ``conditions`` and ``events`` are only those that this step sets.
    """

    replicas: int
    was: int
    reason: str
    message: str
    desired: int | None = None
    conditions: tuple[Condition, ...] = ()
    events: tuple[DecisionEvent, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the target has to be scaled."""
        return self.replicas != self.was
