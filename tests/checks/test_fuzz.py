"""Whatever stands in a file, `check` tells it: never a traceback, and not for long."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.checks import codes, examine
from stoker.cli import findings as forms
from stoker.resources import inspect

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.rglob("*.yaml") if path.stat().st_size < 20_000)
TEXTS = [path.read_text() for path in FILES]
PIECES = [
    "- ", "  ", ":", "{", "}", "[", "]", "'", '"', "#", "&a ", "*a", "!!int ", "|", ">", "\t",
    "null", "true", "-1", "1e400", "0x10", "kind: List\n", "---\n", "spec:", "triggers:", "é", "\0",
]  # fmt: skip
_KEYS = st.sampled_from(
    [
        "apiVersion", "kind", "metadata", "name", "namespace", "labels", "annotations", "spec",
        "triggers", "type", "metadata", "query", "threshold", "scaleTargetRef", "fallback",
        "advanced", "scalingModifiers", "formula", "horizontalPodAutoscalerConfig", "behavior",
        "scaleUp", "policies", "minReplicaCount", "template", "containers", "metrics", "items",
        "servingEngineSpec", "modelSpec", "keda", "predictor", "model", "autoScaling", "selector",
        "matchLabels", "podMetricsEndpoints", "secretTargetRef", "authenticationRef", "resources",
    ]
)  # fmt: skip
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "ScaledObject", "Deployment", "HorizontalPodAutoscaler", "InferenceService",
            "TriggerAuthentication", "PodMonitor", "ServiceMonitor", "Secret", "List", "Service",
            "LLMInferenceService", "VLLMRuntime", "keda.sh/v1alpha1", "apps/v1", "autoscaling/v2",
            "serving.kserve.io/v1beta1", "prometheus", "cron", "cpu", "redis", "sum(x)", "5",
        ]
    ),
)  # fmt: skip
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=5)),
    max_leaves=25,
)
_SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def checked(text: str) -> None:
    """Findings of known codes, that every form of output can tell."""
    reading = inspect(["-"], stdin=io.StringIO(text))
    found = examine(reading)
    assert {finding.code for finding in found} <= set(codes())
    assert len(json.loads(forms.as_json(found))) == len(found)
    assert json.loads(forms.as_sarif(found, "1"))["runs"]
    assert forms.as_github(found).count("\n") == max(len(found) - 1, 0)
    for finding in found:
        assert finding.message in forms.finding_text(finding)


@_SETTINGS
@given(st.lists(st.dictionaries(_KEYS, _TREES, max_size=6), min_size=1, max_size=3))
def test_any_document_is_told(documents: list[dict[str, Any]]) -> None:
    checked(yaml.safe_dump_all(documents))


@_SETTINGS
@given(st.data())
def test_a_damaged_example_is_told(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        if data.draw(st.booleans()):
            text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at:]
        else:
            text = text[:at] + text[at + data.draw(st.integers(1, 40)) :]
    checked(text)


@_SETTINGS
@given(st.data())
def test_an_example_with_another_value_somewhere_is_told(data: st.DataObject) -> None:
    documents = [one for one in yaml.safe_load_all(data.draw(st.sampled_from(TEXTS))) if one]
    node: Any = data.draw(st.sampled_from(documents))
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.integers(0, 5)) == 0:
            node[key] = data.draw(_TREES)
            break
        node = node[key]
    checked(yaml.safe_dump_all(documents))


def test_a_predictor_without_a_container_is_told() -> None:
    """Found by the test above."""
    text = (EXAMPLES / "03-kserve" / "as-published-otel.yaml").read_text()
    (document,) = yaml.safe_load_all(text)
    document["spec"]["predictor"]["model"] = {}
    checked(yaml.safe_dump(document))


def test_many_objects_take_little_time() -> None:
    """`bench/check.py` measures; this only sees that time does not grow with the square."""
    document = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: so{n}}}
spec:
  scaleTargetRef: {{name: engine{n}}}
  triggers:
    - type: prometheus
      metadata: {{serverAddress: "http://p:9090", query: sum(x{n}), threshold: "5"}}
"""
    text = "---\n".join(document.format(n=n) for n in range(1000))
    before = time.process_time()
    found = examine(inspect(["-"], stdin=io.StringIO(text)))
    assert time.process_time() - before < 8
    assert len(found) > 1000
