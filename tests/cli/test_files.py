from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from stoker import cli
from stoker.cli.console import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-production-stack"
PUBLISHED, CORRECTED = str(EXAMPLE / "as-published.yaml"), str(EXAMPLE / "values.yaml")


def stoker(*arguments):
    """The exit code of a command line."""
    return run(lambda: cli.stoker.main(list(arguments), prog_name="stoker", standalone_mode=False))


def test_check_finds_the_fault_of_the_published_file_and_says_what_to_write(capsys):
    assert stoker("check", PUBLISHED) == 1
    out = capsys.readouterr().out
    assert "error: the query has one element for each replica" in out
    assert f"  --> {PUBLISHED}:24:22\n" in out
    assert "hint: query: sum(vllm:num_requests_waiting" in out
    assert out.splitlines()[-1].startswith("1 error, ")


def test_check_passes_the_corrected_file():
    assert stoker("check", CORRECTED) == 0


@pytest.mark.parametrize(("fail_on", "code"), [("never", 0), ("error", 1), ("warning", 1)])
def test_fail_on_decides_about_the_exit_code(fail_on, code, capsys):
    assert stoker("check", PUBLISHED, "--fail-on", fail_on, "-o", "json") == code
    findings = json.loads(capsys.readouterr().out)
    assert "multi-element-query" in [finding["code"] for finding in findings]


def test_render_prints_what_the_chart_would_install(capsys):
    assert stoker("render", CORRECTED, "--release", "r") == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    names = [(found["kind"], found["metadata"]["name"]) for found in documents]
    assert names == [
        ("Deployment", "r-llama3-deployment-vllm"),
        ("ScaledObject", "r-llama3-scaledobject"),
        ("HorizontalPodAutoscaler", "keda-hpa-r-llama3-scaledobject"),
        ("Service", "r-llama3-engine-service"),
    ]


def test_all_errors_of_a_file_are_told_with_their_places(tmp_path, capsys):
    path = tmp_path / "so.yaml"
    path.write_text(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\n"
        "spec:\n  tirggers: []\n  pollingInterval: fast\n  scaleTargetRef: {name: a}\n"
    )
    assert stoker("up", "--engine", "simulated", str(path)) == 2
    told = capsys.readouterr().err
    assert f"  --> {path}:5:3\n" in told
    assert f"  --> {path}:6:" in told
    assert "did you mean `triggers`?" in told


def test_a_file_that_is_not_there_is_an_error(capsys):
    assert stoker("render", "/nope.yaml") == 2
    assert "/nope.yaml" in capsys.readouterr().err
