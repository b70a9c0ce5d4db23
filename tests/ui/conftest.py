from __future__ import annotations

import time
from pathlib import Path

import pytest

from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec

RECORDED = Path(__file__).parents[1] / "data" / "kubectl"


@pytest.fixture
def recorded() -> Path:
    """The folder of kubectl's recorded output."""
    return RECORDED


@pytest.fixture
def _utc(monkeypatch):
    """The time zone of the recordings."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


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
