"""The cheapest setting that keeps the promises, and how sure that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from stoker.replay.job import Job
from stoker.replay.result import Json


def recommendation(whole: Json, jobs: Sequence[Job]) -> str:
    """A sentence or two about the runs of a document. *jobs* are in the order of its runs."""
    own = [run for run in whole["runs"] if run["kind"] == "file"]
    runs: dict[str, list[Any]] = defaultdict(list)
    one_file = len({job.file for job in jobs}) == 1
    for run, job in zip(own, jobs, strict=True):
        is_clear = one_file or not job.combination
        runs[job.name if is_clear else f"{job.name} ({job.file})"].append(run)
    cost = {name: sum(run["gpu_seconds"] for run in ones) for name, ones in runs.items()}
    kept = {name: sum(bool(run["slo_met"]) for run in ones) for name, ones in runs.items()}
    times = len(own) // len(runs)
    always = [name for name in runs if kept[name] == len(runs[name])]
    traces = len(whole["traces"])
    sure = (
        f"{times // traces} {_noun(times // traces, 'seed')} and {traces} {_noun(traces, 'trace')}"
    )
    if not always:
        near = max(runs, key=lambda name: (kept[name], _least(runs[name]), -cost[name]))
        return (
            f"recommended: none of these keeps {whole['slo']} every time. Nearest is {near}: "
            f"{_least(runs[near]):.2%} of requests at worst, promises kept in {kept[near]} of "
            f"{len(runs[near])} runs"
        )
    best = min(always, key=lambda name: (cost[name], -_least(runs[name])))
    worst = _least(runs[best])
    return (
        f"recommended: {best}, the cheapest of {len(runs)} that keeps {whole['slo']} in all of its "
        f"{times} {_noun(times, 'run')} ({sure}), {worst:.2%} of requests at worst"
        + ("" if times > 1 else "; --seeds and more traces would make this surer")
    )


def _least(runs: Sequence[Any]) -> float:
    return min(float(run["slo_attainment"]) for run in runs)


def _noun(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"
