"""The command as a user types it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from stoker.cli import stoker
from stoker.errors import InputError

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parent.parent.parent
VALUES = str(ROOT / "examples" / "01-production-stack" / "values.yaml")
TRACE = str(ROOT / "examples" / "traces" / "azure2023-conv-slice.csv")
NUMBER = {"type": ["number", "null"]}
PERCENTILES = {
    "type": "object",
    "required": ["mean", "p50", "p95", "p99", "max"],
    "additionalProperties": NUMBER,
}
SCHEMA = {
    "type": "object",
    "required": ["schema", "command", "seed", "versions", "trace", "traces", "slo", "runs"],
    "properties": {
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": [
                    *("name", "kind", "file", "trace", "requests", "failed", "replica_seconds"),
                    *("gpu_seconds", "cost", "slo_attainment", "ttft", "itl", "e2e"),
                    *("scale_events", "replicas"),
                ],
                "properties": {
                    "kind": {"enum": ["file", "baseline", "bound"]},
                    "requests": {"type": "integer"},
                    "failed": {"type": "integer"},
                    "ttft": PERCENTILES,
                    "itl": PERCENTILES,
                    "e2e": PERCENTILES,
                    "replicas": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["time", "wanted", "ready"],
                            "additionalProperties": {"type": "number"},
                        },
                    },
                },
            },
        }
    },
}


def run(*arguments, code=0):
    done = CliRunner().invoke(stoker, ["replay", *arguments])
    assert done.exit_code == code, done.output
    return done


def test_a_table_names_the_file_and_what_stands_beside_it():
    done = run(VALUES, "--trace", TRACE, "--max-num-seqs", "16", "--price", "2.5")
    assert "785 requests in 3m" in done.stdout
    for name in ("values.yaml", "static at peak", "static at mean", "clairvoyant"):
        assert any(line.startswith(name) for line in done.stdout.splitlines())
    assert "COST" in done.stdout
    assert "shorter than the 360 s" in done.stderr


def test_json_has_the_documented_form_and_the_same_bytes_every_time():
    arguments = (VALUES, "--trace", TRACE, "--max-num-seqs", "16", "-o", "json")
    first, again = run(*arguments).stdout, run(*arguments).stdout
    assert first == again
    document = json.loads(first)
    jsonschema.validate(document, SCHEMA)
    own = document["runs"][0]
    assert own["requests"] == own["done"] + own["failed"] == 785
    assert [one["kind"] for one in document["runs"][1:]] == ["baseline", "baseline", "bound"]


def test_every_field_of_a_run_is_documented():
    text = (ROOT / "docs" / "reference" / "replay.md").read_text()
    document = json.loads(run(VALUES, "--trace", TRACE, "-o", "json").stdout)
    words = set(text.replace("`", " ").replace("[]", " ").replace(",", " ").split())
    for field in {*document, *document["runs"][0]}:
        assert field in words, field


def test_ticks_and_requests_are_written(tmp_path):
    ticks, requests = tmp_path / "ticks.jsonl", tmp_path / "requests.csv"
    run(VALUES, "--trace", TRACE, "--ticks", str(ticks), "--requests", str(requests))
    lines = [json.loads(line) for line in ticks.read_text().splitlines()]
    assert {line["reader"] for line in lines} == {"poll", "sync"} or len(lines) > 20
    rows = list(csv.DictReader(requests.read_text().splitlines()))
    assert len(rows) == 785
    assert {row["status"] for row in rows} == {"done"}
    assert all(float(row["arrived"]) <= float(row["first_token"]) for row in rows)


def test_requests_as_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "requests.parquet"
    run(VALUES, "--trace", TRACE, "--requests", str(path), "--no-baselines")
    assert parquet.read_table(path).num_rows == 785


def test_a_report_is_a_page(tmp_path):
    path = tmp_path / "report.html"
    run(VALUES, "--trace", TRACE, "--report", str(path))
    text = path.read_text()
    assert "clairvoyant" in text
    assert "<svg" in text


def test_settings_stand_side_by_side_and_one_is_recommended():
    done = run(
        *(VALUES, "--trace", TRACE, "--max-num-seqs", "16"),
        *("--set", "threshold=2,20", "--recommend", "-j", "1"),
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith("threshold=")]
    assert len(rows) == 2
    assert "recommended: " in done.stdout


def test_several_seeds_have_names_of_their_own():
    arguments = ("--startup", "20s..60s", "--seeds", "2", "-j", "1", "--no-baselines")
    done = run(VALUES, "--trace", TRACE, "-o", "json", *arguments)
    names = [one["name"] for one in json.loads(done.stdout)["runs"]]
    assert names == ["values.yaml, seed 0", "values.yaml, seed 1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say which traffic"),
        (("--trace", TRACE, "--synthetic", "poisson(rate=1)"), "choose one"),
        (("--trace", TRACE, "--profile", "llama-8b"), "did you mean"),
        (("--trace", TRACE, "--set", "nothing=1"), "no such setting"),
        (("--trace", TRACE, "--ticks", "x", "--seeds", "2"), "write one run"),
        (("--trace", TRACE, "--requests", "x.txt"), "a .parquet or a .csv"),
        (("--trace", "no-such-file.csv"), "cannot read the trace"),
    ],
)
def test_what_is_wrong_is_said(arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "stoker", "replay", VALUES, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert not done.stdout


def test_synthetic_traffic_needs_no_file():
    done = run(VALUES, "--synthetic", "poisson(rate=2)", "--duration", "2m", "--no-baselines")
    assert "poisson(rate=2): " in done.stdout


def test_an_empty_trace_is_refused(tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    done = CliRunner().invoke(stoker, ["replay", VALUES, "--trace", str(path)])
    assert done.exit_code != 0


def test_recorded_series_are_refused_where_answers_are_wanted(tmp_path):
    page = tmp_path / "dump.prom"
    page.write_text("queue 3 1000\nqueue 4 2000\n")
    done = CliRunner().invoke(stoker, ["replay", VALUES, "--trace", TRACE, "--metrics", str(page)])
    assert isinstance(done.exception, InputError)
    assert "a replay makes its own" in str(done.exception)


def test_a_column_takes_the_place_of_the_query_on_the_command_line(tmp_path):
    table = tmp_path / "queue.csv"
    table.write_text("time,value\n0,0\n60,1000\n600,1000\n")
    done = run(
        VALUES, "--trace", TRACE, "--no-baselines", "-o", "json",
        "--metrics", f"s0-prometheus={table}",
    )  # fmt: skip
    (found,) = json.loads(done.stdout)["runs"]
    assert max(row["wanted"] for row in found["replicas"]) == found["models"][0]["peak"] > 1
    assert min(row["time"] for row in found["replicas"] if row["wanted"] > 1) >= 60.0
