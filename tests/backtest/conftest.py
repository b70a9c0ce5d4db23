"""A ScaledObject, metrics and a walk through time, as short as a test needs them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.backtest import Metrics, Plan, ticks
from stoker.backtest.metrics import Column, Track
from stoker.scaling.spec import MetricType, ScaleTargetRef, ScalingSpec, TriggerSpec

SCALED_OBJECT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: llama-so}
spec:
  scaleTargetRef: {name: llama}
  minReplicaCount: 1
  maxReplicaCount: 10
  triggers:
    - type: prometheus
      name: queue
      metadata: {serverAddress: "http://p.svc:9090", query: "sum(waiting)", threshold: "5"}
"""


def trigger(index: int = 0, name: str = "", metric_type: str = "AverageValue") -> TriggerSpec:
    metadata = {"serverAddress": "http://p.svc:9090", "query": "sum(waiting)", "threshold": "5"}
    return TriggerSpec(
        index, "prometheus", metadata=metadata, name=name, metric_type=MetricType(metric_type)
    )


def a_spec(*triggers: TriggerSpec, **fields) -> ScalingSpec:
    spec = ScalingSpec(
        "llama-so",
        ScaleTargetRef("llama"),
        triggers or (trigger(),),
        min_replica_count=1,
        max_replica_count=10,
    )
    return replace(spec, **fields)


def metrics(*points: tuple[float, float | None], **options) -> Metrics:
    track = Track([t for t, _ in points], [v for _, v in points])
    return Metrics([Column("", (track,), "test")], **options)


def walk(spec, recorded, end, *, start=0.0, **plan):
    return list(ticks(spec, recorded, Plan(start, end, **plan)))


def sizes(found):
    """(time, replicas) of every look that changed them."""
    return [(t.time, t.decision.replicas) for t in found if t.decision.changes]


@pytest.fixture
def so_file(tmp_path):
    path = tmp_path / "so.yaml"
    path.write_text(SCALED_OBJECT)
    return path
