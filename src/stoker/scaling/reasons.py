"""The sentence behind each reason, in the words of the HPA controller and of KEDA."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from stoker.scaling.decision import Condition, DecisionEvent

Status = Literal["True", "False", "Unknown"]

SENTENCES = {
    # the HPA, whether it can scale
    "SucceededGetScale": "the HPA controller was able to get the target's current scale",
    "ReadyForNewScale": "recommended size matches current size",
    "ScaleDownStabilized": "recent recommendations were higher than current one, "
    "applying the highest recent recommendation",
    "ScaleUpStabilized": "recent recommendations were lower than current one, "
    "applying the lowest recent recommendation",
    # the HPA, whether it has metrics
    "ScalingDisabled": "scaling is disabled since the replica count of the target is zero",
    # the HPA, whose zero it is (gate HPAScaleToZero)
    "ScaledToZero": "the HPA controller scaled the workload to zero",
    "NotScaledToZero": "the HPA controller did not scale the workload to zero",
    # the HPA, what limits it
    "DesiredWithinRange": "the desired count is within the acceptable range",
    "TooManyReplicas": "the desired replica count is more than the maximum replica count",
    "TooFewReplicas": "the desired replica count is less than the minimum replica count",
    "ScaleUpLimit": "the desired replica count is increasing faster than the maximum scale rate",
    "ScaleDownLimit": "the desired replica count is decreasing faster than the maximum scale rate",
    # KEDA, on the ScaledObject
    "ScaledObjectReady": "ScaledObject is defined correctly and is ready for scaling",
    "TriggerError": "Triggers defined in ScaledObject are not working correctly",
    "PartialTriggerError": "Some triggers defined in ScaledObject are not working correctly",
    "UnknownState": "",
    "ScalerActive": "Scaling is performed because triggers are active",
    "ScalerNotActive": "Scaling is not performed because triggers are not active",
    "ScalerCooldown": "Scaler cooling down because triggers are not active",
    "FallbackExists": "At least one trigger is falling back on this scaled object",
    "NoFallbackFound": "No fallbacks are active on this scaled object",
    "ScaledObjectPaused": "ScaledObject is paused",
    "ScaledObjectUnpaused": "pause annotation removed for ScaledObject",
}


@lru_cache(maxsize=1024)  # nearly every sync sets the same ones again
def hpa_condition(type_: str, status: Status, reason: str, message: str | None = None) -> Condition:
    """A condition of the HPA; the message is that of the reason unless given."""
    text = SENTENCES[reason] if message is None else message
    return Condition("HorizontalPodAutoscaler", type_, status, reason, text)


@lru_cache(maxsize=1024)
def keda_condition(
    type_: str, status: Status, reason: str, message: str | None = None
) -> Condition:
    """A condition of the ScaledObject; the message is that of the reason unless given."""
    text = SENTENCES[reason] if message is None else message
    return Condition("ScaledObject", type_, status, reason, text)


def hpa_event(type_: Literal["Normal", "Warning"], reason: str, message: str) -> DecisionEvent:
    """An event of the HPA controller."""
    return DecisionEvent(
        type_, reason, message, "HorizontalPodAutoscaler", "horizontal-pod-autoscaler"
    )


def keda_event(type_: Literal["Normal", "Warning"], reason: str, message: str) -> DecisionEvent:
    """An event of KEDA's operator."""
    return DecisionEvent(type_, reason, message, "ScaledObject", "keda-operator")
