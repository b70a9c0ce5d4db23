"""InferenceServices from parts that a test chooses."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from stoker.errors import InputErrors
from stoker.resources import Bundle, load
from stoker.resources.bundle import Reading, inspect

KEDA = {
    "serving.kserve.io/deploymentMode": "Standard",
    "serving.kserve.io/autoscalerClass": "keda",
}
METRIC = {"backend": "prometheus", "serverAddress": "http://p:9090", "query": "sum(running)"}


def external(**target: Any) -> dict[str, Any]:
    """A metric of a query with that target."""
    return {"type": "External", "external": {"metric": METRIC, "target": target}}


def service(
    *metrics: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
    model: Mapping[str, Any] | None = None,
    behavior: Mapping[str, Any] | None = None,
    **predictor: Any,
) -> dict[str, Any]:
    """An InferenceService of a language model. Without metrics it has no `autoScaling`."""
    scaling: dict[str, Any] = {"metrics": list(metrics)} if metrics else {}
    if behavior is not None:
        scaling["behavior"] = behavior
    served = {
        "modelFormat": {"name": "huggingface"},
        "args": ["--model_name=qwen"],
        "storageUri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "qwen", "annotations": dict(KEDA | dict(annotations or {}))},
        "spec": {
            "predictor": {
                "model": served | dict(model or {}),
                **({"autoScaling": scaling} if scaling else {}),
                **predictor,
            }
        },
    }


def text_of(*documents: Mapping[str, Any]) -> str:
    """The documents as YAML."""
    return "---\n".join(yaml.safe_dump(dict(one), sort_keys=False) for one in documents)


@pytest.fixture
def loaded() -> Callable[..., Bundle]:
    """What `load` makes of documents."""
    return lambda *documents, **options: load(
        ["-"], stdin=io.StringIO(text_of(*documents)), **options
    )


@pytest.fixture
def inspected() -> Callable[..., Reading]:
    """What `inspect` makes of documents."""
    return lambda *documents: inspect(["-"], stdin=io.StringIO(text_of(*documents)))


@pytest.fixture
def refused(loaded: Callable[..., Bundle]) -> Callable[..., list[str]]:
    """The errors of documents."""

    def errors_of(*documents: Mapping[str, Any]) -> list[str]:
        with pytest.raises(InputErrors) as caught:
            loaded(*documents)
        return [error.message for error in caught.value.errors]

    return errors_of
