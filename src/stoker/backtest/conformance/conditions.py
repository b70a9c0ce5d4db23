"""Conditions over time: what a live recording shows of an HPA and a ScaledObject, and the core's.

The recording looks once a second. A condition agrees where the core has it within 2.5 s of the
look. Those of a ScaledObject are written by KEDA's poll, its answer to the HPA, and its reconciler,
each from its own copy of the object; where two of them meet, what one leaves behind stays until the
next poll. A deviation of a ScaledObject's condition therefore counts once it outlasts one.

Compared is what follows the first sync of the HPA: the recorded control planes made dozens of
objects at once, and how long that took them says nothing of a decision.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stoker.backtest.conformance.recorded import Case
from stoker.scaling.decision import Condition
from stoker.scaling.state import ScalingState

TOLERANCE = 2.5  # seconds
HPA_CONDITIONS = ("AbleToScale", "ScalingActive", "ScalingLimited")
KEDA_CONDITIONS = ("Ready", "Active", "Fallback", "Paused", "HPAActive")
NO_HPA = "no HPA"
_LATE = 20.0  # seconds after creation: an object without an HPA has settled

Conditions = Mapping[str, str]  # by name: "True/ReadyForNewScale"; "" is not set yet
Trace = Sequence[tuple[float, Conditions]]


def conditions_of(state: ScalingState) -> Conditions:
    """All conditions that the core would show now."""
    found = {f"HPA {name}": NO_HPA for name in HPA_CONDITIONS}
    if state.hpa is not None:
        of_hpa = {c.type: c for c in state.hpa.conditions}
        found = {f"HPA {name}": _text(of_hpa.get(name)) for name in HPA_CONDITIONS}
    return {**found, **{name: _text(state.condition(name)) for name in KEDA_CONDITIONS}}


def _text(condition: Condition | None) -> str:
    return "" if condition is None else f"{condition.status}/{condition.reason}"


def recorded_conditions(rows: Sequence[Case], until: float) -> Iterator[tuple[float, Conditions]]:
    """The recorded conditions once a second; a row holds until the next one."""
    for row, following in zip(rows, [*rows[1:], {"t": until}], strict=True):
        shown, at = _row(row), float(row["t"])
        while at < following["t"] or at == row["t"]:
            yield at, shown
            at += 1.0


def _row(row: Case) -> Conditions:
    hpa, scaled_object = row.get("hpa"), (row.get("so") or {}).get("cond") or {}
    of_hpa: Mapping[str, Any] = (hpa or {}).get("cond") or {}
    found = {f"HPA {name}": _given(of_hpa.get(name)) if hpa else NO_HPA for name in HPA_CONDITIONS}
    return {**found, **{name: _given(scaled_object.get(name)) for name in KEDA_CONDITIONS}}


def _given(value: Any) -> str:
    """A text, or a list of status, reason and message."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else "/".join(value[:2])


def condition_differences(
    recorded: Trace, got: Trace, created: float, polling_interval: float
) -> Iterator[str]:
    """One text for each condition that deviates, with the first time it does."""
    begin = _settled(got, created) + TOLERANCE
    times = [t for t, _ in got]
    samples = [sample for sample in recorded if sample[0] >= begin]
    if not got or not samples:
        return
    for name in (*(f"HPA {name}" for name in HPA_CONDITIONS), *KEDA_CONDITIONS):
        allowed = polling_interval + TOLERANCE if name in KEDA_CONDITIONS else 0.0
        found = _deviation(name, samples, got, times, allowed)
        if found is not None:
            t, wanted, has = found
            yield f"{name} {' or '.join(sorted(has))} at {t:.1f} s, recorded {wanted}"


def _settled(got: Trace, created: float) -> float:
    """When the HPA has been synced for the first time."""
    unsynced = {"", NO_HPA}
    synced = (t for t, shown in got if shown["HPA AbleToScale"] not in unsynced)
    return next(synced, created + _LATE)


def _deviation(
    name: str, samples: Trace, got: Trace, times: Sequence[float], allowed: float
) -> tuple[float, str, set[str]] | None:
    """The first deviation longer than *allowed*: since when, what is recorded, what is had."""
    since: float | None = None
    for t, shown in samples:
        has = _around(name, t, got, times)
        if shown[name] in has:
            since = None
            continue
        since = t if since is None else since
        if t - since >= allowed:
            return since, shown[name] or "nothing", has
    return None


def _around(name: str, t: float, got: Trace, times: Sequence[float]) -> set[str]:
    """What the core shows at some moment within the tolerance of *t*."""
    first = max(bisect_right(times, t - TOLERANCE) - 1, 0)
    return {shown[name] for _, shown in got[first : bisect_right(times, t + TOLERANCE)]}
