"""Rules about ``fallback``: when it never engages, and what it hides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.checks.base import Finding, Severity, Subject


def fallback_never_engages(subject: Subject) -> Iterator[Finding]:
    """A formula whose target is not a whole number."""
    fallback, modifiers = subject.scaling.fallback, subject.scaling.modifiers
    if fallback is None or modifiers is None or fallback.behavior == "scalingModifiers":
        return
    if modifiers.target_text.lstrip("+-").isdecimal():
        return
    text = (
        f"the fallback never engages: the formula's target {modifiers.target_text} is not whole",
        (
            "KEDA reads the target as an integer here, fails, and goes without a fallback. Ready "
            "stays True; only Active and the event KEDAMetricSourceFailed tell"
        ),
        "multiply formula and target so that the target is a whole number",
    )
    place = subject.place("advanced", "scalingModifiers", "target")
    yield subject.finding("fallback-never-engages", Severity.ERROR, text, place)


def activation_target_unread(subject: Subject) -> Iterator[Finding]:
    """An ``activationTarget`` of a formula that is no number."""
    path = ("advanced", "scalingModifiers", "activationTarget")
    node: Any = subject.manifest.content.get("spec")
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    if not isinstance(node, str) or not node or _is_number(node):
        return
    text = (
        f'activationTarget "{node}" is not a number',
        (
            "KEDA cannot say whether the formula is active: Ready is True, Active stays Unknown, "
            "and nothing goes to zero or wakes from it"
        ),
        'activationTarget: "0"',
    )
    place = subject.place(*path)
    yield subject.finding("activation-target-unread", Severity.ERROR, text, place)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text == text.strip()


def fallback_flaps_when_cached(subject: Subject) -> Iterator[Finding]:
    """``useCachedMetrics`` beside a fallback."""
    if subject.scaling.fallback is None:
        return
    for trigger in subject.scaling.triggers:
        if not trigger.use_cached_metrics:
            continue
        text = (
            "useCachedMetrics breaks the fallback",
            (
                "The HPA's read of the cached fallback value counts as a success and resets the "
                "failure counter: with a threshold of 3 it flaps every 15 s, with 6 it engages once"
            ),
            "leave out useCachedMetrics",
        )
        place = subject.place("triggers", trigger.index, "useCachedMetrics", key=True)
        edits = subject.edit("triggers", trigger.index, "useCachedMetrics")
        yield subject.finding("fallback-flaps-when-cached", Severity.WARNING, text, place, edits)


def fallback_is_not_zero(subject: Subject) -> Iterator[Finding]:
    """``fallback.replicas`` 0, which ends at one."""
    fallback = subject.scaling.fallback
    if fallback is None or fallback.replicas != 0 or fallback.behavior != "static":
        return
    text = (
        "a fallback of 0 replicas ends at 1",
        (
            "The HPA never goes below 1, and a fallback in force counts as activity, so that KEDA "
            "does not go to zero either"
        ),
        "replicas: 1 or more",
    )
    place = subject.place("fallback", "replicas")
    yield subject.finding("fallback-is-not-zero", Severity.WARNING, text, place)


def fallback_above_maximum(subject: Subject) -> Iterator[Finding]:
    """More fallback replicas than the maximum."""
    fallback, most = subject.scaling.fallback, subject.scaling.max_replicas
    if fallback is None or fallback.replicas <= most:
        return
    text = (
        f"fallback.replicas {fallback.replicas} is more than maxReplicaCount {most}",
        f"The HPA stops at {most}",
        f"replicas: {most}",
    )
    place = subject.place("fallback", "replicas")
    edits = subject.edit("fallback", "replicas", value=most)
    yield subject.finding("fallback-above-maximum", Severity.WARNING, text, place, edits)
