"""No orphan survives a killed control process, and no replica is lost when it comes back.

Real processes: a control process, its replicas, its watchdog.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from stoker.targets.processes.watchdog import process_identity

pytestmark = pytest.mark.e2e

CONTROL = Path(__file__).with_name("control.py")


class Control:
    """A control process and what it printed."""

    def __init__(self, process, said):
        self.process = process
        self.said = said

    @property
    def pids(self):
        return [pod["pid"] for pod in self.said["pods"]]

    async def kill(self):
        self.process.kill()
        await self.process.wait()

    async def stop(self):
        self.process.stdin.write(b"\n")
        await self.process.wait()


@pytest.fixture
async def control(tmp_path):
    started = []

    async def start(replicas=2, orphan_timeout=30.0, options=()):
        arguments = [tmp_path / "state", replicas, orphan_timeout, *options]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            CONTROL,
            *map(str, arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        made = Control(process, json.loads(await process.stdout.readline()))
        started.append(made)
        return made

    yield start
    for made in started:
        if made.process.returncode is None:
            await made.kill()
        for pod in made.said.get("pods", []):
            if process_identity(pod["pid"]):
                os.killpg(pod["pid"], signal.SIGKILL)
        if process_identity(made.said.get("watchdog", 2**31)):
            os.kill(made.said["watchdog"], signal.SIGKILL)


async def until(condition, seconds=8.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - looks at other processes
            await asyncio.sleep(0.05)


def dead(pids):
    return all(process_identity(pid) is None for pid in pids)


async def test_a_restart_adopts_the_replicas_of_a_killed_control_process(control):
    first = await control()
    await first.kill()
    second = await control()
    assert second.said["pods"] == first.said["pods"]
    await until(lambda: dead([first.said["watchdog"]]))
    assert not dead([second.said["watchdog"]])
    await second.stop()
    assert dead([*second.pids, second.said["watchdog"]])


async def test_without_a_restart_no_replica_survives(control, tmp_path):
    first = await control(orphan_timeout=0.2)
    await first.kill()
    await until(lambda: dead([*first.pids, first.said["watchdog"]]))
    assert list((tmp_path / "state" / "pods").iterdir()) == []
    logs = [path.read_text() for path in (tmp_path / "state" / "logs").iterdir()]
    assert all("stopped" in log for log in logs), "SIGTERM comes before SIGKILL"


async def test_an_orphan_that_ignores_sigterm_is_killed_with_its_workers(control, tmp_path):
    first = await control(1, 0.0, ["--ignore-term", "--worker"])
    (log,) = (tmp_path / "state" / "logs").iterdir()
    worker = int(log.read_text().split()[1])
    assert not dead([worker])
    await first.kill()
    await until(lambda: dead([*first.pids, worker]))


async def test_another_template_after_a_kill_replaces_the_replicas(control):
    first = await control(1)
    await first.kill()
    second = await control(1, 30.0, ["--start-delay", "0.01"])
    await until(lambda: dead(first.pids))
    assert [pod["name"] for pod in second.said["pods"]] != [
        pod["name"] for pod in first.said["pods"]
    ]


async def test_a_second_stack_on_the_same_directory_is_refused_by_pid(control):
    first = await control(1)
    second = await control(1)
    assert f"another `stoker up` (pid {first.process.pid})" in second.said["error"]
    assert f"kill {first.process.pid}" in second.said["hint"]
    assert "--state-dir" in second.said["hint"]
    assert not dead(first.pids)


async def test_a_clean_stop_leaves_nothing_behind(control, tmp_path):
    first = await control(2)
    await first.stop()
    assert dead([*first.pids, first.said["watchdog"]])
    assert list((tmp_path / "state" / "pods").iterdir()) == []


async def test_a_killed_watchdog_is_replaced(control):
    first = await control(1, 0.0)
    os.kill(first.said["watchdog"], signal.SIGKILL)

    def replaced():
        children = psutil.Process(first.process.pid).children()
        return any(
            child.pid != first.said["watchdog"] and "watchdog.py" in " ".join(child.cmdline())
            for child in children
            if child.status() != psutil.STATUS_ZOMBIE
        )

    await until(replaced)
    await first.kill()
    await until(lambda: dead(first.pids))
