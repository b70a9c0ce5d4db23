"""The examples: the published file has exactly these faults, the corrected ones have none."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from stoker.api.rendering import render
from stoker.checks import Severity, check
from stoker.resources import load
from stoker.ui.yamltext import to_yaml_stream

EXAMPLES = Path(__file__).parents[2] / "examples"
PUBLISHED = EXAMPLES / "01-production-stack" / "as-published.yaml"
CORRECTED = [
    EXAMPLES / "01-production-stack" / "values.yaml",
    EXAMPLES / "02-scale-to-zero" / "values.yaml",
    EXAMPLES / "03-kserve" / "inference-service.yaml",
    EXAMPLES / "03-kserve" / "inference-service-otel.yaml",
    EXAMPLES / "04-kserve-scaled-object",
    EXAMPLES / "05-deployment" / "vllm.yaml",
]
PUBLISHED_BY_KSERVE = EXAMPLES / "03-kserve" / "as-published.yaml"


def test_the_tutorials_file_as_published_has_these_findings() -> None:
    found = check(load([str(PUBLISHED)]))
    assert [(item.severity.value, item.code, item.place.line) for item in found] == [
        ("info", "no-termination-grace", 4),
        ("info", "replica-count-ignored", 8),
        ("info", "polling-not-used", 17),
        ("warning", "cooldown-without-zero", 18),
        ("error", "multi-element-query", 24),
        ("info", "unfiltered-query", 24),
    ]


def test_kserves_service_as_published_has_these_findings() -> None:
    found = check(load([str(PUBLISHED_BY_KSERVE)]))
    assert sorted((item.severity.value, item.code) for item in found) == [
        ("error", "multi-element-query"),
        ("info", "no-termination-grace"),
        ("info", "unfiltered-query"),
        ("warning", "value-while-starting"),
    ]


def _name(file: Path) -> str:
    return str(file.relative_to(EXAMPLES))


@pytest.mark.parametrize("file", CORRECTED, ids=_name)
def test_the_corrected_files_have_neither_errors_nor_warnings(file: Path) -> None:
    found = check(load([str(file)]))
    assert [item for item in found if item.severity is not Severity.INFO] == []


@pytest.mark.parametrize("file", CORRECTED, ids=_name)
def test_what_they_become_has_neither_errors_nor_warnings(file: Path) -> None:
    """`stoker render FILE | stoker check -`: KEDA's own HPA is in nobody's way."""
    rendered = StringIO(to_yaml_stream(render(load([str(file)])).objects))
    found = check(load(["-"], stdin=rendered))
    assert [item for item in found if item.severity is not Severity.INFO] == []


def test_the_corrected_file_differs_only_where_a_comment_says_so() -> None:
    published = load([str(PUBLISHED)]).applications[0]
    corrected = load([str(CORRECTED[0])]).applications[0]
    assert corrected.workload.command == published.workload.command
    assert corrected.workload.gpus == published.workload.gpus
    assert corrected.scaling is not None
    assert published.scaling is not None
    assert corrected.scaling.max_replica_count == published.scaling.max_replica_count
    assert corrected.scaling.polling_interval == published.scaling.polling_interval
    assert corrected.scaling.triggers[0].metadata["query"] == (
        'sum(vllm:num_requests_waiting{model_name="meta-llama/Llama-3.1-8B-Instruct"})'
    )
