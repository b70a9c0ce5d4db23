"""InferenceService, LLMInferenceService and VLLMRuntime as `get` shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.api.customresources import custom_resource
from stoker.api.kinds import INFERENCE_SERVICE, LLM_INFERENCE_SERVICE, VLLM_RUNTIME, resolve
from stoker.api.views import DeploymentView
from stoker.resources import Workload
from stoker.targets.base import Pod
from stoker.ui.describe import describe
from stoker.ui.printers import ObjectTable, TableOptions

T0 = 1_795_000_000.0
URL = "http://127.0.0.1:8000"
WORKLOAD = Workload("qwen-predictor", "llm", "qwen", ("vllm", "serve", "m"))
POD = Pod("qwen-predictor-a-b", "llm", "qwen-predictor", phase="Running", ready=True, created_at=T0)
SERVICE = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "qwen", "labels": {"team": "a"}},
    "spec": {"predictor": {"model": {"modelFormat": {"name": "huggingface"}}}},
}
LLM = SERVICE | {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService"}
RUNTIME = SERVICE | {"apiVersion": "production-stack.vllm.ai/v1alpha1", "kind": "VLLMRuntime"}


def view(*, ready: bool = True, replicas: int = 1) -> DeploymentView:
    """The Deployment of it."""
    pods = tuple(replace(POD, name=f"{POD.name}{index}", ready=ready) for index in range(replicas))
    return DeploymentView(WORKLOAD, T0, replicas, pods)


def table(found: dict[str, Any], *, wide: bool = False) -> str:
    """The lines of `get`, seven seconds later."""
    return ObjectTable(resolve(found["kind"]), TableOptions(wide=wide)).part([found], T0 + 7)


def test_a_ready_service_has_the_columns_of_kserve() -> None:
    assert table(custom_resource(SERVICE, view(), URL)) == (
        "NAME   URL                     READY   PREV   LATEST   PREVROLLEDOUTREVISION   "
        "LATESTREADYREVISION   AGE\n"
        "qwen   http://127.0.0.1:8000   True                                            "
        "                      7s\n"
    )


def test_a_service_that_is_not_ready_has_no_address() -> None:
    found = custom_resource(SERVICE, view(ready=False), URL)
    assert "url" not in found["status"]
    ready = found["status"]["conditions"][-1]
    assert (ready["type"], ready["status"]) == ("Ready", "False")
    assert ready["reason"] == "MinimumReplicasUnavailable"


def test_a_service_at_zero_is_ready() -> None:
    assert custom_resource(SERVICE, view(replicas=0), URL)["status"]["url"] == URL


def test_an_llm_service_tells_the_reason() -> None:
    assert table(custom_resource(LLM, view(ready=False), URL)) == (
        "NAME   URL   READY   REASON                       AGE\n"
        "qwen         False   MinimumReplicasUnavailable   7s\n"
    )
    wide = table(custom_resource(LLM, view(), URL), wide=True)
    assert wide.splitlines()[1].split() == ["qwen", URL, "True", "7s", URL]


@pytest.mark.parametrize(("ready", "state"), [(True, "Ready"), (False, "Updating")])
def test_a_runtime_has_the_operators_words(state: str, *, ready: bool) -> None:
    found = custom_resource(RUNTIME, view(ready=ready), URL)
    assert found["status"] == {"modelStatus": state, "replicas": 1}
    assert table(found) == "NAME   AGE\nqwen   7s\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("isvc", INFERENCE_SERVICE),
        ("inferenceservices.serving.kserve.io", INFERENCE_SERVICE),
        ("llmisvc", LLM_INFERENCE_SERVICE),
        ("vr", VLLM_RUNTIME),
        ("vllmruntimes", VLLM_RUNTIME),
    ],
)
def test_they_have_the_names_of_their_crds(name: str, kind: object) -> None:
    assert resolve(name) is kind


def test_describe_prints_the_fields_of_the_user() -> None:
    lines = describe(custom_resource(SERVICE, view(), URL), [], T0 + 7).splitlines()
    assert lines[:5] == [
        "Name:         qwen",
        "Namespace:    llm",
        "Labels:       team=a",
        "Annotations:  <none>",
        "API Version:  serving.kserve.io/v1beta1",
    ]
    assert "        Name:  huggingface" in lines
