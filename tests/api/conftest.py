from __future__ import annotations

from pathlib import Path

import pytest

from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec


@pytest.fixture
def a_spec():
    """Make a ScalingSpec of which only some fields matter."""

    def make(**fields):
        base = {
            "name": "llama",
            "target": ScaleTargetRef("llama"),
            "triggers": (TriggerSpec(0, "prometheus", {"threshold": "5"}),),
        }
        return ScalingSpec(**(base | fields))

    return make


@pytest.fixture
def recorded_empty():
    """What kubectl says when there is nothing."""
    return Path(__file__).parents[1] / "data" / "kubectl" / "empty"
