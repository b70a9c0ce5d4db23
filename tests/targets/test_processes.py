"""Real processes on 127.0.0.1: start, crash, stop, logs."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stoker.clock import LoopClock
from stoker.errors import MachineError, NotFoundError
from stoker.events import EventLog
from stoker.resources.workload import Probe
from stoker.targets.processes import Deployment, Node
from stoker.targets.processes import node as node_module
from stoker.targets.processes.process import LocalLauncher, LocalProcess
from stoker.targets.processes.watchdog import process_identity

pytestmark = pytest.mark.e2e

QUICK = {
    "startup_probe": Probe(period=0.1, failure_threshold=100),
    "readiness_probe": Probe(period=0.1),
}


@pytest.fixture
async def node(tmp_path, engine, traffic):
    made = Node(tmp_path, 2, LoopClock(), EventLog(), engine, traffic, namespace="default")
    made.heard = []
    made.on_notice(made.heard.append)
    await made.start()
    yield made
    await made.stop(force=True)


async def until(condition, seconds=8.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - looks at other processes
            await asyncio.sleep(0.05)


async def test_a_replica_starts_serves_and_stops(node, workload):
    deployment = Deployment(node, workload(gpus=1, **QUICK))
    await deployment.start()
    await until(lambda: deployment.status().ready_replicas == 1)
    (pod,) = deployment.pods()
    assert os.getsid(pod.pid) == pod.pid != os.getsid(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(b"GET /health HTTP/1.0\r\n\r\n")
    assert b" 200 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    await deployment.scale(0)
    await until(lambda: deployment.pods() == ())
    assert process_identity(pod.pid) is None
    assert b"listening on" in b"".join([chunk async for chunk in node.logs(pod.name)])


async def test_workers_of_a_crashed_engine_are_killed(node, workload, engine):
    engine.options = ("--worker",)
    deployment = Deployment(node, workload(**QUICK))
    await deployment.start()
    await until(lambda: deployment.status().ready_replicas == 1)
    (pod,) = deployment.pods()
    worker = int(b"".join([chunk async for chunk in node.logs(pod.name)]).split()[1])
    os.kill(pod.pid, signal.SIGKILL)
    await until(lambda: process_identity(worker) is None)
    await until(lambda: deployment.pods()[0].restarts == 1)


async def test_an_engine_that_ends_at_once_is_told_with_its_log(node, workload, engine):
    engine.options = ("--exit", "3")
    deployment = Deployment(node, workload(**QUICK))
    await deployment.start()
    await until(lambda: deployment.pods()[0].reason == "CrashLoopBackOff")
    (notice,) = node.heard
    assert "exit code 3" in notice.message
    assert "RuntimeError: no kernel image is available" in notice.hint
    await deployment.scale(0)
    await until(lambda: deployment.pods() == ())


async def test_following_a_log_ends_with_the_pod(node, workload):
    deployment = Deployment(node, workload(**QUICK))
    await deployment.start()
    (pod,) = deployment.pods()

    async def follow():
        return b"".join([chunk async for chunk in node.logs(pod.name, follow=True)])

    following = asyncio.create_task(follow())
    await until(lambda: deployment.status().ready_replicas == 1)
    await deployment.scale(0)
    assert b"listening on" in await following


async def test_logs_of_an_unknown_pod_are_not_found(node):
    for name in ("nobody", "../lock"):
        with pytest.raises(NotFoundError, match=f'pods "{name}" not found'):
            node.logs(name)


async def test_stopping_the_node_stops_its_watchdog_and_frees_the_directory(
    tmp_path, engine, traffic
):
    for _ in range(2):
        node = Node(tmp_path, 0, LoopClock(), EventLog(), engine, traffic, namespace="default")
        await node.start()
        watchdog = node.watchdog_pid
        assert process_identity(watchdog) is not None
        await node.stop()
        assert process_identity(watchdog) is None


@pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "polling"])
async def test_the_end_of_a_child_and_of_a_stranger_is_noticed(tmp_path, monkeypatch, pidfd):
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr("stoker.targets.processes.process._POLL_INTERVAL", 0.05)
    launcher = LocalLauncher()
    child = launcher.start(("sleep", "60"), os.environ, tmp_path / "a.log", lambda _: None)
    stranger = launcher.find(child.pid, child.identity)
    assert isinstance(stranger, LocalProcess)
    assert not child.exited
    child.terminate()
    codes = await asyncio.gather(child.wait(), stranger.wait())
    assert codes == [-signal.SIGTERM, None]
    assert launcher.find(child.pid, child.identity) is None


async def test_an_engine_that_nobody_recorded_never_runs(tmp_path):
    proof = tmp_path / "ran"
    seen = []

    def record(process):
        seen.append(process)
        raise OSError(28, "No space left on device")

    argv = (sys.executable, "-c", f"open({str(proof)!r}, 'w')")
    with pytest.raises(OSError, match="No space left"):
        LocalLauncher().start(argv, os.environ, tmp_path / "a.log", record)
    assert await seen[0].wait() == 125
    assert not proof.exists()


async def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='exec: "no-such-engine": executable file not'):
        LocalLauncher().start(("no-such-engine",), os.environ, tmp_path / "a.log", print)


async def test_a_disk_that_fills_up_is_told_before_engines_find_out(
    tmp_path, engine, traffic, monkeypatch
):
    free = 1_000_000
    monkeypatch.setattr(node_module, "_HOUSEKEEPING_INTERVAL", 0.01)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    node = Node(tmp_path, 0, LoopClock(), EventLog(), engine, traffic, namespace="default")
    heard = []
    node.on_notice(heard.append)
    await node.start()
    await asyncio.sleep(0.2)
    assert len(heard) == 1
    assert "almost no space left on the disk" in heard[0].message
    free = 10**12
    await asyncio.sleep(0.2)
    free = 0
    await until(lambda: len(heard) == 2)
    await node.stop()


@pytest.mark.parametrize("what", ["a file", "read only"])
async def test_a_state_directory_that_cannot_be_used_is_told(tmp_path, engine, traffic, what):
    state = tmp_path / "state"
    if what == "a file":
        state.write_text("")
    else:
        state = Path("/proc/stoker")
    node = Node(state, 0, LoopClock(), EventLog(), engine, traffic, namespace="default")
    with pytest.raises(MachineError, match="cannot use the state directory") as told:
        await node.start()
    assert "--state-dir" in told.value.hint
    await node.stop()
