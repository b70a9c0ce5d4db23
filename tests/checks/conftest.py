"""Findings of a ScaledObject whose parts a test chooses."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from stoker.checks import Finding, check
from stoker.resources import load

MODEL = "meta/llama"


def _values(keda: dict[str, Any], models: int) -> dict[str, Any]:
    def model(name: str, url: str) -> dict[str, Any]:
        arguments = {"extraArgs": ["--shutdown-timeout", "25"]}
        return {
            "name": name,
            "repository": "vllm/vllm-openai",
            "tag": "v1",
            "modelURL": url,
            "requestCPU": 1,
            "requestMemory": "1Gi",
            "vllmConfig": arguments,
        }

    scaled = {**model("llama3", MODEL), "keda": {"enabled": True, **keda}}
    others = [model(f"other{index}", f"meta/other{index}") for index in range(models - 1)]
    return {"servingEngineSpec": {"modelSpec": [scaled, *others]}}


@pytest.fixture
def findings() -> Callable[..., list[Finding]]:
    """What the rules find. A query stands for one trigger; other keys are those of `keda`."""

    def find(*queries: str, models: int = 1, trigger: Any = None, **keda: Any) -> list[Finding]:
        triggers = []
        for query in queries:
            metadata = {"serverAddress": "http://p:9090", "query": query, "threshold": "5"}
            extra = trigger or {}
            metadata = {**metadata, **extra.get("metadata", {})}
            triggers.append({"type": "prometheus", **extra, "metadata": metadata})
        keda = {
            "minReplicaCount": 1,
            "maxReplicaCount": 8,
            **({"triggers": triggers} if triggers else {}),
            **keda,
        }
        keda = {key: value for key, value in keda.items() if value is not None}
        text = yaml.safe_dump(_values(keda, models), sort_keys=False)
        return list(check(load(["-"], stdin=io.StringIO(text))))

    return find
