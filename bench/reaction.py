"""Seconds from a burst at the engine to more replicas wanted: polled, scraped and pushed.

    python bench/reaction.py [--trials 300] [--rounds 5] [--no-live]

The first table is on a virtual clock: loops, triggers and core as in `stoker up`, the moments of
burst, scrapes, polls and syncs at random. The second is live: `stoker up` with simulated engines,
requests through the gateway, wall time. bench/run.py calls :func:`markdown`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import looptime

from stoker.api.client import Client
from stoker.clock import LoopClock
from stoker.controller import Controller
from stoker.errors import ConflictError
from stoker.metrics.otlp.addon import MetricStore
from stoker.metrics.otlp.receiver import RawPoint
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.scaling.observation import PodStatus, TargetStatus
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState
from stoker.stack.embedded import query_for
from stoker.stack.loops import Loops
from stoker.stack.waking import Waker
from stoker.tick import Samples
from stoker.triggers.base import TriggerContext
from stoker.triggers.registry import build_trigger

EPOCH = 1_795_000_000.0
SETTINGS = ControllerSettings()  # sync 15 s
BURST = 12.0  # waiting requests, against a target of 5
PROMETHEUS = TriggerSpec(0, "prometheus", {
    "serverAddress": "http://prometheus.monitoring.svc:9090", "query": "sum(waiting)",
    "threshold": "5",
})  # fmt: skip
ADD_ON = TriggerSpec(0, "external", {
    "scalerAddress": "keda-otel-scaler.keda.svc:4318", "metricQuery": "sum(waiting)",
    "targetValue": "5",
})  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """How a value gets from the engine to the decision. *every* is seconds between two scrapes."""

    name: str
    trigger: TriggerSpec
    every: float
    wake: bool


SETUPS = (
    Setup("KEDA: Prometheus scrapes every 15 s", PROMETHEUS, 15.0, wake=False),
    Setup("documents' OTel: collector every 5 s, add-on polled", ADD_ON, 5.0, wake=False),
    Setup("Stoker: the same collector, pushes wake", ADD_ON, 5.0, wake=True),
    Setup("Stoker: engine pushes every second, pushes wake", ADD_ON, 1.0, wake=True),
)


class Target:
    """Replicas that are ready at once."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.scaled = asyncio.Event()

    def status(self) -> TargetStatus:
        """As KEDA and the HPA see them."""
        pods = tuple(PodStatus(f"p{i}", ready=True) for i in range(self.replicas))
        return TargetStatus(self.replicas, self.replicas, pods)

    def pods(self) -> tuple[()]:
        """No usage is asked for."""
        return ()

    async def scale(self, replicas: int) -> None:
        """Tell."""
        if replicas > self.replicas:
            self.scaled.set()
        self.replicas = replicas


async def _trial(setup: Setup, replicas: int, seed: int) -> float:
    """Seconds from the burst to the decision."""
    rng = random.Random(seed)
    clock = LoopClock(epoch=EPOCH)
    storage, store = Storage(), MetricStore()
    target = Target(replicas)
    spec = ScalingSpec(
        "so", ScaleTargetRef("d"), (setup.trigger,), min_replica_count=min(replicas, 1),
        polling_interval=30.0, cooldown_period=3600.0,
    )  # fmt: skip
    context = TriggerContext(query_for(storage), name="so", pushed=store)
    trigger = build_trigger(setup.trigger, context)
    controller = Controller(
        spec, [trigger], target, ScalingState.new(EPOCH), settings=SETTINGS,  # type: ignore[arg-type]
        samples=lambda _: Samples(1, 1, 1.0),
    )  # fmt: skip
    loops = Loops(controller, clock, SETTINGS, on_tick=lambda _: None, on_error=print)
    tasks: set[asyncio.Task[None]] = set()
    waker = Waker(
        spec, [trigger], controller, loops, clock, SETTINGS,
        lambda work: tasks.add(asyncio.ensure_future(work)), print,
    )  # fmt: skip
    burst_at = EPOCH + 60 + rng.uniform(0, 30)

    async def feed() -> None:
        await asyncio.sleep(rng.uniform(0, setup.every))
        while True:
            now = clock.now()
            value = BURST if now >= burst_at else 0.0
            storage.append(Labels({"__name__": "waiting"}), now, value)
            names = store.put([RawPoint("waiting", {}, value, now)], now)
            if setup.wake:
                waker.written(names)
            await asyncio.sleep(setup.every)

    await controller.reconcile(EPOCH)
    tasks |= {asyncio.ensure_future(work) for work in (loops.run(), feed())}
    await target.scaled.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return clock.now() - burst_at


def _virtually(work: Callable[[], object]) -> float:
    loop = looptime.patch_event_loop(asyncio.new_event_loop())
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


def virtual(trials: int) -> list[str]:
    """Rows: setup, 1 to N, 0 to 1."""
    rows = []
    for setup in SETUPS:
        cells = []
        for replicas in (1, 0):
            seconds = sorted(
                _virtually(lambda seed=seed: _trial(setup, replicas, seed))  # noqa: B023
                for seed in range(trials)
            )
            cells.append(_spread(seconds))
        rows.append(f"| {setup.name} | {' | '.join(cells)} |")
    return rows


def _spread(seconds: list[float]) -> str:
    p95 = sorted(seconds)[int(0.95 * (len(seconds) - 1))]
    return f"{statistics.median(seconds):.1f} | {p95:.1f} | {max(seconds):.1f}"


# -- live ----------------------------------------------------------------------------------------

ISVC = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: llama
  annotations:
    serving.kserve.io/deploymentMode: RawDeployment
    serving.kserve.io/autoscalerClass: keda
    sidecar.opentelemetry.io/inject: llama-predictor
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 5
    autoScaling:
      metrics:
        - type: PodMetric
          podmetric:
            metric: {backend: opentelemetry, metricNames: ["vllm:num_requests_running"],
                     query: "vllm:num_requests_running"}
            target: {type: Value, value: "4"}
    model:
      modelFormat: {name: huggingface}
      args: [--model_name=llama3, --model_id=meta-llama/meta-llama-3-8b-instruct]
"""
SCALED_OBJECT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec:
      containers:
        - name: vllm
          image: vllm/vllm-openai
          args: [--model, llama3]
          ports: [{containerPort: 8000}]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: llama}
spec:
  scaleTargetRef: {name: llama}
  minReplicaCount: 1
  maxReplicaCount: 5
  triggers:
    - type: prometheus
      metadata: {serverAddress: "http://prometheus.monitoring.svc:9090", threshold: "4",
                 query: "sum(vllm:num_requests_running)"}
"""
LIVE = (
    ("KEDA's timing: scrape 15 s, sync 15 s", SCALED_OBJECT, ("--scrape-interval=15s",)),
    ("documents' OTel: collector 5 s, sync 15 s", ISVC, ("--no-wake-on-push",)),
    ("Stoker: the same collector, pushes wake", ISVC, ()),
)


def live(rounds: int) -> list[str]:
    """Rows: setup and seconds."""
    rng = random.Random(1)
    rows = []
    for name, document, flags in LIVE:
        seconds = [_live_round(document, flags, rng.uniform(2, 17)) for _ in range(rounds)]
        each = ", ".join(f"{one:.1f}" for one in seconds)
        rows.append(f"| {name} | {statistics.median(seconds):.1f} | {each} |")
    return rows


def _live_round(document: str, flags: tuple[str, ...], wait: float) -> float:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "file.yaml"
        file.write_text(document)
        command = [
            sys.executable, "-m", "stoker", "up", str(file), "--engine=simulated", "--startup=1s",
            "--gateway-port=0", "--prometheus-port=0", f"--state-dir={directory}/state",
            "--drain-timeout=0", "--until-stdin-closes", *flags,
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client = _until(lambda: _ready(Path(directory) / "state"))
            time.sleep(wait)
            gateway = client.overview()["gateway_url"]
            begin = time.monotonic()
            for _ in range(12):
                Thread(target=_request, args=(gateway,), daemon=True).start()
            _until(lambda: client.overview()["models"][0]["wanted"] > 1 or None)
            return time.monotonic() - begin
        finally:
            process.terminate()
            process.wait(30)
            if process.stdin:
                process.stdin.close()


def _ready(state: Path) -> Client | None:
    try:
        client = Client.discover(state)
        return client if client.overview()["models"][0]["ready"] else None
    except ConflictError:
        return None


def _until(look: Callable[[], object]) -> object:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise TimeoutError("90 s are over")


def _request(gateway: str) -> None:
    connection = HTTPConnection(gateway.removeprefix("http://"), timeout=120)
    body = {
        "model": "llama3", "max_tokens": 3000,
        "messages": [{"role": "user", "content": "Tell me a long story"}],
    }  # fmt: skip
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        connection.getresponse().read()
    except OSError:
        pass  # the run is over
    finally:
        connection.close()


def markdown(trials: int = 300, rounds: int = 5) -> str:
    """Both tables; without *rounds* the first alone."""
    lines = [
        f"Virtual clock, {trials} trials each, seconds from the burst to the decision:",
        "",
        "| | 1 to N, median | p95 | longest | 0 to 1, median | p95 | longest |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *virtual(trials),
    ]
    if rounds:
        lines += [
            "",
            "Live, 1 to N, wall time:",
            "",
            "| | median | each round |",
            "|---|--:|---|",
            *live(rounds),
        ]
    return "\n".join(lines)


def main() -> None:
    """By itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-live", action="store_true")
    chosen = parser.parse_args()
    print(markdown(chosen.trials, 0 if chosen.no_live else chosen.rounds))


if __name__ == "__main__":
    main()
