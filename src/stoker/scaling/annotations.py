"""KEDA's annotations that pause or force an object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from stoker.errors import InputError
from stoker.scaling.spec import Behavior, ScalingSpec, SelectPolicy

PAUSED = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
PAUSED_SCALE_IN = "autoscaling.keda.sh/paused-scale-in"
PAUSED_SCALE_OUT = "autoscaling.keda.sh/paused-scale-out"
FORCE_ACTIVATION = "autoscaling.keda.sh/force-activation"

_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def is_on(spec: ScalingSpec, annotation: str) -> bool:
    """A switch: absent and Go's words for false are off, everything else, even "", is on.

    KEDA's switches mean nothing on an HPA.
    """
    if spec.is_hpa:
        return False
    return is_true(spec.annotations.get(annotation))


def is_true(value: str | None) -> bool:
    """What KEDA makes of the value of a switch."""
    return value is not None and value not in _FALSE


def is_paused(spec: ScalingSpec) -> bool:
    """Whether KEDA has stopped polling and deleted the HPA."""
    return not spec.is_hpa and stops(spec.annotations)


def stops(annotations: Mapping[str, str]) -> bool:
    """Whether *annotations* pause an object wholly, in both directions."""
    return PAUSED_REPLICAS in annotations or is_true(annotations.get(PAUSED))


def paused_replicas(spec: ScalingSpec) -> int | None:
    """``paused-replicas``; None: not there, replicas stay as they are.

    Raises:
        InputError: the annotation is not a 32-bit integer.
    """
    text = spec.annotations.get(PAUSED_REPLICAS)
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?\d+", text) or not -(2**31) <= int(text) < 2**31:
        raise InputError(
            f"annotation `{PAUSED_REPLICAS}: {text}` is not a whole number",
            hint='write the number of replicas in quotes: "2"',
        )
    return int(text)


def effective_behavior(spec: ScalingSpec) -> Behavior | None:
    """``behavior`` of the HPA that KEDA makes.

    Pausing one direction makes an absent behavior present, and so changes the algorithm.
    """
    if not spec.annotations:
        return spec.behavior
    pause_in, pause_out = is_on(spec, PAUSED_SCALE_IN), is_on(spec, PAUSED_SCALE_OUT)
    if not pause_in and not pause_out:
        return spec.behavior
    behavior = spec.behavior or Behavior()
    if pause_in:
        rules = replace(behavior.scale_down, select_policy=SelectPolicy.DISABLED)
        behavior = replace(behavior, scale_down=rules)
    if pause_out:
        rules = replace(behavior.scale_up, select_policy=SelectPolicy.DISABLED)
        behavior = replace(behavior, scale_up=rules)
    return behavior
