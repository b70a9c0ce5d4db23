from __future__ import annotations

import pytest

from stoker.recommenders.hpa import recommend
from stoker.scaling.observation import PodStatus, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import MetricType, ScaleTargetRef, ScalingSpec, TriggerSpec

SPEC = ScalingSpec("llama", ScaleTargetRef("llama"), (TriggerSpec(0, "prometheus"),))


def target(replicas: int, ready: int | None = None) -> TargetStatus:
    ready = replicas if ready is None else ready
    pods = tuple(PodStatus(f"p{n}", ready=n < ready) for n in range(replicas))
    return TargetStatus(replicas, replicas, pods)


@pytest.mark.parametrize(
    ("milli", "type_", "status", "replicas", "formula"),
    [
        (12_000, "AverageValue", target(1), 3, "ceil(12 / 5)"),
        (2_500, "AverageValue", target(1), 1, "ceil(2.5 / 5)"),
        (
            10_400,
            "AverageValue",
            target(2),
            2,
            "10.4 / 5 / 2 replicas = 1.04, within tolerance 0.1",
        ),
        (12_000, "Value", target(3, ready=2), 5, "ceil(12 / 5 * 2 ready)"),
        (5_200, "Value", target(3), 3, "5.2 / 5 = 1.04, within tolerance 0.1"),
    ],
)
def test_the_formula_is_what_a_person_would_write(
    milli: int, type_: str, status: TargetStatus, replicas: int, formula: str
) -> None:
    value = TriggerValue("s0-prometheus", milli / 1000, 5.0, MetricType(type_), milli=(milli,))

    (recommendation,) = recommend(SPEC, (value,), status, ControllerSettings())

    assert (recommendation.replicas, recommendation.formula) == (replicas, formula)


def test_an_error_is_told_in_the_words_of_the_controller() -> None:
    value = TriggerValue("s0-prometheus", None, 5.0, error="it fails")

    (recommendation,) = recommend(SPEC, (value,), target(1), ControllerSettings())

    assert recommendation.replicas is None
    assert recommendation.error == (
        "unable to get external metric default/s0-prometheus/&LabelSelector{MatchLabels:map[string]"
        "string{scaledobject.keda.sh/name: llama,},MatchExpressions:[]LabelSelectorRequirement{},}:"
        " "
        "unable to fetch metrics from external metrics API: it fails"
    )


@pytest.mark.parametrize("metric_type", [MetricType.AVERAGE_VALUE, MetricType.VALUE])
def test_at_zero_there_is_nothing_to_divide_by(metric_type: MetricType) -> None:
    value = TriggerValue("waiting", 12.0, 5.0, metric_type, milli=(12_000,))

    (recommendation,) = recommend(SPEC, (value,), target(0), ControllerSettings())

    assert recommendation.replicas == 3


@pytest.mark.parametrize(("version", "replicas"), [("1.36", 2**31 - 1), ("1.33", 0)])
def test_a_negative_sum_is_an_overflow_since_1_34(version: str, replicas: int) -> None:
    value = TriggerValue("composite-metric", -1.0, 5.0, milli=(-1_000,))
    settings = ControllerSettings(kubernetes_version=version)

    (recommendation,) = recommend(SPEC, (value,), target(1), settings)

    assert recommendation.replicas == replicas
