"""`stoker check`: outputs, exit codes, what is kept quiet, and the pages of rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker import cli
from stoker.checks import codes
from stoker.cli.console import run

SCALED_OBJECT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: engine
spec:
  scaleTargetRef:
    name: engine
  minReplicaCount: 1
  maxReplicaCount: 5
  cooldownPeriod: 360
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://p:9090
        query: vllm:num_requests_waiting
        threshold: "5"
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """The exit code and the output of `check` on a file of some text."""
    monkeypatch.chdir(tmp_path)

    def run_check(text: str, *flags: str) -> tuple[int, str]:
        Path("so.yaml").write_text(text)
        arguments = ["check", "so.yaml", *flags]
        code = run(lambda: cli.stoker.main(arguments, prog_name="stoker", standalone_mode=False))
        out, err = capsys.readouterr()
        return code, out + err

    return run_check


def found(output: str) -> list[str]:
    return [item["code"] for item in json.loads(output)]


def test_json_is_a_list_with_places_that_count_from_one(check):
    code, out = check(SCALED_OBJECT, "-o", "json")
    assert code == 1
    findings = json.loads(out)
    keys = ["code", "severity", "file", "line", "column", "resource", "message", "hint"]
    assert [list(item) for item in findings] == [keys] * len(findings)
    by_code = {item["code"]: item for item in findings}
    assert set(by_code) == {
        "target-not-in-files", "cooldown-without-zero", "multi-element-query", "unfiltered-query",
    }  # fmt: skip
    query = by_code["multi-element-query"]
    assert (query["file"], query["line"], query["column"]) == ("so.yaml", 15, 16)
    assert query["resource"] == "ScaledObject engine"
    assert query["severity"] == "error"
    assert query["hint"].startswith("query: sum(")


def test_no_finding_is_an_empty_list(check):
    code, out = check(SCALED_OBJECT, "-o", "json", "--select", "idle-not-zero")
    assert (code, json.loads(out)) == (0, [])


def test_github_shows_annotations_with_line_and_column(check):
    _, out = check(SCALED_OBJECT, "-o", "github", "--select", "multi-element-query")
    assert out.startswith(
        "::error file=so.yaml,line=15,col=16,title=multi-element-query::the query"
    )
    assert out.count("\n") == 1
    assert "%0Ahint: query: sum(" in out


def test_github_escapes_what_would_end_a_property(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a,b:c%.yaml").write_text("kind: [")
    arguments = ["check", "a,b:c%.yaml", "-o", "github"]
    assert run(lambda: cli.stoker.main(arguments, prog_name="stoker", standalone_mode=False)) == 2
    assert capsys.readouterr().out.startswith("::error file=a%2Cb%3Ac%25.yaml,line=")


def test_sarif_has_a_rule_for_each_result_and_places(check):
    _, out = check(SCALED_OBJECT, "-o", "sarif")
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    (sarif_run,) = log["runs"]
    rules = sarif_run["tool"]["driver"]["rules"]
    assert rules
    for result in sarif_run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        location = result["locations"][0]["physicalLocation"]
        assert location["artifactLocation"]["uri"] == "so.yaml"
        assert location["region"]["startLine"] >= 1


@pytest.mark.parametrize(
    ("text", "flags", "code"),
    [
        (SCALED_OBJECT, (), 1),
        (SCALED_OBJECT, ("--fail-on", "never"), 0),
        (SCALED_OBJECT, ("--ignore", "multi-element-query"), 0),
        (SCALED_OBJECT, ("--ignore", "multi-element-query", "--fail-on", "warning"), 1),
        (SCALED_OBJECT, ("--select", "cooldown-without-zero"), 0),
        (SCALED_OBJECT.replace('"5"', "5"), (), 1),
        (SCALED_OBJECT.replace('"5"', "5"), ("--fail-on", "never"), 0),
        ("kind: [", ("--fail-on", "never"), 2),
        ("kind: [", ("--ignore", "unreadable"), 2),
        (SCALED_OBJECT, ("--select", "nonsense"), 2),
    ],
)
def test_exit_codes(check, text, flags, code):
    assert check(text, *flags)[0] == code


def test_what_a_cluster_refuses_is_a_finding_at_its_place(check):
    _, out = check(SCALED_OBJECT.replace('"5"', "5"), "-o", "json")
    (finding,) = [item for item in json.loads(out) if item["code"] == "refused"]
    assert (finding["line"], finding["hint"]) == (16, 'put it in quotes: `threshold: "5"`')


def test_what_cannot_be_read_hides_no_other_document(check):
    code, out = check("kind: [\n---\n" + SCALED_OBJECT, "-o", "json")
    assert code == 2
    assert {"unreadable", "multi-element-query"} <= set(found(out))


QUIET = "  # stoker: ignore[multi-element-query,unfiltered-query]"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            SCALED_OBJECT.replace("num_requests_waiting", "num_requests_waiting" + QUIET),
            id="behind the line",
        ),
        pytest.param(
            SCALED_OBJECT.replace("        query", f"      {QUIET}\n        query"),
            id="on the line above",
        ),
        pytest.param(f"{QUIET}\n{SCALED_OBJECT}", id="at the head of the document"),
    ],
)
def test_a_comment_keeps_a_finding_quiet(check, text):
    code, out = check(text, "-o", "json")
    assert (code, found(out)) == (0, ["target-not-in-files", "cooldown-without-zero"])


def test_a_comment_at_the_head_is_about_its_document_only(check):
    text = f"{QUIET}\n{SCALED_OBJECT}---\n{SCALED_OBJECT.replace('engine', 'other')}"
    _, out = check(text, "-o", "json")
    assert found(out).count("multi-element-query") == 1


def test_a_comment_without_codes_keeps_its_line_quiet(check):
    text = SCALED_OBJECT.replace("num_requests_waiting", "num_requests_waiting # stoker: ignore")
    _, out = check(text, "-o", "json")
    assert found(out) == ["target-not-in-files", "cooldown-without-zero"]


def test_a_comment_about_another_rule_keeps_nothing_quiet(check):
    text = SCALED_OBJECT.replace("360", "360 # stoker: ignore[idle-not-zero]")
    assert "cooldown-without-zero" in found(check(text, "-o", "json")[1])


def test_explain_prints_the_page_and_needs_no_file(capsys):
    def explain(code: str) -> int:
        arguments = ["check", "--explain", code]
        return run(lambda: cli.stoker.main(arguments, prog_name="stoker", standalone_mode=False))

    assert explain("multi-element-query") == 0
    page = capsys.readouterr().out
    assert page.startswith("# multi-element-query\n\n*error.* ")
    assert "returned multiple elements" in page
    assert explain("all") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(codes())
    assert explain("multi-elemnt-query") == 2
    assert "did you mean `multi-element-query`?" in capsys.readouterr().err
