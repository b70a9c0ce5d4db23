"""Probes over the wire, and the kubelet's words for what can go wrong."""

# ruff: noqa: ARG001 - a fake has the signature of what it stands for

import asyncio
import os
import socket

import pytest
from aiohttp import web

from stoker.resources.workload import Probe
from stoker.targets.processes.prober import LocalProber, exit_words, on_this_machine
from stoker.targets.processes.probes import ProbeTarget


@pytest.fixture
async def port():
    async def slow(request):
        await asyncio.sleep(0.5)
        return web.Response()

    async def status(request):
        code = int(request.match_info["code"])
        headers = {"Location": "/status/200"} if code == 302 else None
        return web.Response(status=code, headers=headers)

    app = web.Application()
    app.router.add_get("/slow", slow)
    app.router.add_get("/status/{code}", status)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def ask():
    prober = LocalProber()

    async def probe(listening_on, **probe):
        target = ProbeTarget("127.0.0.1", listening_on, 8000, dict(os.environ))
        result = await prober.probe(Probe(**probe), target)
        return result.success, result.message

    yield probe
    await prober.close()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("code", [200, 204, 302])
async def test_http_2xx_and_3xx_are_healthy(port, ask, code):
    assert await ask(port, path=f"/status/{code}") == (True, "")


@pytest.mark.parametrize("code", [404, 503])
async def test_other_statuses_are_failures_with_their_code(port, ask, code):
    words = f"HTTP probe failed with statuscode: {code}"
    assert await ask(port, path=f"/status/{code}") == (False, words)


async def test_a_path_without_slash_and_the_port_of_the_container_are_understood(port, ask):
    assert await ask(port, path="status/200", port=8000) == (True, "")


async def test_a_port_of_its_own_is_asked_as_it_stands(port, ask, closed_port):
    assert await ask(closed_port, path="/status/200", port=port) == (True, "")


async def test_a_slow_answer_exceeds_the_deadline(port, ask):
    success, message = await ask(port, path="/slow", timeout=0.1)
    assert not success
    assert message == (
        f'Get "http://127.0.0.1:{port}/slow": context deadline exceeded '
        "(Client.Timeout exceeded while awaiting headers)"
    )


async def test_nobody_listening_is_connection_refused(ask, closed_port):
    success, message = await ask(closed_port)
    address = f"127.0.0.1:{closed_port}"
    assert not success
    assert (
        message == f'Get "http://{address}/health": dial tcp {address}: connect: connection refused'
    )


async def test_what_does_not_speak_http_is_a_failure(ask):
    async def hang_up(reader, writer):
        await reader.read(10)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        success, message = await ask(port)
    assert not success
    assert message.startswith(f'Get "http://127.0.0.1:{port}/health": ')


async def test_tcp_needs_only_a_listener(port, ask):
    assert await ask(port, tcp=True) == (True, "")


async def test_tcp_without_a_listener_is_refused(ask, closed_port):
    words = f"dial tcp 127.0.0.1:{closed_port}: connect: connection refused"
    assert await ask(closed_port, tcp=True) == (False, words)


async def test_exec_counts_its_exit_code_and_shows_its_output(ask):
    assert (await ask(1, command=("true",)))[0]
    assert await ask(1, command=("sh", "-c", "echo sick; exit 3")) == (False, "sick")


async def test_exec_reaches_the_replica_through_the_containers_address(ask):
    command = ("sh", "-c", "echo http://localhost:8000/health; exit 1")
    assert await ask(4321, command=command) == (False, "http://127.0.0.1:4321/health")


async def test_exec_that_hangs_is_killed(ask):
    success, message = await ask(1, command=("sleep", "60"), timeout=0.1)
    assert not success
    assert message == 'command timed out: "sleep 60" timed out after 0.1s'


async def test_exec_of_nothing_is_a_failure(ask):
    success, message = await ask(1, command=("no-such-program",))
    assert not success
    assert "no such file or directory" in message


@pytest.mark.parametrize(
    ("argument", "there"),
    [
        ("http://localhost:8000/health", "http://127.0.0.1:4321/health"),
        ("127.0.0.1:8000", "127.0.0.1:4321"),
        ("localhost:80001", "localhost:80001"),
        ("example.org:8000", "example.org:8000"),
    ],
)
def test_only_the_containers_own_address_is_replaced(argument, there):
    assert on_this_machine(argument, ProbeTarget("127.0.0.1", 4321, 8000, {})) == there


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (-9, "exit code 137 (SIGKILL)"),
        (-999, "exit code 1127 (signal 999)"),
        (None, "exit code unknown"),
    ],
)
def test_exit_codes_read_as_in_a_cluster(code, words):
    assert exit_words(code) == words
