"""What an external scaler does not give is no failure to KEDA, so that no fallback replaces it."""

from __future__ import annotations

import pytest

from stoker.scaling.fallback import settle
from stoker.scaling.observation import (
    Missing,
    Observation,
    Reader,
    TargetStatus,
    TriggerReading,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Fallback, ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState

SPEC = ScalingSpec(
    "so", ScaleTargetRef("so"), (TriggerSpec(0, "external"),), fallback=Fallback(0, 4)
)


@pytest.mark.parametrize(
    ("missing", "reader", "told"),
    [
        (Missing.SPECS, Reader.KEDA, True),
        (Missing.SPECS, Reader.HPA, True),
        (Missing.VALUES, Reader.KEDA, False),
        (Missing.VALUES, Reader.HPA, True),
    ],
)
def test_nothing_is_counted_and_who_is_told(missing: Missing, reader: Reader, told: bool) -> None:
    reading = TriggerReading(0, "s0-q", None, 5.0, active=True, error="none", missing=missing)
    observation = Observation(reader, (reading,), TargetStatus(1, 1))

    state, (value,) = settle(SPEC, observation, ScalingState.new(0.0), 15.0, ControllerSettings())

    assert state.failures("s0-q") == 0
    assert (value.error is not None, value.is_fallback, value.milli) == (told, False, ())
    assert value.active


def test_a_metric_that_fails_is_counted_and_replaced() -> None:
    reading = TriggerReading(0, "s0-q", None, 5.0, error="it fails")
    observation = Observation(Reader.HPA, (reading,), TargetStatus(1, 1))

    state, (value,) = settle(SPEC, observation, ScalingState.new(0.0), 15.0, ControllerSettings())

    assert state.failures("s0-q") == 1
    assert value.is_fallback
