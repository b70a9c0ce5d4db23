"""Fakes at the seams of a node: what starts processes, probes them, counts requests."""

# ruff: noqa: ARG002 - a fake has the signature of what it stands for

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from stoker.clock import LoopClock
from stoker.errors import StokerError
from stoker.events import Event, EventLog
from stoker.resources.workload import Probe, Workload
from stoker.targets.base import Launch, Pod
from stoker.targets.processes import Deployment, Node
from stoker.targets.processes.probes import ProbeResult, ProbeTarget
from stoker.targets.processes.process import Process

EPOCH = 1_000_000.0
FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")


class FakeProcess:
    """A process that ends on SIGTERM after *shutdown* seconds (None: never), or when told to."""

    def __init__(self, pid: int, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.pid = pid
        self.identity = f"identity of {pid}"
        self.argv = argv
        self.env = env
        self.shutdown: float | None = 0.0
        self.signals: list[tuple[float, int]] = []
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int | None] = self._loop.create_future()

    @property
    def exited(self) -> bool:
        return self._exit.done()

    async def wait(self) -> int | None:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        if not self.exited:
            self.signals.append((self._loop.time(), signal.SIGTERM))
            if self.shutdown is not None:
                self._loop.call_later(self.shutdown, self.end, 0)

    def kill(self) -> None:
        if not self.exited:
            self.signals.append((self._loop.time(), signal.SIGKILL))
            self.end(-signal.SIGKILL)

    def end(self, code: int | None) -> None:
        if not self._exit.done():
            self._exit.set_result(code)


@dataclass
class FakeLauncher:
    """Starts fake processes; *lifetimes* are the seconds after which the next ones crash."""

    started: list[FakeProcess] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    lifetimes: list[float] = field(default_factory=list)
    exit_code: int = 1
    log: bytes = b"RuntimeError: no kernel image\n"
    error: OSError | None = None
    survivors: dict[int, FakeProcess] = field(default_factory=dict)
    _pids: count = field(default_factory=lambda: count(4_000_001))  # above the kernel's limit

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        log_file: Path,
        record: Callable[[Process], None],
    ) -> FakeProcess:
        if self.error is not None:
            raise self.error
        process = FakeProcess(next(self._pids), argv, env)
        log_file.write_bytes(self.log)
        record(process)
        self.started.append(process)
        loop = asyncio.get_running_loop()
        self.times.append(loop.time())
        if self.lifetimes:
            loop.call_later(self.lifetimes.pop(0), process.end, self.exit_code)
        return process

    def find(self, pid: int, identity: str) -> FakeProcess | None:
        process = self.survivors.get(pid)
        return process if process is not None and process.identity == identity else None


@dataclass
class FakeProber:
    """Answers by path: True is healthy, a text is a failure. Unknown paths are healthy."""

    answers: dict[str, bool | str] = field(default_factory=dict)
    asked: list[tuple[float, str, int]] = field(default_factory=list)

    async def probe(self, probe: Probe, target: ProbeTarget) -> ProbeResult:
        path = probe.path or ""
        self.asked.append((asyncio.get_running_loop().time(), path, target.port))
        answer = self.answers.get(path, True)
        return ProbeResult(answer is True, "" if answer is True else str(answer))

    async def close(self) -> None:
        pass


@dataclass
class FakeTraffic:
    requests: dict[str, int] = field(default_factory=dict)

    def in_flight(self, pod: str) -> int:
        return self.requests.get(pod, 0)


@dataclass
class FakeEngine:
    """Runs fake_engine.py with *options*; the workload's port becomes the first argument."""

    options: tuple[str, ...] = ()
    error: StokerError | None = None
    name: str = "fake"

    def check(self) -> None:
        pass

    def launch(self, workload: Workload, port: int, gpu_ids: tuple[int, ...]) -> Launch:
        if self.error is not None:
            raise self.error
        return Launch((sys.executable, str(FAKE_ENGINE), str(port), *self.options), {"ENGINE": "1"})


@dataclass
class World:
    """A node on fakes, under the clock of the running loop."""

    node: Node
    events: EventLog
    engine: FakeEngine
    launcher: FakeLauncher
    prober: FakeProber
    traffic: FakeTraffic
    clock: LoopClock
    notices: list[StokerError] = field(default_factory=list)

    def said(self, reason: str) -> list[Event]:
        return [event for event in self.events if event.reason == reason]

    async def deployment(self, work: Workload) -> Deployment:
        deployment = Deployment(self.node, work)
        await deployment.start()
        await self.settle()
        return deployment

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    """Makes a node on fakes; to be called in the test, for it needs the running loop."""

    def make(gpus: int = 4, drain_timeout: float = 300.0, state: Path = tmp_path) -> World:
        events, engine, traffic = EventLog(), FakeEngine(), FakeTraffic()
        launcher, prober = FakeLauncher(), FakeProber()
        clock = LoopClock(epoch=EPOCH + asyncio.get_running_loop().time())
        node = Node(
            state,
            gpus,
            clock,
            events,
            engine,
            traffic,
            namespace="default",
            drain_timeout=drain_timeout,
            launcher=launcher,
            prober=prober,
        )
        node.machine.records.prepare()
        node.machine.logs.prepare()
        made = World(node, events, engine, launcher, prober, traffic, clock)
        node.on_notice(made.notices.append)
        return made

    return make


def _workload(**changes) -> Workload:
    fields = {
        "name": "llama3",
        "namespace": "default",
        "model": "llama3",
        "command": ("vllm", "serve", "llama3"),
    }
    return Workload(**(fields | changes))


def _pod(**changes) -> Pod:
    fields = {"name": "a", "workload": "llama3", "namespace": "default", "created_at": 0.0}
    return Pod(**(fields | changes))


@pytest.fixture
def workload() -> Callable[..., Workload]:
    return _workload


@pytest.fixture
def pod() -> Callable[..., Pod]:
    return _pod


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def traffic() -> FakeTraffic:
    return FakeTraffic()
