"""Step 5 of the way of data: how many replicas there shall be."""

from __future__ import annotations

from stoker.scaling.decision import Decision, Recommendation
from stoker.scaling.observation import Observation, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.scaling.state import ScalingState


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
    raise NotImplementedError


def reconcile(
    spec: ScalingSpec,
    target: TargetStatus,
    state: ScalingState,
    now: float,
    settings: ControllerSettings,
) -> tuple[ScalingState, Decision]:
    """What KEDA's operator does when an object is created, edited, paused or resumed.

    It makes or deletes the HPA, sets Ready and Paused, scales to ``paused-replicas``, and restarts
    the polling loop after a change of the spec.
    """
    raise NotImplementedError
