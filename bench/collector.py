"""Pauses of Python's garbage collector over many ScaledObjects, by default and in a live run.

    python bench/collector.py [--objects 10000] [--syncs 4]

CPU time of collections, each way in a process of its own. bench/run.py calls :func:`markdown`.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time

from core import SETTINGS, load_at, reading, spec_of

from stoker.backtest.replicas import Replicas
from stoker.controller import evaluate
from stoker.scaling.decide import reconcile
from stoker.scaling.observation import Observation, Reader
from stoker.scaling.state import ScalingState
from stoker.stack.memory import calm_collector

OBJECTS, SYNCS, TRIGGERS = 10_000, 4, 3


def pauses(objects: int, syncs: int, *, calm: bool) -> list[tuple[int, float]]:
    """Generation and seconds of each collection while every object is synced *syncs* times."""
    fleet = []
    for n in range(objects):
        spec, replicas = spec_of(f"so-{n}", TRIGGERS), Replicas(1, 0.0)
        state, _ = reconcile(spec, replicas.status(0.0), ScalingState.new(0.0), 0.0, SETTINGS)
        fleet.append([spec, replicas, state, None])
    gc.collect()
    if calm:
        calm_collector()
    found: list[tuple[int, float]] = []
    began = 0.0

    def note(phase: str, details: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.process_time()
        else:
            found.append((details["generation"], time.process_time() - began))

    gc.callbacks.append(note)
    for sync in range(1, syncs + 1):
        for n, one in enumerate(fleet):
            spec, replicas, state, _ = one
            now = 15.0 * sync + n / objects
            readings = tuple(reading(i, load_at(now, n + i)) for i in range(TRIGGERS))
            observation = Observation(Reader.HPA, readings, replicas.status(now))
            result = evaluate(spec, observation, state, now, SETTINGS)
            one[2], one[3] = result.state, result  # the last look is kept, as in a run
            if result.decision.changes:
                replicas.scale(result.decision.replicas, now)
    gc.callbacks.remove(note)
    return found


def markdown(objects: int = OBJECTS, syncs: int = SYNCS) -> str:
    """Both ways as a table."""
    lines = ["| collector | full collections | longest pause | all pauses |", "|---|--:|--:|--:|"]
    for name, calm in (("Python's defaults", False), ("as `stoker up` has it", True)):
        arguments = [f"--objects={objects}", f"--syncs={syncs}", "--one", *["--calm"] * calm]
        answer = subprocess.run(
            [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
        )
        found = json.loads(answer.stdout)
        seconds = [took for _, took in found] or [0.0]
        full = sum(generation == 2 for generation, _ in found)
        lines.append(f"| {name} | {full} | {1000 * max(seconds):.0f} ms | {sum(seconds):.2f} s |")
    of = f"{objects:,} ScaledObjects, {TRIGGERS} triggers each"
    lines += ["", f"{objects * syncs:,} syncs of {of}"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=OBJECTS)
    parser.add_argument("--syncs", type=int, default=SYNCS)
    parser.add_argument("--one", action="store_true", help="measure one way, print JSON")
    parser.add_argument("--calm", action="store_true", help="with --one: as `stoker up` has it")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(pauses(options.objects, options.syncs, calm=options.calm)))
    else:
        print(markdown(options.objects, options.syncs))


if __name__ == "__main__":
    main()
