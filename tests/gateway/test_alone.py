"""`stoker gateway`: its file, and its processes when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from stoker.clock import pause, stopwatch
from stoker.errors import InputErrors
from stoker.gateway.endpoints import read_endpoints

REPLICA = Path(__file__).with_name("replica.py")


def read(tmp_path, text: str):
    path = tmp_path / "endpoints.yaml"
    path.write_text(text)
    return read_endpoints(path)


def test_everything_that_a_file_can_say(tmp_path):
    served = read(
        tmp_path,
        """
models:
- name: m1
  aliases: [gpt-x]
  endpoints:
  - http://127.0.0.1:9001/
  - {url: "https://example.com/prefix", weight: 2, limit: 4}
  limit: 32
  queue: {requests: 512, bytes: 64Mi}
  hold: 5m
- {name: m2, endpoints: ["unix:/run/vllm.sock"]}
""",
    )
    [first, second] = served.models
    assert (first.aliases, first.limit, first.queue_requests) == (("gpt-x",), 32, 512)
    assert (first.queue_bytes, first.hold, second.hold) == (64 << 20, 300.0, 300.0)
    [one, two] = served.endpoints["m1"]
    assert (one.url, one.weight, one.limit) == ("http://127.0.0.1:9001", 1.0, None)
    assert (two.url, two.weight, two.limit) == ("https://example.com/prefix", 2.0, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: []", "`models` must not be empty"),
        ("model: []", "unknown field `model`"),
        ("models: [{name: a, endpoint: [x]}]", "unknown field `endpoint`"),
        ("models: [{name: a, endpoints: ['127.0.0.1:80']}]", "must be http://HOST:PORT"),
        ("models: [{name: a, endpoints: ['http://u:p@h']}]", "must not have a user"),
        ("models: [{name: a, hold: soon}]", "must be a duration"),
        ("models: [{name: a, queue: {bytes: 1x}}]", "must be a number of bytes"),
        ("models: [{name: a, limit: 0}]", "must be at least 1"),
        ("models: [{name: a, aliases: [b]}, {name: b}]", "b is the name of `models[0].aliases[0]`"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, words, tmp_path):
    with pytest.raises(InputErrors) as refused:
        read(tmp_path, text)
    assert words in str(refused.value)
    assert f"{tmp_path / 'endpoints.yaml'}:1:" in str(refused.value)


class Alone:
    """`stoker gateway` as a user starts it."""

    def __init__(self, tmp_path: Path, *flags: str) -> None:
        self.file = tmp_path / "endpoints.yaml"
        self.state = tmp_path / "state"
        self.flags = flags
        self.errors = (tmp_path / "errors.log").open("ab")
        self.process: subprocess.Popen[str] | None = None
        self.start(0)

    def start(self, port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stoker", "gateway", f"--endpoints={self.file}",
             f"--port={port}", f"--state-dir={self.state}", "--health-interval=200ms", *self.flags],
            stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip
        self.url = self.process.stdout.readline().split()[1].removesuffix("/v1")
        assert self.url

    def workers(self) -> list[int]:
        return json.loads((self.state / "gateway.json").read_text())["pids"]

    def ask(self, path: str = "/v1/chat/completions", body: dict | None = None) -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        url = self.url + path
        with urllib.request.urlopen(url, data, timeout=20) as answer:  # noqa: S310 - it is http
            return answer.read()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture
def replica():
    """Start well-behaved replicas; their ports."""
    running = []

    def start(mode: str = "well") -> int:
        process = subprocess.Popen(
            [sys.executable, "-I", str(REPLICA), mode], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return int(process.stdout.readline())

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def alone(tmp_path):
    made = []

    def start(ports: list[int], *flags: str) -> Alone:
        write(tmp_path / "endpoints.yaml", ports)
        made.append(Alone(tmp_path, *flags))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def write(path: Path, ports: list[int]) -> None:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    path.with_suffix(".new").write_text(
        json.dumps({"models": [{"name": "m", "endpoints": urls, "hold": "20s"}]})
    )
    path.with_suffix(".new").rename(path)


def until(look, what: str, limit: float = 20.0):
    deadline = stopwatch() + limit
    while stopwatch() < deadline:
        if found := look():
            return found
        pause(0.05)
    raise AssertionError(f"waited {limit:g} s until {what}")


ASK = {"model": "m", "messages": []}


@pytest.mark.e2e
def test_its_file_is_followed(alone, replica):
    door = alone([])
    assert json.loads(door.ask("/v1/models"))["data"][0]["state"] == "sleeping"
    write(door.file, [replica()])
    assert b"completion_tokens" in door.ask(body=ASK)  # held until the file was read
    door.file.write_text("models: nonsense")
    pause(1.5)
    assert b"completion_tokens" in door.ask(body=ASK)


@pytest.mark.e2e
def test_it_goes_on_when_a_process_of_it_is_killed(alone, replica):
    door = alone([replica()], "--workers=2")
    before = door.workers()
    assert len(before) == 2
    for _ in range(5):
        door.ask(body=ASK)
    os.kill(before[0], signal.SIGKILL)
    for _ in range(10):
        assert b"completion_tokens" in door.ask(body=ASK)
    after = until(lambda: door.workers() != before and door.workers(), "another has started")
    assert after[1] == before[1]

    def counted() -> bool:
        return b'vllm:num_incoming_requests_total{model="m"} 15' in door.ask("/metrics")

    until(counted, "the counts of the dead one are in the sum")


@pytest.mark.e2e
def test_it_serves_without_the_one_that_was_started_and_the_next_takes_over(alone, replica):
    ports = [replica()]
    door = alone(ports)
    door.ask(body=ASK)
    workers = door.workers()
    door.process.kill()
    door.process.wait()
    for _ in range(5):
        assert b"completion_tokens" in door.ask(body=ASK)
    door.process.stdout.close()
    port = int(door.url.rpartition(":")[2])
    door.start(port)
    assert door.workers() == workers
    assert door.url.endswith(f":{port}")
    assert b'vllm:num_incoming_requests_total{model="m"} 6' in door.ask("/metrics")
    write(door.file, [])
    until(lambda: json.loads(door.ask("/v1/models"))["data"][0]["ready_replicas"] == 0, "told")


@pytest.mark.e2e
def test_orphans_end_when_nobody_comes(alone, replica):
    door = alone([replica()], "--orphan-timeout=500ms")
    [worker] = door.workers()
    door.process.kill()
    door.process.wait()

    def gone() -> bool:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return True
        return False

    until(gone, "the orphan has ended")
    with pytest.raises(urllib.error.URLError):
        door.ask("/version")


@pytest.mark.e2e
def test_a_replica_that_never_answers_is_found_by_its_health(alone, replica):
    door = alone([replica("silent"), replica()])
    answers = [door.ask(body=ASK) for _ in range(2)]
    assert all(b"completion_tokens" in answer for answer in answers)
    page = door.ask("/metrics").decode()
    assert 'stoker_gateway_retries_total{model="m",reason="withdrawn"} 1' in page
