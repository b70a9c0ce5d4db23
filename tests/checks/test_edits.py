"""Mending text in place: what changes, and that nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stoker import cli
from stoker.checks.edits import Edit, mended
from stoker.cli.console import run
from stoker.resources.loading import load_documents

FAULTY = """\
# Größe 🔥
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: engine}
spec:
  scaleTargetRef:
    name: engine   # the one
  minReplicaCount: 1
  maxReplicaCount: 5
  cooldownPeriod: 360   # nothing
  fallback:
    failureThreshold: 3
    replicas: 9   # many
  triggers:
    - type: prometheus
      useCachedMetrics: true
      metadata:
        serverAddress: "http://p:9090/"
        query: vllm:gpu_cache_usage_perc{model_name="ü"} # old
        threshold: 5
        metricType: AverageValue
"""
MENDED = """\
# Größe 🔥
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: engine}
spec:
  scaleTargetRef:
    name: engine   # the one
  minReplicaCount: 1
  maxReplicaCount: 5
  fallback:
    failureThreshold: 3
    replicas: 5   # many
  triggers:
    - type: prometheus
      metadata:
        serverAddress: "http://p:9090"
        query: 'sum(vllm:kv_cache_usage_perc{model_name="ü"})' # old
        threshold: "5"
"""


def stoker(*arguments: str) -> int:
    return run(lambda: cli.stoker.main(list(arguments), prog_name="stoker", standalone_mode=False))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="with CRLF"),
        pytest.param(lambda text: "\ufeff" + text, id="with a byte order mark"),
        pytest.param(
            lambda text: f"{text}---\n{text.replace('engine', 'other')}", id="two documents"
        ),
    ],
)
def test_fix_mends_and_leaves_everything_else_as_it_is(tmp_path, change, capsys):
    path = tmp_path / "so.yaml"
    path.write_bytes(change(FAULTY).encode())
    assert stoker("check", str(path), "--fix") in {0, 1}
    assert path.read_bytes().decode() == change(MENDED)
    told = capsys.readouterr()
    assert "-  cooldownPeriod: 360   # nothing" in told.err
    assert "rule: cooldown-without-zero" not in told.out


def test_diff_shows_and_changes_nothing(tmp_path, capsys):
    path = tmp_path / "so.yaml"
    path.write_text(FAULTY.replace("threshold: 5", 'threshold: "5"'))
    before = path.read_bytes()
    assert stoker("check", str(path), "--diff") == 1
    assert path.read_bytes() == before
    out = capsys.readouterr().out
    assert out.startswith(f"--- {path}\n+++ {path}\n@@ ")
    assert "-    replicas: 9   # many\n+    replicas: 5   # many\n" in out
    path.write_text(MENDED)
    assert stoker("check", str(path), "--diff") == 0
    assert capsys.readouterr().out == ""


def test_a_fault_that_the_user_keeps_is_not_mended(tmp_path):
    path = tmp_path / "so.yaml"
    path.write_text(FAULTY)
    stoker("check", str(path), "--fix", "--select", "refused")
    assert path.read_text() == FAULTY.replace("threshold: 5", 'threshold: "5"')


def test_values_of_a_chart_are_mended_where_they_are_written(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "01-production-stack" / "as-published.yaml"
    path = tmp_path / "values.yaml"
    path.write_bytes(example.read_bytes())
    stoker("check", str(path), "--fix")
    before, after = example.read_text().splitlines(), path.read_text().splitlines()
    gone = [line.split(":")[0].strip() for line in before if line not in after]
    assert gone == ["replicaCount", "cooldownPeriod", "query"]
    assert any("sum(vllm:num_requests_waiting{model_name=" in line for line in after)


def edited(text: str, path: tuple[str | int, ...], **change) -> str:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.yaml"
        file.write_text(text, newline="")
        (document,), _ = load_documents([str(file)])
        return mended(text, [Edit(document, path, **change)])


@pytest.mark.parametrize(
    ("text", "path", "change", "expected"),
    [
        ("a: 1\nb: 2\n", ("a",), {}, "b: 2\n"),
        ("a: 1\nb: 2\n", ("b",), {}, "a: 1\n"),
        ("a: 1\nb: 2", ("b",), {}, "a: 1\n"),
        ("a:\n  - x: 1\n    y: 2\n", ("a", 0, "y"), {}, "a:\n  - x: 1\n"),
        ("a:\n  b:\n    c: 1\nd: 2\n", ("a",), {}, "d: 2\n"),
        ("a: |\n  x\n  y\nb: 1\n", ("a",), {}, "b: 1\n"),
        ("a: x\n", ("a",), {"value": "y z"}, "a: y z\n"),
        ("a: 'x'\n", ("a",), {"value": "it's"}, "a: 'it''s'\n"),
        ('a: "x"\n', ("a",), {"value": 'say "y"'}, 'a: "say \\"y\\""\n'),
        ("a: x\n", ("a",), {"value": "yes"}, "a: 'yes'\n"),
        ("a: x\n", ("a",), {"value": "b: c"}, "a: 'b: c'\n"),
        ("a: >-\n  x\n  y\nb: 1\n", ("a",), {"value": "z"}, 'a: "z"\nb: 1\n'),
        ("a: 5 # five\n", ("a",), {"quote": True}, 'a: "5" # five\n'),
        ("a: 1\n", ("a",), {"value": 2}, "a: 2\n"),
    ],
)
def test_an_edit(text, path, change, expected):
    assert edited(text, path, **change) == expected


@pytest.mark.parametrize(
    ("text", "path", "change"),
    [
        ("- a: 1\n  b: 2\n", (0, "a"), {}),
        ("a: {b: 1, c: 2}\n", ("a", "b"), {}),
        ("x: &x 1\na: *x\n", ("a",), {"value": 2}),
        ("x: &x {b: 1}\na: *x\n", ("a", "b"), {"value": 2}),
        ("a: 1\n", ("b",), {}),
        ("a: {}\n", ("a",), {"value": 1}),
    ],
)
def test_what_cannot_be_changed_alone_is_left(text, path, change):
    if isinstance(yaml.safe_load(text), list):
        text, path = f"l:\n{text}", ("l", *path)
    assert edited(text, path, **change) == text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1))
@example("A\u2028")
@example("\ufeff\U000e0001 x")
def test_a_value_is_read_back_as_it_was_meant(value):
    for written in ("x", "'x'", '"x"', "|\n  x"):
        text = f"a: {written}\nb: 1\n"
        assert yaml.safe_load(edited(text, ("a",), value=value)) == {"a": value, "b": 1}
