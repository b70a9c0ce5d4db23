"""``stoker trace``: what it prints, and what it says it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stoker.cli import stoker
from stoker.errors import InputError
from stoker.traces import reading

EXAMPLE = Path(__file__).parents[2] / "examples" / "traces" / "azure2023-conv-slice.csv"


def run(*arguments: object):
    result = CliRunner().invoke(stoker, ["trace", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_describe_tells_rate_burstiness_and_lengths():
    lines = run("describe", EXAMPLE).stdout.splitlines()
    assert lines[0].endswith("azure2023-conv-slice.csv  (azure)")
    assert lines[2].startswith("requests   785 in 3 min, 4.36/s")
    assert any(line.startswith("burstiness variance/mean") for line in lines)
    assert lines[-1].split()[0] == "output"
    assert lines[-1].split()[5] == "1,000"


def test_describe_as_json_has_the_documented_fields():
    (found,) = json.loads(run("describe", EXAMPLE, "--output", "json").stdout)
    assert found["requests"] == 785
    assert found["format"] == "azure"
    assert found["output_tokens"]["max"] == 1000
    assert sum(found["rates"]) > 0
    documented = (Path(__file__).parents[2] / "docs" / "reference" / "traces.md").read_text()
    assert all(f"`{name}`" in documented for name in found)


def test_cut_writes_a_part_that_begins_at_zero(tmp_path):
    out = tmp_path / "part.jsonl"
    told = run("cut", EXAMPLE, out, "--start", "1m", "--duration", "30s").stderr
    got = reading.load(reading.read(out))
    assert got.times[0] < 1
    assert got.times[-1] < 30
    assert "60 s to 90 s" in told
    assert f"wrote {len(got)} requests" in told


def test_scale_says_what_it_did(tmp_path):
    out = tmp_path / "scaled.jsonl"
    told = run("scale", EXAMPLE, out, "--time", 2, "--rate", 3, "--output-tokens", 0.5).stderr
    before, after = (reading.load(reading.read(path)) for path in (EXAMPLE, out))
    assert len(after) == 3 * len(before)
    assert after.duration == pytest.approx(2 * before.duration, abs=2.5)
    assert after.output_tokens.max() == 500
    for words in ("each request sent 3 times", "times x 2", "output tokens x 0.5"):
        assert words in told


def test_scale_without_a_factor_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to scale"):
        run("scale", EXAMPLE, tmp_path / "out.jsonl")


def test_merge_takes_all_but_the_last_file(tmp_path):
    out = tmp_path / "both.jsonl.gz"
    run("merge", EXAMPLE, EXAMPLE, out)
    assert len(reading.load(reading.read(out))) == 2 * 785
    with pytest.raises(InputError, match="two traces"):
        run("merge", EXAMPLE, out)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_draws_a_picture(suffix, tmp_path):
    out = tmp_path / f"trace.{suffix}"
    run("plot", EXAMPLE, out)
    head = out.read_bytes()[:300]
    assert b"PNG" in head if suffix == "png" else b"<svg" in head or b"<?xml" in head


def test_generate_needs_an_end_and_says_its_seed(tmp_path):
    out = tmp_path / "day.jsonl"
    with pytest.raises(InputError, match="no end"):
        run("generate", "poisson(5)", out)
    told = run(
        "generate", "poisson(5)", out, "--duration", "2m", "--prompt-tokens", "64", "--seed", 3
    ).stderr
    assert "poisson(5) for 120 s (seed 3)" in told
    assert set(reading.load(reading.read(out)).prompt_tokens.tolist()) == {64}


def test_bad_rows_are_told_on_stderr(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(EXAMPLE.read_text() + "nonsense\n")
    with pytest.raises(InputError, match="not a request"):
        run("describe", path)
    told = run("describe", path, "--skip-bad-rows")
    assert "left out 1 bad row (1 not a request)" in told.stderr
    assert "785 in" in told.stdout
