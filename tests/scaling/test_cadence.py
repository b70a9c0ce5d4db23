from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import InputError
from stoker.scaling.cadence import next_poll, next_sync
from stoker.scaling.decide import decide, reconcile
from stoker.scaling.fallback import settle
from stoker.scaling.numbers import milli_of_metric, quantity
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerReading
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import Fallback, ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState

SETTINGS = ControllerSettings()
SPEC = ScalingSpec(
    "llama", ScaleTargetRef("llama"), (TriggerSpec(0, "prometheus"),), polling_interval=30
)
ONE = TargetStatus(1, 1)


def test_keda_polls_at_creation_and_the_hpa_one_period_later() -> None:
    state, _ = reconcile(SPEC, ONE, ScalingState.new(100.5), 100.5, SETTINGS)

    assert next_poll(SPEC, state) <= 100.5
    assert next_sync(state, SETTINGS) == 115.5


def test_then_each_has_its_own_period() -> None:
    state, _ = reconcile(SPEC, ONE, ScalingState.new(100.0), 100.0, SETTINGS)
    for reader, now in ((Reader.KEDA, 100.2), (Reader.HPA, 115.3)):
        observation = Observation(reader, (), TargetStatus(0, 0))
        state, _ = decide(SPEC, observation, (), (), state, now, SETTINGS)

    assert next_poll(SPEC, state) == pytest.approx(130.2)
    assert next_sync(state, SETTINGS) == pytest.approx(130.3)


def test_a_change_of_the_spec_polls_at_once_and_an_annotation_does_not() -> None:
    state, _ = reconcile(SPEC, ONE, ScalingState.new(100.0), 100.0, SETTINGS)
    state, _ = decide(SPEC, Observation(Reader.KEDA, (), ONE), (), (), state, 101.0, SETTINGS)

    annotated = replace(SPEC, annotations={"note": "x"})
    state, _ = reconcile(annotated, ONE, state, 105.0, SETTINGS)
    assert next_poll(annotated, state) == 131.0

    edited = replace(annotated, max_replica_count=7)
    state, _ = reconcile(edited, ONE, state, 106.0, SETTINGS)
    assert next_poll(edited, state) <= 106.0


def test_a_paused_object_has_no_sync() -> None:
    paused = replace(SPEC, annotations={"autoscaling.keda.sh/paused": "true"})
    state, _ = reconcile(paused, ONE, ScalingState.new(100.0), 100.0, SETTINGS)

    assert next_sync(state, SETTINGS) is None


def test_a_failing_trigger_and_its_fallback_are_events() -> None:
    spec = replace(SPEC, fallback=Fallback(0, 2))
    state = ScalingState.new(0.0)
    seen = []
    for now, error in ((1.0, "it fails"), (31.0, "it fails"), (61.0, None), (91.0, None)):
        value = None if error else 1.0
        reading = TriggerReading(0, "s0-prometheus", value, 5.0, active=not error, error=error)
        observation = Observation(Reader.KEDA, (reading,), ONE)
        state, values = settle(spec, observation, state, now, SETTINGS)
        state, decision = decide(spec, observation, values, (), state, now, SETTINGS)
        seen.append([event.reason for event in decision.events])

    assert seen == [
        ["KEDAScalerFailed"],  # this poll changes Active, and so does not tell of the fallback
        ["KEDAScalerFailed", "ScaledObjectFallbackActivated"],
        ["ScaledObjectFallbackDeactivated"],
        [],
    ]


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="state version 99 is not 1"):
        ScalingState.from_dict({**ScalingState.new(0.0).to_dict(), "version": 99})


@pytest.mark.parametrize("version", ["", "2.0", "latest", "1.x"])
def test_a_kubernetes_version_has_to_be_one(version: str) -> None:
    with pytest.raises(InputError):
        ControllerSettings(kubernetes_version=version)


@pytest.mark.parametrize(
    ("value", "milli"),
    [(0.0004, 0), (0.0006, 1), (12.3456, 12346), (-1.0, 0), (1e15, 10**18), (9.3e15, 0), (1e18, 0)],
)
def test_a_metric_is_rounded_to_thousandths_and_lost_past_int64(value: float, milli: int) -> None:
    assert milli_of_metric(value) == milli


@pytest.mark.parametrize(
    ("milli", "text"),
    [(0, "0"), (3500, "3500m"), (5000, "5"), (12_000_000, "12k"), (1_500_000, "1500"), (-1, "-1m")],
)
def test_quantities_are_printed_as_kubernetes_prints_them(milli: int, text: str) -> None:
    assert quantity(milli) == text
