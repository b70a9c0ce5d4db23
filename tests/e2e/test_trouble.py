"""What a user does wrong, and what happens to a machine."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from tests.e2e.conftest import EXAMPLES, QUICK_FLAGS, QUICK_PROBES, stoker

from stoker.clock import pause, stopwatch

pytestmark = pytest.mark.e2e
VALUES = (EXAMPLES / "01-production-stack" / "values.yaml").read_text() + QUICK_PROBES


def refused(tmp_path: Path, values: str, *flags: str, **environment: str) -> str:
    """What `stoker up` says before it ends with 2 and has started nothing."""
    file = tmp_path / "values.yaml"
    file.write_text(values)
    state_dir = tmp_path / "state"
    result = stoker(
        "up", str(file), *QUICK_FLAGS, "--gateway-port=0", "--prometheus-port=0",
        f"--state-dir={state_dir}", *flags, **environment,
    )  # fmt: skip
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert not list(state_dir.glob("pods/*")), "nothing was started"
    return result.stderr.replace(str(file), "values.yaml")


def test_a_misspelt_key_is_named_with_its_place_and_the_right_one(tmp_path):
    told = refused(tmp_path, VALUES.replace("maxReplicaCount", "maxReplicas"))
    assert "maxReplicas" in told
    assert "--> values.yaml:17:9" in told
    assert "did you mean `maxReplicaCount`?" in told
    assert "--validate=warn" in told


def test_an_unknown_field_of_any_resource_starts_nothing_unless_asked(tmp_path):
    unknown = VALUES.replace("      requestCPU: 10", "      requestCPU: 10\n      colour: blue")
    assert "colour" in refused(tmp_path, unknown)


def test_all_errors_of_all_documents_are_told_at_once(tmp_path):
    broken = VALUES.replace("threshold: '5'", "threshold: 5").replace("requestCPU: 10", "")
    told = refused(tmp_path, broken)
    assert "threshold" in told
    assert "requestCPU" in told


def test_a_threshold_that_is_no_number_starts_nothing(tmp_path):
    told = refused(tmp_path, VALUES.replace("threshold: '5'", "threshold: five"))
    assert "threshold" in told
    assert "values.yaml:" in told


def test_a_trigger_that_is_not_there_yet_is_told_with_its_place(tmp_path):
    told = refused(tmp_path, VALUES.replace("type: prometheus", "type: kafka"))
    assert "trigger type `kafka` is not supported yet" in told
    assert "--> values.yaml:27:" in told


def test_a_taken_port_is_told_with_the_flag_that_avoids_it(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = refused(tmp_path, VALUES, f"--gateway-port={taken.getsockname()[1]}")
    assert "cannot listen on 127.0.0.1:" in told
    assert "`up --gateway-port`" in told


def test_a_missing_vllm_is_told_with_the_engine_that_needs_none(tmp_path):
    told = refused(tmp_path, VALUES, "--engine=vllm", PATH=str(tmp_path))
    assert "`vllm`" in told
    assert "--engine simulated" in told


def test_a_second_stack_on_the_same_state_directory_is_refused(up, tmp_path):
    stack = up(VALUES)
    told = stoker("up", str(tmp_path / "values.yaml"), f"--state-dir={stack.state_dir}")
    assert told.returncode == 2
    assert f"(pid {stack.process.pid})" in told.stderr
    assert stack.client.overview(), "and the first one runs on"


def test_an_engine_that_exits_at_once_shows_crash_loop_back_off_and_why(up):
    stack = up(
        VALUES.replace("requestGPU: 1", "requestGPU: 1\n      vllmConfig: {maxModelLen: 99999999}")
    )

    def looping() -> dict | None:
        pods = stack.objects("pods")
        states = [s["state"] for p in pods for s in p["status"].get("containerStatuses", [])]
        waiting = [s["waiting"] for s in states if "waiting" in s]
        return next((w for w in waiting if w["reason"] == "CrashLoopBackOff"), None)

    stack.until(looping, "the pod backs off")
    assert "max_model_len" in stack.log.read_text(), "the engine's own words are told"


def test_a_killed_control_process_loses_neither_replicas_nor_memory(up):
    stack = up(VALUES)
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    stack.chat()

    def decided() -> bool:
        return len(stack.client.ticks("vllm-llama3-scaledobject")) >= 3

    stack.until(decided, "it has looked a few times")
    before = stack.objects("pods")[0]
    created = stack.objects("so")[0]["metadata"]["creationTimestamp"]
    stack.send(signal.SIGKILL)
    stack.process.wait()
    stack.start()
    stack.until(lambda: stack.ready() == 1, "the replica is ready again")
    after = stack.objects("pods")[0]
    assert after["metadata"]["name"] == before["metadata"]["name"]
    assert (
        after["metadata"]["annotations"]["stoker/pid"]
        == (before["metadata"]["annotations"]["stoker/pid"])
    ), "the same process"
    assert stack.objects("so")[0]["metadata"]["creationTimestamp"] == created
    assert stack.chat()["usage"]["completion_tokens"] == 3


def test_no_replica_survives_a_control_process_that_does_not_come_back(up):
    stack = up(VALUES, "--orphan-timeout=1s")
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    pid = int(stack.objects("pods")[0]["metadata"]["annotations"]["stoker/pid"])
    stack.send(signal.SIGKILL)
    stack.process.wait()
    deadline = stopwatch() + 30
    while _alive(pid) and stopwatch() < deadline:
        pause(0.2)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    os.kill(pid, 0)
    return state != "Z"
