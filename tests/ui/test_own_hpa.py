"""An HPA that a user wrote, in the form of the API server and as kubectl prints it."""

from __future__ import annotations

import pytest

from stoker.api.kinds import HPA
from stoker.api.objects import horizontal_pod_autoscaler
from stoker.api.views import HpaView, MetricView
from stoker.scaling.spec import (
    HpaMetric,
    MetricType,
    ObjectReference,
    ScaleTargetRef,
    ScalingSpec,
    SpecKind,
    TriggerSpec,
)
from stoker.ui.describe import describe
from stoker.ui.printers import ObjectTable, TableOptions

pytestmark = pytest.mark.usefixtures("_utc")
T0 = 1_795_363_394.0
AVERAGE, VALUE, PERCENT = MetricType.AVERAGE_VALUE, MetricType.VALUE, MetricType.UTILIZATION
METRICS = (
    HpaMetric("Pods", "running", 2.0, AVERAGE, "2"),
    HpaMetric(
        "Object",
        "waiting",
        1.0,
        VALUE,
        "1",
        described_object=ObjectReference("Namespace", "llm", "v1"),
    ),
    HpaMetric("External", "queue", 5.0, AVERAGE, "5", match_labels={"topic": "a"}),
    HpaMetric("Resource", "cpu", 60.0, PERCENT, "60"),
    HpaMetric("ContainerResource", "memory", 2.0**30, AVERAGE, "1Gi", container="vllm"),
)
CURRENT = (1.5, 3.0, None, 0.25, 2.0**29)


def hpa(*chosen: int):
    metrics = [METRICS[i] for i in chosen]
    spec = ScalingSpec(
        "own",
        ScaleTargetRef("llama"),
        tuple(
            TriggerSpec(i, m.type, metric_type=m.target_type, metric=m)
            for i, m in enumerate(metrics)
        ),
        min_replica_count=1,
        max_replica_count=4,
        kind=SpecKind.HPA,
        labels={"app": "llama"},
    )
    views = tuple(
        MetricView(
            METRICS[i].name,
            METRICS[i].target or 0.0,
            METRICS[i].target_type,
            CURRENT[i],
            utilization=25 if METRICS[i].target_type is PERCENT else None,
        )
        for i in chosen
    )
    return horizontal_pod_autoscaler(
        HpaView(spec, T0, views, current_replicas=2, desired_replicas=2)
    )


def targets(found) -> str:
    line = ObjectTable(HPA, TableOptions(headers=False)).part([found], T0 + 60)
    return line.split("   ")[2].strip()


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ((0,), "1500m/2"),
        ((1,), "3/1"),
        ((2,), "<unknown>/5 (avg)"),
        ((3,), "cpu: 25%/60%"),
        ((4,), "memory: 536870912/1Gi"),
        ((0, 1, 2), "1500m/2, 3/1 + 1 more..."),
    ],
)
def test_targets_are_printed_as_for_each_type(chosen, shown) -> None:
    assert targets(hpa(*chosen)) == shown


def test_it_carries_what_its_author_wrote_and_nothing_of_keda() -> None:
    found = hpa(1, 2)

    assert found["metadata"]["labels"] == {"app": "llama"}
    assert found["spec"]["metrics"] == [
        {
            "object": {
                "describedObject": {"apiVersion": "v1", "kind": "Namespace", "name": "llm"},
                "metric": {"name": "waiting"},
                "target": {"type": "Value", "value": "1"},
            },
            "type": "Object",
        },
        {
            "external": {
                "metric": {"name": "queue", "selector": {"matchLabels": {"topic": "a"}}},
                "target": {"averageValue": "5", "type": "AverageValue"},
            },
            "type": "External",
        },
    ]
    assert [m["type"] for m in found["status"]["currentMetrics"]] == ["Object"]


def test_it_is_described_in_kubectls_words() -> None:
    text = describe(hpa(0, 1, 2, 3, 4), (), T0 + 60)

    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[lines.index("Metrics: ( current / target )") + 1 :][:5] == [
        '"running" on pods: 1500m / 2',
        '"waiting" on Namespace/llm (target value): 3 / 1',
        '"queue" (target average value): <unknown> / 5',
        "resource cpu on pods (as a percentage of request): 25% (250m) / 60%",
        'resource memory of container "vllm" on pods: 536870912 / 1Gi',
    ]
    assert "Min replicas: 1" in lines
