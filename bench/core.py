"""The decision core: one sync, ten thousand ScaledObjects, a backtest.

    python bench/core.py [--rounds 5] [--objects 10000]

Times are CPU time of this process, medians of rounds in which the measurements take turns; only the
lag is wall time. bench/run.py calls :func:`markdown`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import platform
import random
import statistics
import time
from dataclasses import dataclass, field

import uvloop

from stoker.backtest import Metrics, Plan, ticks
from stoker.backtest.metrics import Column, Track
from stoker.backtest.replicas import Replicas
from stoker.clock import LoopClock
from stoker.controller import Controller, evaluate
from stoker.scaling.decide import reconcile
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerReading
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.scaling.state import ScalingState
from stoker.stack.loops import Loops
from stoker.stack.memory import calm_collector
from stoker.tick import Samples, Tick

SETTINGS = ControllerSettings()
SYNCS = 2000  # of one object, one round
DAY = 86_400.0
OBJECTS, TRIGGERS = 10_000, 3
WARM_UP, MEASURED = 20.0, 30.0  # seconds: every object has synced once; then two syncs each
EPOCH = 1_795_000_000.0


@dataclass(slots=True)
class Results:
    """One number a round."""

    sync_us: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)
    lag_p50_ms: list[float] = field(default_factory=list)
    lag_p99_ms: list[float] = field(default_factory=list)
    looks_per_s: list[float] = field(default_factory=list)
    weeks_per_s: list[float] = field(default_factory=list)
    ticks_per_s: list[float] = field(default_factory=list)


def load_at(t: float, phase: float = 0.0) -> float:
    """Requests that wait, over a day with bursts."""
    return max(0.0, 20 + 18 * math.sin(t / 13_750 + phase) + 6 * math.sin(t / 97 + phase))


def spec_of(name: str, triggers: int) -> ScalingSpec:
    address = {"serverAddress": "http://prometheus.svc:9090", "query": "q", "threshold": "5"}
    return ScalingSpec(
        name,
        ScaleTargetRef(name),
        tuple(TriggerSpec(i, "prometheus", metadata=address) for i in range(triggers)),
        min_replica_count=1,
        max_replica_count=10,
    )


def reading(index: int, value: float) -> TriggerReading:
    return TriggerReading(index, f"s{index}-prometheus", value, 5.0, active=value > 0)


def one_sync() -> float:
    """Microseconds of CPU, the median of many syncs of one object with one trigger."""
    spec, replicas = spec_of("one", 1), Replicas(1, 0.0)
    state, _ = reconcile(spec, replicas.status(0), ScalingState.new(0), 0.0, SETTINGS)
    took = []
    for n in range(1, SYNCS):
        now = 15.0 * n
        observation = Observation(Reader.HPA, (reading(0, load_at(now)),), replicas.status(now))
        start = time.process_time_ns()
        result = evaluate(spec, observation, state, now, SETTINGS)
        took.append(time.process_time_ns() - start)
        state = result.state
        if result.decision.changes:
            replicas.scale(result.decision.replicas, now)
    return statistics.median(took) / 1000


def one_backtest() -> tuple[float, float]:
    """Weeks of 15 s syncs and 30 s polls in a second of CPU, and looks in it."""
    times = [EPOCH + 15.0 * n for n in range(int(DAY / 15))]
    metrics = Metrics([Column("", (Track(times, [load_at(t) for t in times]),), "bench")])
    start = time.process_time()
    looks = sum(1 for _ in ticks(spec_of("one", 1), metrics, Plan(times[0], times[-1])))
    took = time.process_time() - start
    return DAY / (7 * DAY) / took, looks / took


class _Answer:
    """A source that answers at once: what is measured is everything but the source."""

    def __init__(self, index: int, phase: float) -> None:
        self._index, self._phase = index, phase

    async def read(self, now: float) -> TriggerReading:
        return reading(self._index, load_at(now, self._phase))

    async def close(self) -> None:
        pass


class _Target:
    """Replicas that follow at once."""

    def __init__(self) -> None:
        self._status = TargetStatus(1, 1)

    def status(self) -> TargetStatus:
        return self._status

    async def scale(self, replicas: int) -> None:
        self._status = TargetStatus(replicas, replicas)


class _Fleet:
    """Many ScaledObjects in the loops of a live run, created over one sync period."""

    def __init__(self, objects: int) -> None:
        self._clock = LoopClock()
        self._last: dict[tuple[str, Reader], float] = {}
        self._lags: list[float] = []
        self._looks = 0
        self._errors: list[Exception] = []
        self._objects = objects

    async def run(self) -> tuple[float, int, list[float]]:
        """CPU share of the measured time, the looks in it, and how late they were."""
        tasks = [asyncio.create_task(self._one(i)) for i in range(self._objects)]
        await asyncio.sleep(WARM_UP)
        calm_collector()  # as `stoker up` does once it has started
        self._lags.clear()
        self._looks = 0
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(MEASURED)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
        looks, lags = self._looks, list(self._lags)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._errors:
            raise self._errors[0]
        return share, looks, lags

    async def _one(self, index: int) -> None:
        await asyncio.sleep(SETTINGS.sync_period * index / self._objects)
        phase = random.Random(index).uniform(0, 2 * math.pi)
        spec = spec_of(f"so-{index}", TRIGGERS)
        answers = [_Answer(i, phase + i) for i in range(TRIGGERS)]
        now = self._clock.now()
        controller = Controller(
            spec, answers, _Target(), ScalingState.new(now),  # type: ignore[arg-type]
            settings=SETTINGS, samples=lambda _: Samples(1, 1, 1.0),
        )  # fmt: skip
        await controller.reconcile(now)
        loops = Loops(
            controller, self._clock, SETTINGS, on_tick=self._ticked, on_error=self._errors.append
        )
        await loops.run()

    def _ticked(self, tick: Tick) -> None:
        self._looks += 1
        key = tick.name, tick.reader
        last, self._last[key] = self._last.get(key), tick.time
        if last is not None:
            period = 30.0 if tick.reader is Reader.KEDA else SETTINGS.sync_period
            self._lags.append(tick.time - last - period)


async def _fleet(objects: int) -> tuple[float, int, list[float]]:
    return await _Fleet(objects).run()


def measure(rounds: int = 3, objects: int = OBJECTS) -> Results:
    """Every measurement once a round, in turn."""
    results = Results()
    for _ in range(rounds):
        results.sync_us.append(one_sync())
        weeks, backtested = one_backtest()
        results.weeks_per_s.append(weeks)
        results.ticks_per_s.append(backtested)
        gc.collect()
        share, looks, lags = uvloop.run(_fleet(objects))
        lags.sort()
        results.cpu_percent.append(100 * share)
        results.looks_per_s.append(looks / MEASURED)
        results.lag_p50_ms.append(1000 * lags[len(lags) // 2])
        results.lag_p99_ms.append(1000 * lags[int(len(lags) * 0.99)])
    return results


def markdown(rounds: int = 3, objects: int = OBJECTS) -> str:
    """The measurements as a table, with how they were made."""
    results = measure(rounds, objects)
    many = f"{objects:,} ScaledObjects, {TRIGGERS} triggers each, sync 15 s, poll 30 s"
    rows = [
        ("one HPA sync, pure core, 1 trigger, p50", results.sync_us, "µs CPU", 0),
        (f"{many}: share of one core", results.cpu_percent, "%", 0),
        ("the same: looks a second", results.looks_per_s, "/s", 0),
        ("the same: lag of a look, p50", results.lag_p50_ms, "ms", 1),
        ("the same: lag of a look, p99", results.lag_p99_ms, "ms", 1),
        ("backtest: weeks of 15 s syncs a CPU second", results.weeks_per_s, "weeks/s", 2),
        ("backtest: looks a CPU second", results.ticks_per_s, "/s", 0),
    ]
    lines = ["| decision core | median | lowest to highest | unit |", "|---|--:|--:|---|"]
    for what, values, unit, digits in rows:
        middle = f"{statistics.median(values):,.{digits}f}"
        span = f"{min(values):,.{digits}f} to {max(values):,.{digits}f}"
        lines.append(f"| {what} | {middle} | {span} | {unit} |")
    lines.append("")
    lines.append(
        f"{rounds} rounds in turn, Python {platform.python_version()}, one process. Sources answer "
        "at once: the time of a query is not in these numbers."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", type=int, default=OBJECTS)
    options = parser.parse_args()
    print(markdown(options.rounds, options.objects))


if __name__ == "__main__":
    main()
