"""The examples: the published file has exactly these faults, the corrected ones have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.checks import Severity, check
from stoker.resources import load

EXAMPLES = Path(__file__).parents[2] / "examples"
PUBLISHED = EXAMPLES / "01-production-stack" / "as-published.yaml"
CORRECTED = [
    EXAMPLES / "01-production-stack" / "values.yaml",
    EXAMPLES / "02-scale-to-zero" / "values.yaml",
]


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


@pytest.mark.parametrize("file", CORRECTED, ids=lambda file: file.parent.name)
def test_the_corrected_files_have_neither_errors_nor_warnings(file: Path) -> None:
    found = check(load([str(file)]))
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
