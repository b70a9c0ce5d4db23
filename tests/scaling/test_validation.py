"""What a cluster refuses: by its webhook, by its operator, or by both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.scaling.decide import reconcile
from stoker.scaling.observation import TargetStatus
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    Fallback,
    MetricType,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingSpec,
    TriggerSpec,
)
from stoker.scaling.state import ScalingState
from stoker.scaling.validation import problems

GOOD = ScalingSpec(
    "llama",
    ScaleTargetRef("llama"),
    (
        TriggerSpec(0, "prometheus", {"threshold": "5"}, name="a"),
        TriggerSpec(1, "prometheus", {"threshold": "5"}, name="b"),
    ),
)
CPU = TriggerSpec(0, "cpu", {"value": "60"}, name="c", metric_type=MetricType.UTILIZATION)
A, B = GOOD.triggers


def formula(text: str, target: float = 5.0) -> ScalingModifiers:
    return ScalingModifiers(text, target)


REFUSED = [
    pytest.param(
        replace(GOOD, min_replica_count=11, max_replica_count=10),
        "spec.minReplicaCount",
        "`spec.minReplicaCount` is 11, more than `spec.maxReplicaCount` 10",
        True,
        id="min above max",
    ),
    pytest.param(
        replace(GOOD, min_replica_count=101),
        "spec.minReplicaCount",
        "`spec.minReplicaCount` is 101, more than `spec.maxReplicaCount` 100 (its default)",
        True,
        id="min above the default of max",
    ),
    pytest.param(
        replace(GOOD, idle_replica_count=0),
        "spec.idleReplicaCount",
        "`spec.idleReplicaCount` is 0, it must be less than minReplicaCount 0",
        True,
        id="idle where min is left out",
    ),
    pytest.param(
        replace(GOOD, min_replica_count=0, idle_replica_count=1),
        "spec.idleReplicaCount",
        "`spec.idleReplicaCount` is 1, it must be less than minReplicaCount 1",
        True,
        id="idle 1 at an explicit min 0",
    ),
    pytest.param(
        replace(GOOD, triggers=(A, replace(B, name="a"))),
        "spec.triggers[1].name",
        'two triggers have the name "a", the other is `spec.triggers[0]`',
        True,
        id="two of a name",
    ),
    pytest.param(
        replace(GOOD, triggers=(A, TriggerSpec(1, "cron", use_cached_metrics=True))),
        "spec.triggers[1].useCachedMetrics",
        "a cron trigger cannot use cached metrics",
        True,
        id="cached cron",
    ),
    pytest.param(
        replace(GOOD, triggers=(replace(A, metric_type=MetricType.UTILIZATION),)),
        "spec.triggers[0].metricType",
        "metricType Utilization is for cpu and memory, not for prometheus",
        True,
        id="utilization of a query",
    ),
    *(
        pytest.param(
            replace(GOOD, triggers=(replace(A, metadata={"threshold": text}),)),
            "spec.triggers[0].metadata.threshold",
            f'`spec.triggers[0].metadata.threshold` must be a number above 0, not "{text}"',
            True,
            id=f"threshold {text}",
        )
        for text in ("0", "-1", "0.0004", "-0", "1e-9")
    ),
    *(
        pytest.param(
            replace(GOOD, modifiers=formula("a + b", target)),
            "spec.advanced.scalingModifiers.target",
            f'`spec.advanced.scalingModifiers.target` must be a number above 0, not "{target:g}"',
            True,
            id=f"formula target {target:g}",
        )
        for target in (0.0, -1.0, 0.0009)
    ),
    pytest.param(
        replace(GOOD, modifiers=formula("a + c")),
        "spec.advanced.scalingModifiers.formula",
        "the formula cannot be used: unknown name c (column 5)",
        True,
        id="unknown name",
    ),
    pytest.param(
        replace(GOOD, triggers=(CPU, B), modifiers=formula("b + c")),
        "spec.advanced.scalingModifiers.formula",
        "the formula cannot be used: unknown name c (column 5)",
        True,
        id="cpu in a formula",
    ),
    pytest.param(
        replace(GOOD, modifiers=formula("a > 1")),
        "spec.advanced.scalingModifiers.formula",
        "the formula cannot be used: expected a number, found bool (column 3)",
        True,
        id="a formula that is no number",
    ),
    pytest.param(
        replace(GOOD, modifiers=formula("a +")),
        "spec.advanced.scalingModifiers.formula",
        "the formula cannot be used: unexpected 'the end of the formula' (column 4)",
        True,
        id="half a formula",
    ),
    pytest.param(
        replace(GOOD, fallback=Fallback(3, 2, "scalingModifiers")),
        "spec.fallback.behavior",
        "fallback behavior scalingModifiers needs a formula",
        False,
        id="fallback of no formula",
    ),
    pytest.param(
        replace(GOOD, triggers=(CPU,)),
        "spec.triggers",
        "`spec.triggers` has only cpu and memory, which cannot wake from zero",
        False,
        id="cpu alone from zero",
    ),
    pytest.param(
        replace(GOOD, triggers=(CPU,), min_replica_count=1, fallback=Fallback(3, 2)),
        "spec.fallback",
        "a fallback needs a trigger that is not cpu or memory",
        False,
        id="fallback of cpu alone",
    ),
    pytest.param(
        replace(GOOD, name="x" * 64, horizontal_pod_autoscaler_name="short"),
        "metadata.name",
        f'the ScaledObject\'s name "{"x" * 64}" is longer than 63 characters',
        False,
        id="long name",
    ),
    pytest.param(
        replace(GOOD, name="x" * 55),
        "metadata.name",
        f'the HPA\'s name "keda-hpa-{"x" * 55}" is longer than 63 characters',
        False,
        id="long name of the HPA",
    ),
    pytest.param(
        replace(GOOD, horizontal_pod_autoscaler_name="y" * 64),
        "spec.advanced.horizontalPodAutoscalerConfig.name",
        f'the HPA\'s name "{"y" * 64}" is longer than 63 characters',
        False,
        id="long given name of the HPA",
    ),
    pytest.param(
        replace(GOOD, annotations={"autoscaling.keda.sh/paused-replicas": "-1"}),
        "metadata.annotations.autoscaling.keda.sh/paused-replicas",
        "annotation `autoscaling.keda.sh/paused-replicas: -1` must not be negative",
        True,
        id="paused below zero",
    ),
    pytest.param(
        replace(GOOD, annotations={"autoscaling.keda.sh/paused-replicas": "two"}),
        "metadata.annotations.autoscaling.keda.sh/paused-replicas",
        "annotation `autoscaling.keda.sh/paused-replicas: two` is not a whole number",
        True,
        id="paused at a word",
    ),
]


@pytest.mark.parametrize(("spec", "path", "message", "operator"), REFUSED)
def test_a_cluster_refuses(spec: ScalingSpec, path: str, message: str, operator: bool) -> None:
    (problem,) = problems(spec)
    shown = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem.path)

    assert (shown[1:], problem.message, problem.operator) == (path, message, operator)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(GOOD, id="plain"),
        pytest.param(replace(GOOD, min_replica_count=0, idle_replica_count=0), id="idle 0, min 0"),
        pytest.param(replace(GOOD, min_replica_count=3, idle_replica_count=2), id="idle below min"),
        pytest.param(replace(GOOD, min_replica_count=10, max_replica_count=10), id="min is max"),
        pytest.param(replace(GOOD, triggers=(CPU,), min_replica_count=1), id="cpu alone, min 1"),
        pytest.param(replace(GOOD, name="x" * 54), id="longest name"),
        pytest.param(replace(GOOD, modifiers=formula("a / (b - 3)")), id="divides by zero later"),
        pytest.param(replace(GOOD, modifiers=formula("a + b", 0.001)), id="smallest target"),
        pytest.param(
            replace(GOOD, triggers=(replace(A, metadata={"threshold": "0.0005"}),)),
            id="smallest threshold",
        ),
        pytest.param(
            replace(
                GOOD, modifiers=formula("a"), triggers=(replace(A, metadata={"threshold": "0"}),)
            ),
            id="threshold 0 under a formula",
        ),
        pytest.param(
            replace(GOOD, fallback=Fallback(3, 2, "scalingModifiers"), modifiers=formula("a ?? b")),
            id="fallback of a formula",
        ),
        pytest.param(
            replace(GOOD, triggers=(replace(A, name=""), replace(B, name=""))), id="two unnamed"
        ),
    ],
)
def test_a_cluster_accepts(spec: ScalingSpec) -> None:
    assert problems(spec) == ()


def test_what_the_operator_refuses_gets_no_hpa_until_it_is_put_right() -> None:
    bad = replace(GOOD, min_replica_count=11, max_replica_count=10)
    target, settings = TargetStatus(2, 2), ControllerSettings()

    state, decision = reconcile(bad, target, ScalingState.new(0.0), 0.0, settings)
    again, silent = reconcile(bad, target, state, 1.0, settings)
    mended, _ = reconcile(GOOD, target, again, 2.0, settings)

    assert state.hpa is None
    assert (decision.replicas, decision.reason) == (2, "ScaledObjectCheckFailed")
    assert {c.type: f"{c.status}/{c.reason}" for c in state.conditions} == {
        "Ready": "False/ScaledObjectCheckFailed",
        "Active": "Unknown/UnknownState",
        "Fallback": "False/NoFallbackFound",
        "Paused": "False/",
    }
    assert [event.reason for event in decision.events] == ["ScaledObjectCheckFailed"]
    assert silent.events == ()
    assert mended.hpa is not None
    ready = mended.condition("Ready")
    assert ready is not None
    assert ready.status == "True"


def test_what_only_the_webhook_refuses_runs_where_there_is_none() -> None:
    spec = replace(GOOD, name="x" * 55)

    state, decision = reconcile(
        spec, TargetStatus(2, 2), ScalingState.new(0.0), 0.0, ControllerSettings()
    )

    assert state.hpa is not None
    assert decision.reason == "ScaledObjectReady"
