"""What is rendered, against the CRDs of those who would read it in a cluster."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stoker.api.rendering import render
from stoker.resources.bundle import inspect

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted([*EXAMPLES.rglob("*.yaml"), EXAMPLES / "04-kserve-scaled-object"])
CRDS = {
    "ScaledObject": "keda-2.20.2_scaledobjects.yaml",
    "OpenTelemetryCollector": "otel-operator_opentelemetrycollectors.yaml",
    "ServiceMonitor": "prometheus-operator_servicemonitors.yaml",
    "PodMonitor": "prometheus-operator_podmonitors.yaml",
    "InferenceService": "kserve_inferenceservices_full.yaml",
}


@cache
def _validator(file: Path, version: str) -> jsonschema.Draft202012Validator:
    crd = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
    served = {one["name"]: one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"]}
    return jsonschema.Draft202012Validator(_strict(served[version], top=True))


def _strict(schema: Any, *, top: bool = False) -> Any:
    """As the API server validates with ``fieldValidation: Strict``, after it filled in defaults."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(one) for key, one in schema.items() if key != "properties"}
    if "properties" in schema:
        strict["properties"] = {
            key: {} if top and key == "metadata" else _strict(one)
            for key, one in schema["properties"].items()
        }
        strict["required"] = [
            key
            for key in schema.get("required", ())
            if "default" not in schema["properties"].get(key, {})
        ]
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    return strict


def _refused(objects: list[dict[str, Any]], folder: Path) -> list[str]:
    """What the CRDs refuse, and nothing of kinds without one."""
    refused = []
    for one in objects:
        file = CRDS.get(one["kind"])
        if file is None:
            continue
        validator = _validator(folder / file, one["apiVersion"].rpartition("/")[2])
        refused += [
            f"{one['kind']} {error.json_path}: {error.message}"
            for error in validator.iter_errors(one)
        ]
    return refused


@pytest.mark.parametrize("form", [None, "keda", "kserve"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_what_is_rendered_fits_the_crds(file: Path, form: Any, shared_data: Path) -> None:
    objects = list(render(inspect([str(file)]).bundle, form).objects)
    assert _refused(objects, shared_data / "kubernetes" / "crds") == []


def test_the_crds_would_notice(shared_data: Path) -> None:
    objects = list(render(inspect([str(FILES[1])]).bundle).objects)
    wrong = [{**one, "spec": {**one["spec"], "pollingIntervall": 5}} for one in objects]
    (told,) = _refused(wrong, shared_data / "kubernetes" / "crds")
    assert "pollingIntervall" in told
