"""The HPA's next syncs, run ahead: when the size changes, to what, and what holds it until then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stoker.scaling.annotations import (
    PAUSED_SCALE_IN,
    PAUSED_SCALE_OUT,
    effective_behavior,
    is_on,
)
from stoker.scaling.behavior import Bounds, Normalised, normalise
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Behavior, ScalingSpec, SelectPolicy
from stoker.scaling.state import HpaState

_FURTHEST = 7200.0  # the longest window is an hour; two are enough to see what follows


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next change of size. *at* None: there is none."""

    desired: int  # the recommendation that is assumed to stay
    at: float | None
    replicas: int
    why: str  # the setting that holds the size until then, "" when nothing does


def look_ahead(
    spec: ScalingSpec, hpa: HpaState, current: int, sync: float, settings: ControllerSettings
) -> Outlook | None:
    """What follows from the last recommendation, from *sync* on. None: the last sync made none."""
    desired = _last_recommendation(hpa)
    if desired is None:
        return None
    behavior = effective_behavior(spec)
    bounds = Bounds(spec.hpa_min_replicas, spec.max_replicas, current)
    settled = _settled_at(hpa, behavior, desired, settings)
    at, why = sync, ""
    while at <= sync + _FURTHEST:
        step = normalise(desired, bounds, hpa, behavior, settings.downscale_stabilization, at)
        if step.replicas != current:
            return Outlook(desired, at, step.replicas, why)
        why = why or _holding(spec, step, settings)
        if at > settled:
            break
        hpa = replace(hpa, recommendations=step.recommendations)
        at += settings.sync_period
    return Outlook(desired, None, current, why)


def _settled_at(
    hpa: HpaState, behavior: Behavior | None, desired: int, settings: ControllerSettings
) -> float:
    """From when on every sync is like the one before: all that is remembered has run out.

    Recommendations of *desired* itself do not count, further syncs only add to them. A size that
    holds is thus known after one sync, not after the 480 of two hours.
    """
    window, period = settings.downscale_stabilization, 0.0
    if behavior is not None:
        rules = (behavior.scale_up, behavior.scale_down)
        window = max([window, *(r.stabilization_window_seconds or 0 for r in rules)])
        period = max([p.period_seconds for r in rules for p in r.policies], default=0)
    remembered = [r.at + window for r in hpa.recommendations or () if r.replicas != desired]
    events = (*hpa.scale_up_events, *hpa.scale_down_events)
    return max([*remembered, *(e.at + period for e in events)], default=0.0)


def _holding(spec: ScalingSpec, step: Normalised, settings: ControllerSettings) -> str:
    """The setting that keeps the size where it is."""
    behavior = effective_behavior(spec)
    if step.stabilized_reason == "ScaleUpStabilized" and behavior is not None:
        window = behavior.scale_up.stabilization_window_seconds or 0
        return f"scaleUp stabilizationWindowSeconds {window}"
    if step.stabilized_reason == "ScaleDownStabilized":
        given = behavior.scale_down.stabilization_window_seconds if behavior else None
        window_seconds = settings.downscale_stabilization if given is None else given
        return f"stabilizationWindowSeconds {window_seconds:g}"
    limits = {
        "TooManyReplicas": f"{'maxReplicas' if spec.is_hpa else 'maxReplicaCount'} "
        f"{spec.max_replicas}",
        "TooFewReplicas": f"minReplicas {spec.hpa_min_replicas}",
        "ScaleUpLimit": _rate(spec, up=True),
        "ScaleDownLimit": _rate(spec, up=False),
    }
    return limits.get(step.limited_reason, "")


def _rate(spec: ScalingSpec, *, up: bool) -> str:
    annotation, side = (PAUSED_SCALE_OUT, "scaleUp") if up else (PAUSED_SCALE_IN, "scaleDown")
    if is_on(spec, annotation):
        return annotation
    behavior = spec.behavior
    rules = None if behavior is None else behavior.scale_up if up else behavior.scale_down
    if rules is not None and rules.select_policy is SelectPolicy.DISABLED:
        return f"{side} selectPolicy Disabled"
    return f"{side} policies"


def _last_recommendation(hpa: HpaState) -> int | None:
    """What the last sync wanted; None: it read no metrics, or they gave nothing."""
    last = [r.replicas for r in hpa.recommendations or () if r.at == hpa.last_sync]
    # the first sync stores the size it found too, before what it wants
    return last[-1] if last else None
