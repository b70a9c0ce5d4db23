"""From a recommendation to allowed replicas: the HPA's two algorithms.

Without ``behavior`` the highest recommendation of the last 300 s counts and one step may double
(or reach 4). With ``behavior`` there are windows in both directions and rate policies. They differ
in more than that: the first takes the maximum even *above* the current size, the second bounds the
current size; the first keeps a recommendation that is exactly as old as the window, the second
drops it.

*Source*: ``pkg/controller/podautoscaler/horizontal.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from stoker.scaling.records import quick, replace
from stoker.scaling.spec import Behavior, PolicyType, ScalingPolicy, ScalingRules, SelectPolicy
from stoker.scaling.state import HpaState, PastRecommendation, ScaleEvent

_T = TypeVar("_T")


@quick
@dataclass(frozen=True, slots=True)
class Bounds:
    """``minReplicas`` and ``maxReplicas`` of the HPA, and the size now."""

    minimum: int
    maximum: int
    current: int


@quick
@dataclass(frozen=True, slots=True)
class Normalised:
    """What is left of a recommendation after stabilisation and limits, and why."""

    replicas: int
    stabilized: int
    stabilized_reason: str
    limited_reason: str
    recommendations: tuple[PastRecommendation, ...]

    @property
    def limited(self) -> bool:
        """Whether a limit cut the stabilised recommendation."""
        return self.replicas != self.stabilized


def normalise(
    desired: int,
    bounds: Bounds,
    hpa: HpaState,
    behavior: Behavior | None,
    downscale_stabilization: float,
    now: float,
) -> Normalised:
    """Stabilise and limit *desired*; the recommendations are those to remember."""
    if behavior is None:
        return _normalise_plain(desired, bounds, hpa, downscale_stabilization, now)
    return _normalise_with_behavior(desired, bounds, hpa, behavior, downscale_stabilization, now)


def _normalise_plain(
    desired: int, bounds: Bounds, hpa: HpaState, window: float, now: float
) -> Normalised:
    past = hpa.recommendations or ()
    cutoff = now - window
    stabilized, outdated = desired, None
    for index, recommendation in enumerate(past):
        if recommendation.at < cutoff:
            outdated = index
        elif recommendation.replicas > stabilized:
            stabilized = recommendation.replicas
    limit = int(max(2.0 * bounds.current, 4.0))
    if bounds.maximum > limit:
        highest, reason = limit, "ScaleUpLimit"
    else:
        highest, reason = bounds.maximum, "TooManyReplicas"
    if stabilized < bounds.minimum:
        replicas, reason = bounds.minimum, "TooFewReplicas"
    elif stabilized > highest:
        replicas = highest
    else:
        replicas, reason = stabilized, "DesiredWithinRange"
    return Normalised(
        replicas=replicas,
        stabilized=stabilized,
        stabilized_reason="ReadyForNewScale" if stabilized == desired else "ScaleDownStabilized",
        limited_reason=reason,
        recommendations=_remember(past, outdated, PastRecommendation(desired, now)),
    )


def _normalise_with_behavior(
    desired: int, bounds: Bounds, hpa: HpaState, behavior: Behavior, default: float, now: float
) -> Normalised:
    past = hpa.recommendations or ()
    up_cutoff = now - (behavior.scale_up.stabilization_window_seconds or 0)
    down_window = behavior.scale_down.stabilization_window_seconds
    down_cutoff = now - (default if down_window is None else down_window)
    lowest, highest, outdated = desired, desired, None
    oldest = min(up_cutoff, down_cutoff)
    for index, recommendation in enumerate(past):
        at, replicas = recommendation.at, recommendation.replicas
        if at > up_cutoff and replicas < lowest:
            lowest = replicas
        if at > down_cutoff and replicas > highest:
            highest = replicas
        if at < oldest:
            outdated = index
    stabilized = min(max(bounds.current, lowest), highest)
    held = "ScaleUpStabilized" if desired >= bounds.current else "ScaleDownStabilized"
    replicas, reason = _limit_rate(stabilized, bounds, hpa, behavior, now)
    return Normalised(
        replicas=replicas,
        stabilized=stabilized,
        stabilized_reason="ReadyForNewScale" if stabilized == desired else held,
        limited_reason=reason,
        # the unstabilised value is remembered
        recommendations=_remember(past, outdated, PastRecommendation(desired, now)),
    )


def _limit_rate(
    stabilized: int, bounds: Bounds, hpa: HpaState, behavior: Behavior, now: float
) -> tuple[int, str]:
    current = bounds.current
    if stabilized > current:
        # never below the current size: earlier steps may have used up more than the policy has
        limit = max(scale_up_limit(current, hpa, behavior.scale_up, now), current)
        highest = min(bounds.maximum, limit)
        if stabilized > highest:
            return highest, "ScaleUpLimit" if bounds.maximum > limit else "TooManyReplicas"
    elif stabilized < current:
        limit = min(scale_down_limit(current, hpa, behavior.scale_down, now), current)
        lowest = max(bounds.minimum, limit)
        if stabilized < lowest:
            return lowest, "ScaleDownLimit" if bounds.minimum < limit else "TooFewReplicas"
    return stabilized, "DesiredWithinRange"


def scale_up_limit(current: int, hpa: HpaState, rules: ScalingRules, now: float) -> int:
    """The most that the policies of ``scaleUp`` allow at *now*."""
    if rules.select_policy is SelectPolicy.DISABLED:
        return current
    limits = []
    for policy in rules.policies:
        start = _period_start(current, hpa, policy, now)
        if policy.type is PolicyType.PODS:
            limits.append(start + policy.value)
        else:
            # in float64: 50 pods + 10 % are ceil(55.00000000000001) = 56
            limits.append(math.ceil(start * (1 + policy.value / 100)))
    if not limits:
        return current
    return min(limits) if rules.select_policy is SelectPolicy.MIN else max(limits)


def scale_down_limit(current: int, hpa: HpaState, rules: ScalingRules, now: float) -> int:
    """The least that the policies of ``scaleDown`` allow at *now*. ``Max`` is the most change."""
    if rules.select_policy is SelectPolicy.DISABLED:
        return current
    limits = []
    for policy in rules.policies:
        start = _period_start(current, hpa, policy, now)
        if policy.type is PolicyType.PODS:
            limits.append(start - policy.value)
        else:
            limits.append(int(start * (1 - policy.value / 100)))
    if not limits:
        return current
    return max(limits) if rules.select_policy is SelectPolicy.MIN else min(limits)


def store_event(hpa: HpaState, was: int, replicas: int, behavior: Behavior, now: float) -> HpaState:
    """*hpa* with the change from *was* to *replicas* remembered for the policies."""
    up = replicas > was
    events = hpa.scale_up_events if up else hpa.scale_down_events
    rules = behavior.scale_up if up else behavior.scale_down
    cutoff = now - max((p.period_seconds for p in rules.policies), default=0)
    outdated = _last_index(e.at < cutoff for e in events)
    stored = _remember(events, outdated, ScaleEvent(abs(replicas - was), now))
    if up:
        return replace(hpa, scale_up_events=stored)
    return replace(hpa, scale_down_events=stored)


def _period_start(current: int, hpa: HpaState, policy: ScalingPolicy, now: float) -> int:
    """The size at the start of the policy's period: events of both directions are undone."""
    cutoff = now - policy.period_seconds
    added = sum(e.change for e in hpa.scale_up_events if e.at > cutoff)
    removed = sum(e.change for e in hpa.scale_down_events if e.at > cutoff)
    return current - added + removed


def _last_index(flags: Iterable[bool]) -> int | None:
    return max((i for i, flag in enumerate(flags) if flag), default=None)


def _remember(kept: tuple[_T, ...], outdated: int | None, new: _T) -> tuple[_T, ...]:
    """The controller reuses the last outdated slot, so the order is not that of time."""
    if outdated is None:
        return (*kept, new)
    return (*kept[:outdated], new, *kept[outdated + 1 :])
