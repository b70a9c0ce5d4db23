"""What all recordings share: how lines are read, and Kubernetes' JSON as the core's types."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stoker.errors import InputError, Place
from stoker.scaling.observation import PodStatus
from stoker.scaling.spec import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    PolicyType,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
)

Case = Mapping[str, Any]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a ``.jsonl`` or ``.jsonl.gz`` file.

    Raises:
        InputError: the file cannot be read, or a line is not a JSON object.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise InputError("a line must be a JSON object", place=Place(str(path), number))
                yield found
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read: {error}", place=Place(str(path))) from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", place=Place(str(path), number)) from None


@cache
def milli(quantity: str) -> int:
    """Thousandths of ``1500m``, ``1.5`` or ``12``, as recordings write quantities."""
    if quantity.endswith("m"):
        return int(quantity[:-1])
    whole, _, fraction = quantity.partition(".")
    return int(whole) * 1000 + int((fraction + "000")[:3])


def rules(given: Case | None, default: ScalingRules) -> ScalingRules:
    """One direction of ``behavior``, what was left out filled in."""
    given = given or {}
    policies = given.get("policies")
    return ScalingRules(
        stabilization_window_seconds=given.get(
            "stabilizationWindowSeconds", default.stabilization_window_seconds
        ),
        select_policy=SelectPolicy(given.get("selectPolicy") or default.select_policy),
        policies=default.policies
        if policies is None
        else tuple(
            ScalingPolicy(PolicyType(p["type"]), p["value"], p["periodSeconds"]) for p in policies
        ),
        tolerance=None if given.get("tolerance") is None else milli(given["tolerance"]) / 1000,
    )


def behavior(given: Case | None) -> Behavior | None:
    """``behavior`` of an HPA; absent stays absent."""
    if given is None:
        return None
    return Behavior(
        rules(given.get("scaleUp"), DEFAULT_SCALE_UP),
        rules(given.get("scaleDown"), DEFAULT_SCALE_DOWN),
    )


def pods(count: int, ready: int) -> tuple[PodStatus, ...]:
    """``p0`` to ``p<count-1>``, the first *ready* of them Running and Ready, the others Pending."""
    return tuple(
        PodStatus(f"p{i}", phase="Running" if i < ready else "Pending", ready=i < ready)
        for i in range(count)
    )
