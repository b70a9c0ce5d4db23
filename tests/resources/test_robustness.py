"""Documents with something odd in any place: told, translated or skipped, and never a traceback."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.api.rendering import Form, render
from stoker.errors import InputErrors
from stoker.resources.bundle import inspect

EXAMPLES = Path(__file__).parents[2] / "examples"
OTHERS = """
apiVersion: production-stack.vllm.ai/v1alpha1
kind: VLLMRuntime
metadata: {name: r}
spec:
  model: {modelURL: Qwen/Q, maxModelLen: 1000, dtype: auto}
  vllmConfig: {port: 8000, v1: true, extraArgs: [--a], env: [{name: A, value: b}]}
  lmCacheConfig: {enabled: true, cpuOffloadingBufferSize: "30"}
  deploymentConfig:
    replicas: 1
    resources: {cpu: "1", memory: 1Gi, gpu: "1"}
    image: {registry: a, name: b}
    podAnnotations: {a: b}
    toleration: [{key: a}]
    nodeSelectorTerms: [{matchExpressions: []}]
  autoscalingConfig:
    {enabled: true, minReplicas: 1, maxReplicas: 3, triggers: {prometheusAddress: "http://p"}}
---
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: l}
spec:
  model: {uri: "hf://Qwen/Q", name: q}
  baseRefs: [{name: c}]
  scaling:
    minReplicas: 1
    maxReplicas: 3
    keda: {triggers: [{type: prometheus, metadata: {query: sum(x), threshold: "1", serverAddress: "http://p"}}]}
  template: {containers: [{name: main, args: [--a], env: [{name: A, value: b}]}]}
---
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceServiceConfig
metadata: {name: c}
spec: {template: {containers: [{name: main, ports: [{containerPort: 8000}]}]}}
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: kserve-huggingfaceserver}
spec:
  supportedModelFormats: [{name: huggingface, autoSelect: true, priority: 1}]
  containers:
    - name: kserve-container
      image: kserve/huggingfaceserver
      args: ["--model_name={{.Name}}"]
      env: [{name: A, value: b}]
      ports: [{containerPort: 8080, name: http}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inferenceservice-config, namespace: kserve}
data: {deploy: '{"defaultDeploymentMode": "Standard"}'}
---
apiVersion: v1
kind: List
items:
  - apiVersion: autoscaling/v2
    kind: HorizontalPodAutoscaler
    metadata: {name: h}
    spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: vllm}}
"""
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, float("nan"), float("inf"), "", "x", "{{.Name}}", "{{ bad", "\t",
    [], {}, [None], [[]], [{}], {"a": None}, {1: 2}, {None: 1}, 10**30, int("9" * 4000),
    {"name": "a"}, [{"name": "kserve-container"}], [{"name": 1}], [{"name": []}], "hf://",
)  # fmt: skip
_FORMS: tuple[Form | None, ...] = (None, "keda", "hpa", "kserve")


def _documents() -> list[Any]:
    found = [*yaml.safe_load_all(OTHERS)]
    for file in sorted(EXAMPLES.rglob("*.yaml")):
        found += [one for one in yaml.safe_load_all(file.read_text()) if one]
    return found


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    pairs = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else pairs:
        yield from _places(item, (*place, key))


def _odd(document: Any, chance: random.Random) -> Any:
    """*document* with one to three things in it that do not belong there."""
    changed = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            break
        *way, last = chance.choice(places)
        around = changed
        for key in way:
            around = around[key]
        match chance.randrange(8):
            case 0:
                del around[last]
            case 1:
                around[last] = [around[last]]
            case _:
                around[last] = copy.deepcopy(chance.choice(_ODD))
    return changed


@pytest.mark.parametrize("seed", range(24))
def test_odd_documents_never_end_in_a_traceback(seed: int) -> None:
    chance, documents = random.Random(seed), _documents()
    for _ in range(12):
        odd = _odd(chance.choice(documents), chance)
        beside = [one for one in documents if chance.random() < 0.2]
        text = yaml.safe_dump_all([odd, *beside], allow_unicode=True)
        reading = inspect(["-"], stdin=io.StringIO(text), as_kserve=seed % 2 == 1)
        for form in _FORMS:
            try:
                render(reading.bundle, form)
            except InputErrors:
                continue


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n---\n",
        "# Source: chart/templates/nothing.yaml\n---\n# nothing\n",
        "- a\n- b\n",
        "apiVersion: v1\nkind: List\nitems: x\n",
        "apiVersion: v1\nkind: List\nitems: [null, 1, {}]\n",
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: x\nspec: []\n",
        "apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\nmetadata: 1\nspec: 2\n",
        "apiVersion: serving.kserve.io/v1alpha1\nkind: LLMInferenceServiceConfig\nspec: 2\n",
        "kind: InferenceService\n",
        "a: [\n",
        "\tapiVersion: v1\n",
        "apiVersion: [serving.kserve.io/v1beta1]\nkind: {InferenceService: x}\n",
        "a: &a [*a]\n",
    ],
)
def test_documents_that_are_none(text: str) -> None:
    inspect(["-"], stdin=io.StringIO(text))
