"""`stoker up` as a user starts it: a process of its own, with real replicas on 127.0.0.1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

import pytest

from stoker.api.client import Client
from stoker.api.kinds import resolve
from stoker.clock import pause, stopwatch
from stoker.errors import ConflictError

T = TypeVar("T")
EXAMPLES = Path(__file__).parents[2] / "examples"

# The chart's probes first look after 15 s (also where 0 is written: Helm takes that for empty).
QUICK_PROBES = """
  startupProbe:
    {initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 60,
     httpGet: &health {path: /health, port: 8000}}
  readinessProbe:
    {initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 3, httpGet: *health}
"""
QUICK_FLAGS = (
    "--engine=simulated",
    "--startup=0.5s",
    "--scrape-interval=0.5s",
    "--polling-interval=1s",
    "--sync-period=1s",
    "--stabilization-window=4s",
)


def stoker(
    *arguments: str, limit: float = 50, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "stoker", *arguments],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
        env={**os.environ, **environment},
    )


class Up:
    """A running `stoker up`, and what a user in another terminal sees of it."""

    def __init__(self, directory: Path, file: Path, *flags: str) -> None:
        self.state_dir = directory / "state"
        self.log = directory / "up.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._command = [
            sys.executable, "-m", "stoker", "up", str(file), *QUICK_FLAGS, "--gateway-port=0",
            "--prometheus-port=0", f"--state-dir={self.state_dir}", "--until-stdin-closes", *flags,
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again."""
        self._close_stdin()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            )
        self.client = self.until(self._client, "the control API answers")
        self.gateway = self.client.overview()["gateway_url"]

    def _client(self) -> Client | None:
        assert self.process.poll() is None, self.log.read_text()
        try:
            client = Client.discover(self.state_dir)
            client.overview()
        except ConflictError:
            return None
        return client

    def until(self, look: Callable[[], T | None], what: str, limit: float = 40.0) -> T:
        """What *look* gives as soon as it gives something."""
        deadline = stopwatch() + limit
        while stopwatch() < deadline:
            if found := look():
                return found
            pause(0.1)
        pytest.fail(f"waited {limit:.0f} s until {what}; `stoker up` said:\n{self.log.read_text()}")

    def ready(self) -> int:
        """Ready replicas."""
        return self.client.overview()["models"][0]["ready"]

    def objects(self, kind: str) -> list[dict]:
        """What `stoker get KIND -o json` lists."""
        return self.client.objects(resolve(kind))

    def chat(self, text: str = "Hello", max_tokens: int = 3) -> dict:
        """One request, as curl would send it."""
        model = self.client.overview()["models"][0]["model"]
        body = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": max_tokens,
        }
        host = self.gateway.removeprefix("http://")
        connection = HTTPConnection(host, timeout=40)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return json.load(answer)
        finally:
            connection.close()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the control process alone."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ctrl-C, twice: tests do not wait for anybody."""
        if self.process.poll() is None:
            self.send(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGINT)
                self.process.wait(10)
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self.process and self.process.stdin:
            self.process.stdin.close()


@pytest.fixture
def up(tmp_path) -> Iterator[Callable[..., Up]]:
    """Starts `stoker up FILE`, where FILE is the text of a values.yaml."""
    running: list[Up] = []

    def start(values: str, *flags: str) -> Up:
        file = tmp_path / "values.yaml"
        file.write_text(values)
        running.append(Up(tmp_path, file, *flags))
        return running[-1]

    yield start
    for one in running:
        one.stop()
