"""A simulated replica as its own process: the cold start, the port, the end."""

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stoker.engines import SimulatedEngine
from stoker.resources.workload import Workload

pytestmark = pytest.mark.e2e

WORKLOAD = Workload(
    name="tiny",
    namespace="default",
    model="org/tiny",
    command=("vllm", "serve", "org/tiny", "--host", "0.0.0.0", "--port", "8000"),
    termination_grace_period=20.0,
)


class Process:
    """A replica that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def until(self, words: str) -> str:
        """The first line of the log with these words."""
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            self.lines.append(raw.decode())
            if words in self.lines[-1]:
                return self.lines[-1]
        pytest.fail(f"no {words!r} in the log:\n{''.join(self.lines)}")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def exit_code(self) -> int:
        assert self._process.stdout is not None
        await self._process.stdout.read()
        return await self._process.wait()


@asynccontextmanager
async def started(engine: SimulatedEngine, port: int = 0) -> AsyncIterator[Process]:
    launch = engine.launch(WORKLOAD, port, ())
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        env={**os.environ, **launch.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def port_of(line: str) -> int:
    return int(line.rsplit(":", 1)[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def test_the_port_is_refused_until_the_engine_is_loaded():
    port = free_port()
    async with started(SimulatedEngine(profile="tiny", startup=1.0), port) as replica:
        await replica.until("Starting to load model org/tiny")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        assert port_of(await replica.until("Starting vLLM API server on http://127.0.0.1:")) == port
        await replica.until("Application startup complete")
        socket.create_connection(("127.0.0.1", port)).close()
        assert any("Loading weights took 0.22 seconds" in line for line in replica.lines)


async def test_a_replica_that_is_still_loading_stops_at_once():
    async with started(SimulatedEngine(profile="tiny", startup=600.0)) as replica:
        await replica.until("vLLM API server version")
        replica.signal(signal.SIGTERM)
        assert await replica.exit_code() == 0


async def test_sigterm_lets_the_answer_under_way_finish():
    async with started(SimulatedEngine(profile="tiny", startup=0.0)) as replica:
        port = port_of(await replica.until("Starting vLLM API server"))
        await replica.until("startup complete")
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = {"prompt": "Hi", "max_tokens": 60, "stream": True}  # 0.7 s
        await asyncio.to_thread(client.request, "POST", "/v1/completions", json.dumps(body))
        response = await asyncio.to_thread(client.getresponse)
        replica.signal(signal.SIGTERM)
        text = (await asyncio.to_thread(response.read)).decode()
        client.close()
        assert text.count('"text":"') == 60
        assert text.endswith("data: [DONE]\n\n")
        assert await replica.exit_code() == 0


async def test_a_taken_port_is_told_before_the_cold_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with started(SimulatedEngine(profile="tiny", startup=600.0), port) as replica:
            await replica.until(f"cannot use 127.0.0.1:{port}: Address already in use")
            assert await replica.exit_code() == 1


async def test_a_replica_does_not_load_what_only_the_starting_side_needs():
    code = (
        "import sys; import stoker.engines.simulated_server.lifecycle; "
        "print([name for name in ('pydantic', 'numpy', 'yaml') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.decode().strip() == "[]"
