"""Replicas and processes come, go and misbehave under load, and every request is accounted for.

The short form is a test. The long one: ``make chaos ARGS="--events 200 --clients 500"``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from tests.gateway.replica import CHUNKS

from stoker.clock import steady
from stoker.gateway.fleet import Fleet
from stoker.gateway.health import HealthChecks
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.pool import KEEP_ALIVE
from stoker.gateway.settings import Limits
from stoker.gateway.stats import Snapshot
from stoker.gateway.wire import WorkerConfig

REPLICA = Path(__file__).with_name("replica.py")
MODELS = ("m", "n")
BAD = ("silent", "reset", "garbage")


@dataclass
class Report:
    """What the clients saw and what the gateway counted."""

    events: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    held: int = 0
    sockets: int = 0  # of the gateway's processes, when all is over
    tasks: int = 0  # of the control process


class Replicas:
    """The replicas of all models, as the gateway is told and as they are."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.ready: dict[str, dict[str, EndpointSpec]] = {model: {} for model in MODELS}
        self.modes: dict[str, str] = {}
        self.numbers = iter(range(1 << 30))

    async def start(self, model: str, mode: str) -> EndpointSpec:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(REPLICA), mode, stdout=asyncio.subprocess.PIPE
        )
        port = int(await process.stdout.readline())
        name = f"{model}-{next(self.numbers)}"
        self.running[name] = process
        self.modes[name] = mode
        return EndpointSpec(name, f"http://127.0.0.1:{port}", ready_at=steady())

    def well(self, model: str) -> list[str]:
        return [name for name in self.ready[model] if self.modes[name] == "well"]

    async def end(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        process.send_signal(number)
        await process.wait()


class Chaos:
    """One run."""

    def __init__(self, state_dir: Path, seed: int, workers: int) -> None:
        self.rng = random.Random(seed)
        self.state_dir = state_dir
        self.replicas = Replicas()
        self.report = Report()
        self.config = WorkerConfig(
            limits=Limits(connect_timeout=2.0), workers=workers, orphan_timeout=30.0
        )
        self.fleet = Fleet(state_dir, self.config, host="127.0.0.1", port=0)
        self.port = 0
        self.over = asyncio.Event()
        self.orphans: list[subprocess.Popen[bytes]] = []
        self.scraped: list[dict[str, Any]] = []  # counts that a killed control process had alone

    def tell(self) -> None:
        """Tell the gateway what is ready, as a control process does all the time."""
        self.fleet.set_models(
            [ModelSettings(model, hold=30.0, limit=32, slow_start=1.0) for model in MODELS]
        )
        for model in MODELS:
            self.fleet.set_endpoints(model, self.replicas.ready[model].values())

    async def add(self, model: str, mode: str = "well") -> None:
        spec = await self.replicas.start(model, mode)
        self.replicas.ready[model][spec.name] = spec
        self.fleet.set_endpoints(model, self.replicas.ready[model].values())

    async def drain(self, model: str) -> None:
        """Out of routing, wait for its requests, then end it: a scale-down."""
        if not self.replicas.ready[model]:
            return
        name = self.rng.choice(sorted(self.replicas.ready[model]))
        del self.replicas.ready[model][name]
        self.fleet.set_endpoints(model, self.replicas.ready[model].values())
        until = steady() + 2.0
        while self.fleet.in_flight(name) and steady() < until:  # noqa: ASYNC110 - no event of it
            await asyncio.sleep(0.02)
        if self.replicas.modes[name] == "well":
            assert not self.fleet.in_flight(name), "a replica that answers was not drained"
        self.fleet.remove_endpoint(model, name)
        await self.replicas.end(name, signal.SIGTERM)

    async def kill_replica(self, model: str) -> None:
        """kill -9; it is noticed a moment later, as by a probe."""
        if not self.replicas.ready[model]:
            return
        name = self.rng.choice(sorted(self.replicas.ready[model]))
        await self.replicas.end(name)
        await asyncio.sleep(0.05)
        del self.replicas.ready[model][name]
        self.fleet.set_endpoints(model, self.replicas.ready[model].values())

    async def kill_worker(self) -> None:
        """A gateway process goes without a word; the other carries on, and a new one comes."""
        os.kill(self.rng.choice(self.fleet.pids), signal.SIGKILL)
        await asyncio.sleep(0.05)

    async def kill_control(self) -> None:
        """The control process goes without a word, and another one comes."""
        self.scraped += self.fleet._seats.ended
        await self.fleet.abandon()
        self.orphans += [seat.child for seat in self.fleet._seats if seat.child is not None]
        await asyncio.sleep(0.1)
        self.fleet = Fleet(self.state_dir, self.config, host="127.0.0.1", port=self.port)
        self.tell()
        await self.fleet.start()

    def health(self, url: str, healthy: bool) -> None:
        for model, ready in self.replicas.ready.items():
            for name, spec in ready.items():
                if spec.url == url:
                    self.fleet.set_health(model, name, healthy=healthy)

    def urls(self) -> list[str]:
        return [spec.url for ready in self.replicas.ready.values() for spec in ready.values()]

    async def one_event(self, kind: str) -> None:
        model = self.rng.choice(MODELS)
        self.report.events[kind] += 1
        if kind == "control":
            await self.kill_control()
        elif kind == "worker":
            await self.kill_worker()
        elif kind == "add" and len(self.replicas.ready[model]) < 5:
            await self.add(model)
        elif kind == "bad":
            bad = [n for n in self.replicas.ready[model] if self.replicas.modes[n] != "well"]
            if bad:
                name = bad[0]
                del self.replicas.ready[model][name]
                self.fleet.remove_endpoint(model, name)
                await self.replicas.end(name)
            else:
                await self.add(model, self.rng.choice(BAD))
        elif kind == "kill":
            await self.kill_replica(model)
        else:
            await self.drain(model)
        if not self.replicas.well(model) and self.rng.random() < 0.7:
            await self.add(model)  # else the model is at zero for a while and requests are held

    async def client(self, session: aiohttp.ClientSession, seed: int) -> None:
        rng = random.Random(seed)
        while not self.over.is_set():
            model, stream = rng.choice(MODELS), rng.random() < 0.6
            body = json.dumps({"model": model, "stream": stream, "messages": []})
            gone = rng.random() < 0.05
            try:
                async with asyncio.timeout(0.03 if gone else 60):
                    outcome = await self.ask(session, body, stream=stream)
            except TimeoutError:
                outcome = "client gone" if gone else "no answer"
            except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as error:
                outcome = f"broken: {type(error).__name__}"
            self.report.outcomes[outcome] += 1
            await asyncio.sleep(rng.random() * 0.02)

    async def ask(self, session: aiohttp.ClientSession, body: str, *, stream: bool) -> str:
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        async with session.post(url, data=body) as answer:
            text = await answer.read()
            if answer.status != 200:
                self.report.odd.append(text.decode()[:300])
                return f"{answer.status}: {json.loads(text)['error']['code']}"
            if not stream:
                return "ok" if json.loads(text)["usage"] else "wrong"
            events = text.split(b"\n\n")
            if b'"replica_lost"' in text:
                return "told: replica_lost"
            whole = len(events) == CHUNKS + 2 and events[-2] == b"data: [DONE]"
            if not whole:
                self.report.odd.append(text.decode()[:300])
            return "ok" if whole else "wrong"

    async def run(self, events: int, clients: int) -> Report:
        before = asyncio.all_tasks()
        for model in MODELS:
            await self.add(model)
            await self.add(model)
        self.tell()
        await self.fleet.start()
        self.port = self.fleet.port
        kinds = self.rng.choices(
            ("add", "drain", "kill", "bad", "control"), (40, 25, 15, 18, 2), k=events
        )
        kinds[events // 2] = "control"
        if self.config.workers > 1:
            for number in range(events // 4, events, 50):
                kinds[number] = "worker"
        connector = aiohttp.TCPConnector(limit=0)
        checks = HealthChecks(self.urls, self.health, interval=0.3, timeout=0.5)
        checking = asyncio.create_task(checks.run())
        async with aiohttp.ClientSession(connector=connector) as session:
            asking = [asyncio.create_task(self.client(session, n)) for n in range(clients)]
            for kind in kinds:
                await self.one_event(kind)
                await asyncio.sleep(self.rng.random() * 0.05)
            for model in MODELS:
                if not self.replicas.well(model):
                    await self.add(model)
            self.over.set()
            await asyncio.wait(asking, timeout=60)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        checking.cancel()
        await self.settle()
        self.report.sockets = await self.left_over()
        await self.fleet.stop(1.0)
        for orphan in self.orphans:
            orphan.wait(10)
        for name in list(self.replicas.running):
            await self.replicas.end(name)
        self.report.tasks = len(asyncio.all_tasks() - before)
        return self.report

    async def left_over(self) -> int:
        """Connections that the gateway's processes still have when the idle ones are closed."""
        open_ = 0
        for _ in range(int(2 * KEEP_ALIVE / 0.1)):
            processes = [psutil.Process(pid) for pid in self.fleet.pids]
            found = [one.status for process in processes for one in process.net_connections("tcp")]
            open_ = len(found) - found.count(psutil.CONN_LISTEN)
            if not open_:
                break
            await asyncio.sleep(0.1)
        return open_

    async def settle(self) -> None:
        """What the gateway says when everything is over."""
        for _ in range(100):
            await self.fleet.refresh()
            found = self.fleet.snapshot()
            self.report.in_flight = sum(found.stats(model).in_flight for model in MODELS)
            self.report.held = sum(found.held[model] for model in MODELS)
            if not self.report.in_flight and not self.report.held:
                break
            await asyncio.sleep(0.05)
        for counters in (*found.models.values(), *Snapshot.of(self.scraped).models.values()):
            self.report.counted["incoming"] += counters.incoming
            self.report.counted["truncated"] += counters.truncated
            self.report.counted["lost"] += counters.lost
            self.report.counted["retries"] += sum(counters.retries.values())
            for code, number in counters.by_code.items():
                self.report.counted[str(code)] += number


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with tempfile.TemporaryDirectory() as folder:

        async def run() -> Report:
            chaos = Chaos(Path(folder), arguments.seed, arguments.workers)
            return await chaos.run(arguments.events, arguments.clients)

        report = asyncio.run(run())
    print("events   ", dict(report.events))  # noqa: T201 - the long form is for people
    print("clients  ", dict(report.outcomes))  # noqa: T201
    print("gateway  ", dict(report.counted))  # noqa: T201
    print(  # noqa: T201
        f"left over {report.in_flight} in flight, {report.held} held, "
        f"{report.sockets} connections, {report.tasks} tasks"
    )
    for text in report.odd[:10]:
        print("odd      ", text)  # noqa: T201


if __name__ == "__main__":
    main()
