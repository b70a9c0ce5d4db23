"""``scalingModifiers``: one composite metric in the place of all triggers.

*Source*: ``pkg/scaling/modifiers/formula.go`` of KEDA 2.20.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from stoker.errors import InputError
from stoker.scaling import numbers
from stoker.scaling.formula import Formula
from stoker.scaling.observation import TriggerValue
from stoker.scaling.records import replace
from stoker.scaling.spec import ScalingModifiers, ScalingSpec

COMPOSITE_METRIC = "composite-metric"


def compose(spec: ScalingSpec, named: tuple[tuple[str, TriggerValue], ...]) -> TriggerValue:
    """The composite of *named* values: (name of the trigger, value).

    One trigger in fallback is enough for its fallback value to stand for the whole formula, except
    under ``behavior: scalingModifiers``, where a failed trigger is nil in the formula.
    """
    modifiers = spec.modifiers
    if modifiers is None:
        raise ValueError("there is no formula")
    composite = _composite(modifiers)
    for _, value in named:
        if value.is_fallback:
            return _with_milli(composite, value.milli[0], is_fallback=True)
    errors = [value.error for _, value in named if value.error is not None]
    nil_allowed = spec.fallback is not None and spec.fallback.behavior == "scalingModifiers"
    if errors and not nil_allowed:
        return replace(composite, error=errors[0])
    variables = {
        name: None if value.error is not None else sum(value.milli) / 1000
        for name, value in named
        if name
    }
    try:
        result = _parse(modifiers.formula).evaluate(variables)
    except InputError as error:
        return replace(composite, error=f"error trying to run custom formula: {error}")
    if result is None:
        if spec.fallback is None:
            return replace(composite, error="the formula gives nil")
        milli = numbers.int64(spec.fallback.replicas * modifiers.target * 1000)
        return _with_milli(composite, milli, is_fallback=True)
    # cut toward zero and, unlike a plain trigger, not raised to 0
    milli = 0 if math.isnan(result) else numbers.int64(result * 1000)
    found = _with_milli(composite, milli, is_fallback=bool(errors))
    # a trigger that fails makes the object inactive until its fallback is in force
    waiting = any(value.error is not None and not value.active for _, value in named)
    return replace(found, active=found.active and not waiting)


def _composite(modifiers: ScalingModifiers) -> TriggerValue:
    return TriggerValue(
        metric_name=COMPOSITE_METRIC,
        value=None,
        # the operator cuts the target to milli, it does not round it
        target=numbers.int64(modifiers.target * 1000) / 1000,
        metric_type=modifiers.metric_type,
        activation_threshold=modifiers.activation_target,
    )


def valid_fallback_target(modifiers: ScalingModifiers) -> bool:
    """KEDA parses the target of a formula as an integer here: "2.5" switches fallback off."""
    text = modifiers.target_text or numbers.plain(modifiers.target)
    return re.fullmatch(r"[+-]?\d+", text) is not None and int(text) > 0


def check_formula(formula: str, names: frozenset[str]) -> None:
    """Refuse what KEDA would refuse: a formula that does not compile with the trigger *names*.

    Raises:
        InputError: with the column in the formula.
    """
    _parse(formula).check(names)


@lru_cache(maxsize=256)
def _parse(formula: str) -> Formula:
    return Formula.parse(formula)


def _with_milli(composite: TriggerValue, milli: int, *, is_fallback: bool) -> TriggerValue:
    value = milli / 1000
    return replace(
        composite,
        value=value,
        milli=(milli,),
        is_fallback=is_fallback,
        active=value > composite.activation_threshold,
    )
