"""Conditions of live recordings: what deviates, and for how long it may."""

from __future__ import annotations

from stoker.backtest.conformance.conditions import (
    HPA_CONDITIONS,
    KEDA_CONDITIONS,
    NO_HPA,
    condition_differences,
    conditions_of,
    recorded_conditions,
)
from stoker.scaling.state import ScalingState

CALM = {f"HPA {name}": "True/Calm" for name in HPA_CONDITIONS} | dict.fromkeys(
    KEDA_CONDITIONS, "True/Calm"
)


def differences(recorded, got, polling=5.0):
    return list(condition_differences(recorded, got, 0.0, polling))


def seconds(count, **changed):
    """A recording of *count* seconds; *changed* names a condition: value, first and last second."""
    rows = []
    for t in range(count):
        shown = dict(CALM)
        for name, (value, first, last) in changed.items():
            if first <= t <= last:
                shown[name.replace("_", " ")] = value
        rows.append((float(t), shown))
    return rows


def test_what_agrees_has_no_differences() -> None:
    assert differences(seconds(60), [(1.0, CALM)]) == []


def test_a_condition_of_the_hpa_may_not_deviate_for_three_seconds() -> None:
    recorded = seconds(60, HPA_ScalingActive=("False/FailedGetExternalMetric", 30, 36))

    assert differences(recorded, [(1.0, CALM)]) == [
        "HPA ScalingActive True/Calm at 30.0 s, recorded False/FailedGetExternalMetric"
    ]


def test_a_change_is_the_same_within_the_tolerance_and_not_beyond() -> None:
    later = {**CALM, "HPA ScalingLimited": "True/TooManyReplicas"}
    recorded = seconds(60, HPA_ScalingLimited=("True/TooManyReplicas", 30, 60))

    assert differences(recorded, [(1.0, CALM), (32.0, later)]) == []
    assert differences(recorded, [(1.0, CALM), (28.0, later)]) == []
    assert len(differences(recorded, [(1.0, CALM), (33.0, later)])) == 1
    assert len(differences(recorded, [(1.0, CALM), (26.0, later)])) == 1


def test_a_condition_of_keda_may_deviate_until_the_next_poll() -> None:
    got = [(1.0, CALM)]
    recorded = seconds(60, Ready=("Unknown/", 30, 35))
    longer = seconds(60, Ready=("Unknown/", 30, 39))

    assert differences(recorded, got) == []
    assert differences(longer, got) == ["Ready True/Calm at 30.0 s, recorded Unknown/"]
    assert differences(longer, got, polling=30.0) == []


def test_nothing_is_compared_before_the_first_sync() -> None:
    unsynced = {**CALM, "HPA AbleToScale": ""}
    recorded = seconds(60, Ready=("Unknown/", 0, 16))

    assert differences(recorded, [(1.0, unsynced), (15.0, CALM)]) == []
    assert len(differences(recorded, [(1.0, CALM)])) == 1


def test_rows_hold_until_the_next_one_in_either_form() -> None:
    rows = [
        {"t": 0.0, "hpa": None, "so": {"cond": {"Ready": "True/ScaledObjectReady"}}},
        {
            "t": 3.0,
            "hpa": {"cond": {"AbleToScale": ["True", "SucceededRescale"]}},
            "so": {"cond": {"Ready": ["False", "TriggerError", "a message"]}},
        },
    ]

    shown = list(recorded_conditions(rows, 5.0))

    assert [t for t, _ in shown] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert shown[2][1]["HPA AbleToScale"] == NO_HPA
    assert shown[2][1]["Ready"] == "True/ScaledObjectReady"
    assert shown[4][1]["HPA AbleToScale"] == "True/SucceededRescale"
    assert shown[4][1]["HPA ScalingActive"] == ""
    assert shown[4][1]["Ready"] == "False/TriggerError"


def test_an_object_without_an_hpa_says_so() -> None:
    shown = conditions_of(ScalingState.new(0.0))

    assert {shown[f"HPA {name}"] for name in HPA_CONDITIONS} == {NO_HPA}
    assert {shown[name] for name in KEDA_CONDITIONS} == {""}
