"""`stoker up --record`: a trace of what came, which replay takes."""

from __future__ import annotations

import json
import signal

import pytest
from tests.e2e.conftest import EXAMPLES, QUICK_PROBES, stoker

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(300)  # replay may have to wait for the compiler
def test_what_was_recorded_can_be_described_and_replayed(up, tmp_path):
    values = (EXAMPLES / "01-production-stack" / "values.yaml").read_text() + QUICK_PROBES
    trace = tmp_path / "requests.jsonl"
    stack = up(values, f"--record={trace}", "--gateway-workers=2")
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    load = stoker(
        "load", stack.gateway, "--num-requests=12", "--prompt-len=50", "--max-tokens=4", "--seed=1"
    )
    assert load.returncode == 0, load.stderr
    # The gateway's processes tell twice a second.
    stack.until(lambda: len(trace.read_text().splitlines()) == 12, "all requests are recorded")
    answer = stack.chat("Hello, dear engine", max_tokens=3)
    stack.stop()
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert len(lines) == 13, "the last one is written at the end"
    usage = answer["usage"]
    assert lines[-1]["prompt_tokens"] == usage["prompt_tokens"]
    assert lines[-1]["completion_tokens"] == usage["completion_tokens"] == 3
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {line["model"] for line in lines} == {"meta-llama/Llama-3.1-8B-Instruct"}

    described = stoker("trace", "describe", str(trace), "--output=json")
    assert described.returncode == 0, described.stderr
    [figures] = json.loads(described.stdout)
    assert (figures["format"], figures["requests"]) == ("stoker", 13)
    values_file = tmp_path / "values.yaml"
    replayed = stoker("replay", str(values_file), "--trace", str(trace), "--output=json", limit=200)
    assert replayed.returncode == 0, replayed.stderr
    [run] = [run for run in json.loads(replayed.stdout)["runs"] if run["kind"] == "file"]
    assert (run["requests"], run["failed"]) == (13, 0)


def test_a_file_that_cannot_be_recorded_into_is_told_before_anything_starts(tmp_path):
    other = tmp_path / "notes.jsonl"
    other.write_text("not a trace\n")
    file = EXAMPLES / "01-production-stack" / "values.yaml"
    run = stoker(
        "up", str(file), "--engine=simulated", "--gateway-port=0", "--prometheus-port=0",
        f"--state-dir={tmp_path / 'state'}", f"--record={other}",
    )  # fmt: skip
    assert run.returncode != 0
    assert "did not write it" in run.stderr
    assert "hint: give it another name" in run.stderr
    assert other.read_text() == "not a trace\n"


def test_a_killed_run_and_the_next_one_leave_one_trace(up, tmp_path):
    """The gateway's processes outlive the control process, and keep what they have noted."""
    values = (EXAMPLES / "01-production-stack" / "values.yaml").read_text() + QUICK_PROBES
    trace = tmp_path / "requests.jsonl"
    stack = up(values, f"--record={trace}")
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    stack.chat()
    stack.until(lambda: len(trace.read_text().splitlines()) == 1, "the first is recorded")
    stack.send(signal.SIGKILL)
    stack.process.wait(10)
    stack.start()
    stack.until(lambda: stack.ready() == 1, "the replica is adopted")
    stack.chat()
    stack.stop()
    first, second = (json.loads(line) for line in trace.read_text().splitlines())
    assert first["time"] == 0.0
    between = second["unix_time"] - first["unix_time"]
    assert second["time"] == pytest.approx(between, abs=0.001)
    assert second["completion_tokens"] == first["completion_tokens"] == 3
