"""Replays: seconds of CPU on one core, compiler and imports told apart, and peers where installed.

TRACE in the environment names a trace to use beside the invented ones, for example the hour of the
Azure conversation service; VIDUR_PYTHON and DYNAMO_PYTHON are interpreters that
have these peers.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

FILE = str(Path(__file__).parent.parent / "examples" / "01-production-stack" / "values.yaml")
HOUR, FORTNIGHT = 3600.0, 14 * 86_400.0


def markdown() -> str:
    """The table."""
    rows = ["| what | requests | CPU s | wall s | peak MB |", "|---|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as cache:
        rows.append(row("first run on a machine, compiler included", "first", cache))
        rows.append(row("an hour, a process from its start", "whole", cache))
        rows.append(row("an hour, when all is loaded", "hour", cache))
        rows.append(row("the same, fixed fleet of 2", "fixed", cache))
        rows.append(row("14 days, scrapes every 5 s", "fortnight", cache))
        rows += peers(cache)
    return "\n".join(rows)


def row(what: str, case: str, cache: str) -> str:
    """One case in a process of its own, on one core."""
    environ = {**os.environ, "NUMBA_CACHE_DIR": cache, "STOKER_BENCH": case}
    done = subprocess.run(
        [sys.executable, __file__], env=environ, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    return (
        f"| {what} | {found['requests']:,} | {found['cpu']:.3g} | {found['wall']:.3g} | "
        f"{found['peak_mb']:.0f} |"
    )


def peers(cache: str) -> list[str]:
    """The same hour on one fixed replica, here and in simulators that step by iteration."""
    rows = [row("the hour on one fixed replica", "one", cache)]
    if importlib.util.find_spec("sched_sim") is None:
        rows.append("| sched-sim: not installed | | | | |")
    else:
        rows.append(row("the same in sched-sim", "sched-sim", cache))
    return [*rows, *peer("Vidur", cache), *peer("Dynamo", cache)]


def peer(name: str, cache: str) -> list[str]:
    """Vidur, if VIDUR_PYTHON in the environment names an interpreter that has it; so Dynamo."""
    variable = f"{name.upper()}_PYTHON"
    if variable not in os.environ:
        return [f"| {name}: no {variable} | | | | |"]
    requests = arrivals(HOUR)
    columns = (requests.times, requests.prompt_tokens, requests.output_tokens)
    path = Path(cache) / "requests.json"
    path.write_text(json.dumps([column.tolist() for column in columns]))
    script = Path(__file__).with_name(f"peer_{name.lower()}.py")
    command = [os.environ[variable], str(script), str(path)]
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    figures = f"{found['cpu']:.3g} | {found['wall']:.3g} | {found['peak_mb']:.0f}"
    return [
        f"| the same in {name} | {found['requests']:,} | {figures} |",
        *(
            f"| {name}'s {what}: p50 {found[what][0]:.3f} s, p95 {found[what][1]:.3f} s | | | | |"
            for what in ("ttft", "e2e")
        ),
    ]


def sched_sim(requests) -> None:  # noqa: ANN001
    """One A100 with chunked prefill, as its own command sets it up."""
    from sched_sim.core.event_engine import Simulator
    from sched_sim.core.request import Request
    from sched_sim.hardware.presets import get_hardware_profile
    from sched_sim.schedulers.factory import create_scheduler

    hardware = get_hardware_profile("a100")
    simulator = Simulator(hardware, create_scheduler("chunked", hardware, token_budget=2048))
    columns = (requests.times, requests.prompt_tokens, requests.output_tokens)
    simulator.submit_workload(
        [
            Request(request_id=str(i), arrived_at=at, prompt_tokens=prompt, output_tokens=output)
            for i, (at, prompt, output) in enumerate(
                zip(*(c.tolist() for c in columns), strict=True)
            )
        ]
    )
    simulator.run()


def case(name: str) -> dict[str, float]:
    """Measures one, in this process."""
    from stoker.clock import stopwatch

    start, begun = stopwatch(), 0.0
    requests, work = prepared(name)
    if name in ("hour", "fixed", "one"):
        work()  # everything is loaded now
    if name not in ("first", "whole"):
        start, begun = stopwatch(), usage()
    rounds = 20 if name in ("fixed", "one") else 1  # they take milliseconds
    for _ in range(rounds):
        work()
    return {
        "requests": len(requests),
        "cpu": (usage() - begun) / rounds,
        "wall": (stopwatch() - start) / rounds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def usage() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def prepared(name: str):  # noqa: ANN201
    """The requests, and what is to be measured."""
    from stoker.replay.baselines import static
    from stoker.replay.job import Job, Traffic, begin, finish
    from stoker.replay.result import Judging
    from stoker.replay.setup import Setup
    from stoker.replay.slo import DEFAULT, Slo

    requests = arrivals(FORTNIGHT if name == "fortnight" else HOUR)
    if name == "sched-sim":
        return requests, lambda: sched_sim(requests)
    traffic = Traffic("bench", requests)
    job = Job(FILE, (), 0, Setup(max_num_seqs=32), Judging(Slo.parse(DEFAULT)))
    if name in ("fixed", "one"):
        engine = begin(job, traffic).models[0].engine
        return requests, lambda: static(requests, engine, 1 if name == "one" else 2)
    return requests, lambda: finish(begin(job, traffic), job, traffic)


def arrivals(seconds: float):  # noqa: ANN201
    """TRACE, or as many requests of its lengths: 19,366 in an hour, a million in 14 days."""
    import numpy as np

    from stoker.traces.arrivals import Arrivals
    from stoker.traces.reading import load, read

    if seconds == HOUR and "TRACE" in os.environ:
        trace = load(read(Path(os.environ["TRACE"])))
        return trace.shifted(-float(trace.times[0]))
    numbers = np.random.default_rng(0)
    count = 19_366 if seconds == HOUR else 1_000_000
    # by day the traffic rises and falls; in an hour it does not
    even = np.sort(numbers.uniform(0.0, seconds, 2 * count))
    wave = 0.5 * (1 + 0.9 * np.sin(2 * math.pi * even / 86_400)) if seconds > HOUR else 0.5
    times = even[numbers.uniform(size=2 * count) < wave][:count]
    prompts = np.clip(numbers.lognormal(math.log(1020), 0.77, len(times)), 1, 8000)
    outputs = np.clip(numbers.lognormal(math.log(129), 0.93, len(times)), 1, 2000)
    return Arrivals.of(times, prompts.astype(int), outputs.astype(int))


if __name__ == "__main__":
    print(json.dumps(case(os.environ["STOKER_BENCH"])))
