"""What `stoker render` prints is read as what it was printed from."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.api.rendering import render
from stoker.resources.bundle import Application, Bundle, inspect
from stoker.scaling.spec import ScalingSpec
from stoker.ui.yamltext import to_yaml_stream

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted([*EXAMPLES.rglob("*.yaml"), EXAMPLES / "04-kserve-scaled-object"])

quantities = st.one_of(st.integers(1, 500), st.sampled_from(["5", "0.5", "500m", "2k"]))
queries = st.sampled_from(
    ["sum(vllm:num_requests_running)", 'sum(rate(a{b="c: d"}[1m])) # e', "max(x) or vector(0)"]
)
prometheus = st.builds(
    lambda query, value, kind: {
        "type": "External",
        "external": {
            "metric": {"backend": "prometheus", "serverAddress": "http://p:9090", "query": query},
            "target": {"type": kind, "value": str(value), "averageValue": str(value)},
        },
    },
    queries,
    quantities,
    st.sampled_from(["Value", "AverageValue"]),
)
cpu = st.builds(
    lambda percent: {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent},
        },
    },
    st.integers(1, 100),
)
windows = st.fixed_dictionaries(
    {},
    optional={
        direction: st.fixed_dictionaries({"stabilizationWindowSeconds": st.integers(0, 3600)})
        for direction in ("scaleUp", "scaleDown")
    },
)
texts = st.text("abc-_.:#'\" ${}\\\n\té,[]&*!|>%@", max_size=12)


@st.composite
def inference_services(draw: st.DrawFn) -> dict[str, Any]:
    """One that KServe accepts, scaled by KEDA."""
    least = draw(st.integers(1, 4))
    metrics = draw(st.lists(prometheus, min_size=1, max_size=3))
    if draw(st.booleans()):
        metrics.append(draw(cpu))
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "qwen",
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "keda",
                "note": draw(texts),
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": least,
                "maxReplicas": least + draw(st.integers(0, 5)),
                "autoScaling": {"metrics": metrics, "behavior": draw(windows)},
                "model": {
                    "modelFormat": {"name": "huggingface"},
                    "storageUri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
                    "args": ["--model_name=qwen", f"--chat-template={draw(texts)}"],
                    "env": [{"name": "A", "value": draw(texts)}],
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                },
            }
        },
    }


def _again(bundle: Bundle) -> Bundle:
    """What is read of what is printed."""
    text = to_yaml_stream(render(bundle).objects)
    reading = inspect(["-"], stdin=io.StringIO(text))
    assert (reading.unreadable, reading.refused) == ((), ())
    return reading.bundle


def _said(application: Application) -> tuple[object, ScalingSpec | None]:
    return replace(application.workload, origin=""), application.scaling


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_examples(file: Path) -> None:
    bundle = inspect([str(file)]).bundle
    again = _again(bundle)
    assert [_said(one) for one in again.applications] == [_said(one) for one in bundle.applications]
    assert [one.scaling for one in again.unattached] == [one.scaling for one in bundle.unattached]


@settings(max_examples=40, deadline=None)
@given(inference_services())
def test_any_inference_service(service: dict[str, Any]) -> None:
    reading = inspect(["-"], stdin=io.StringIO(json.dumps(service)))
    assert reading.refused == ()
    (application,) = reading.bundle.applications
    (again,) = _again(reading.bundle).applications
    assert _said(again) == _said(application)
    predictor = service["spec"]["predictor"]
    assert application.scaling is not None
    assert application.scaling.max_replica_count == predictor["maxReplicas"]
    assert len(application.scaling.triggers) == len(predictor["autoScaling"]["metrics"])


def test_a_collector_is_read_where_pushes_are() -> None:
    file = EXAMPLES / "03-kserve" / "inference-service-otel.yaml"
    assert _again(inspect([str(file)]).bundle).skipped == ()
