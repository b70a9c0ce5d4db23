from __future__ import annotations

import csv
import io
import json

import pytest

from stoker import cli
from stoker.cli.console import run

CSV = "time,queue\n" + "".join(f"{15 * n},{12 if 4 <= n < 40 else 0}\n" for n in range(100))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "day.csv"
    path.write_text(CSV)
    return path


def stoker(*arguments):
    return run(lambda: cli.stoker.main([*map(str, arguments)], "stoker", standalone_mode=False))


def test_a_timeline_and_a_summary(so_file, table, capsys) -> None:
    assert stoker("backtest", so_file, "--metrics", table, "--startup", "30s") == 0

    out = capsys.readouterr().out
    head, how, *_ = out.split("\n")
    assert head == "llama-so -> Deployment llama, +0s to +24m45s"
    assert "created at the start with 1 ready, start-up 30s, polls every 30 s" in how
    assert "1→3" in out
    assert "3→1" in out
    assert out.split("\n")[-2].startswith("24m45s: ")
    assert "2 scale events (1 up, 1 down)" in out


def test_every_look_with_all(so_file, table, capsys) -> None:
    stoker("backtest", so_file, "--metrics", table, "--all")

    out = capsys.readouterr().out
    assert out.count("  poll  ") == 50
    assert out.count("  sync  ") == 99


def test_json_lines_are_one_tick_each(so_file, table, capsys) -> None:
    assert stoker("backtest", so_file, "--metrics", table, "-o", "jsonl") == 0

    ticks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(ticks) == 149
    assert ticks[0]["reader"] == "KEDA poll"
    assert max(tick["decision"]["replicas"] for tick in ticks) == 3


def test_json_has_runs_with_ticks_and_summary(so_file, table, tmp_path, capsys) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(so_file.read_text().replace("maxReplicaCount: 10", "maxReplicaCount: 2"))

    assert stoker("backtest", so_file, "--metrics", table, "-o", "json", "--compare", other) == 0

    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert (first["file"], second["file"]) == (str(so_file), str(other))
    assert (first["summary"]["peak"], second["summary"]["peak"]) == (3, 2)
    assert len(first["ticks"]) == len(second["ticks"]) == 149
    assert first["summary"]["scale_events"] == 2


def test_csv_has_every_look(so_file, table, capsys) -> None:
    assert stoker("backtest", so_file, "--metrics", table, "-o", "csv") == 0

    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 149


def test_two_files_side_by_side(so_file, table, tmp_path, capsys) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(so_file.read_text().replace("maxReplicaCount: 10", "maxReplicaCount: 2"))

    assert stoker("backtest", so_file, "--metrics", table, "--compare", other) == 0

    out = capsys.readouterr().out
    assert "so.yaml  other.yaml" in out
    assert "peak replicas" in out
    assert out.splitlines()[-1].startswith(f"{other}: 24m45s: ")


def test_a_picture_is_written(so_file, table, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "p.svg"

    assert stoker("backtest", so_file, "--metrics", table, "--plot", picture) == 0
    assert b"<svg" in picture.read_bytes()
    assert f"picture: {picture}" in capsys.readouterr().err


def test_further_series_may_follow_the_first(so_file, table, tmp_path, capsys) -> None:
    more = tmp_path / "more.csv"
    more.write_text("time,other\n0,1\n")

    assert stoker("backtest", so_file, "--metrics", table, more) == 0
    assert "note: other answers no trigger" in capsys.readouterr().err


def test_values_of_the_production_stack_are_a_file_too(table, capsys, pytestconfig) -> None:
    values = pytestconfig.rootpath / "examples" / "01-production-stack" / "values.yaml"

    assert stoker("backtest", values, "--metrics", table) == 0
    assert "Deployment vllm-llama3-deployment-vllm" in capsys.readouterr().out


def test_a_part_of_the_time(so_file, table, capsys) -> None:
    assert stoker("backtest", so_file, "--metrics", table, "--from", "60", "--to", "120") == 0
    assert capsys.readouterr().out.startswith("llama-so -> Deployment llama, +1m00s to +2m00s")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "say where the metrics come from"),
        (("--metrics", "{t}", "--prometheus", "http://x"), "either --metrics or --prometheus"),
        (("--prometheus", "http://x"), "--prometheus needs --from"),
        (("--metrics", "{t}", "-o", "csv", "--compare", "x"), "cannot be written as csv"),
        (("--metrics", "{t}", "--plot", "p.gif"), "written as .png or .svg"),
        (("--metrics", "{t}", "--from", "99999"), "nothing to do"),
        (("--metrics", "{t}", "--from", "soon"), "`soon` is not a time"),
        (("--metrics", "{t}", "--name", "other"), "no ScaledObject `other`"),
        (("two.yaml", "--metrics", "{t}"), "one FILE at a time"),
        (("--metrics", "nothing.csv"), "no such file"),
        (("--metrics", "{t}", "--sync-period", "0"), "sync period"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_printed(
    so_file, table, capsys, flags, told
) -> None:
    code = stoker("backtest", so_file, *(str(f).format(t=table) for f in flags))

    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert told in captured.err


def test_which_scaled_object_has_to_be_said(so_file, table, tmp_path, capsys) -> None:
    text = so_file.read_text()
    two = tmp_path / "two.yaml"
    two.write_text(
        f"{text}---\n{text.replace('llama-so', 'b').replace('name: llama}', 'name: x}')}"
    )

    assert stoker("backtest", two, "--metrics", table) == 2
    assert "choose with --name: b, llama-so" in capsys.readouterr().err
    assert stoker("backtest", two, "--metrics", table, "--name", "b") == 0
    assert capsys.readouterr().out.startswith("b -> Deployment x")


def test_a_wrong_scaled_object_is_told_with_its_place(so_file, table, capsys) -> None:
    so_file.write_text(so_file.read_text().replace("minReplicaCount: 1", "minReplicaCount: 11"))

    assert stoker("backtest", so_file, "--metrics", table) == 2
    assert f"--> {so_file}:6" in capsys.readouterr().err


def test_standard_input_is_a_file(so_file, table, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(so_file.read_text()))

    assert stoker("backtest", "-", "--metrics", table) == 0
    assert capsys.readouterr().out.startswith("llama-so")


DEPLOYMENT = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec:
  replicas: 4
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec:
      containers:
        - {name: vllm, image: vllm/vllm-openai, args: [--model, m], ports: [{containerPort: 8000}]}
"""


def test_a_deployment_gives_the_replicas_at_the_start_and_both_files_have_the_same(
    so_file, table, tmp_path, capsys
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(so_file.read_text() + DEPLOYMENT)

    stoker("backtest", other, "--metrics", table, "--compare", so_file)
    assert "created at the start with 4 ready" in capsys.readouterr().out

    stoker("backtest", so_file, "--metrics", table, "-o", "json", "--compare", other)
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert first["summary"] == second["summary"]
