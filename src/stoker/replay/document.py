"""All runs of one command as one document, and what is to be said about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stoker import __version__
from stoker.replay.job import Job, Traffic
from stoker.replay.result import SCHEMA, Json

_MOST_NAMES = 3


def document(
    runs: Sequence[Json],
    jobs: Sequence[Job],
    traffic: Sequence[Traffic],
    *,
    command: str,
    notes: Sequence[str],
) -> Json:
    """What ``--output json`` prints and ``--report`` shows."""
    judging = jobs[0].judging
    traces = [
        {
            "name": one.name,
            "requests": len(one.arrivals),
            "duration": round(one.arrivals.duration, 9),
        }
        for one in traffic
    ]
    return {
        "schema": SCHEMA,
        "command": command,
        "seed": jobs[0].setup.seed,
        "versions": {"stoker": __version__},
        "trace": traces[0],
        "traces": traces,
        "slo": judging.slo.text,
        "slo_ttft": judging.slo.limit("ttft"),
        "price": judging.price,
        "notes": list(notes),
        "runs": named(runs, len(traffic)),
    }


def named(runs: Sequence[Json], traces: int) -> list[Json]:
    """Names told apart: baselines of several files by their file, several traces by theirs."""
    files = [run for run in runs if run["kind"] == "file"]
    short = _short([run["file"] for run in files])
    seeds = {run["seed"] for run in files}
    found = []
    for run in runs:
        name = run["name"]
        if run["kind"] == "file":
            own, label = short[run["file"]], run["name"]
            name = own if label == run["file"] else label
            if label != run["file"] and len(short) > 1:
                name = f"{own} {label}"
        if traces > 1:
            name = f"{name} on {run['trace']}"
        if len(seeds) > 1:
            name = f"{name}, seed {run['seed']}"
        found.append({**run, "name": name})
    return found


def _short(files: Sequence[str]) -> dict[str, str]:
    """Names of files without their folders, where that leaves them different."""
    names = {file: "+".join(Path(one).name for one in file.split(",")) for file in files}
    if len(set(names.values())) == len(names):
        return names
    return {file: file for file in files}


def notes_of(run: Any, job: Job, traffic: Traffic) -> list[str]:
    """What a user should know before they believe the numbers. *run* is over."""
    notes = []
    unknown = run.demand.unknown()
    if unknown:
        notes.append(
            f"{job.file}: no replica here shows {', '.join(unknown)}: queries of it find nothing"
        )
    notes += _recorded_notes(run, job, traffic)
    if traffic.arrivals.duration < run.window:
        notes.append(
            f"{traffic.name} is {traffic.arrivals.duration:.0f} s long, and a query of {job.file} "
            f"looks back {run.window:.0f} s: it never sees as much as it would in a cluster"
        )
    if job.recording.metrics is None:
        notes += [
            f"{name} asks for what a collector pushes, and none of {job.file} is injected into its "
            "pods: it reads 0, unless --metrics gives it recorded"
            for name in run.unfed
        ]
    for model in run.models:
        engine = model.engine
        known = engine.profile.split("-")[0].lower()
        if known not in engine.workload.model.lower() and known not in engine.source.lower():
            notes.append(
                f"{job.file}: {engine.workload.model} is modelled as {engine.profile}; --profile "
                "takes another"
            )
        if 0 < engine.workload.gpus < engine.gpus:
            notes.append(
                f"{job.file}: {model.name} asks for {engine.workload.gpus} GPU, {engine.profile} "
                f"has {engine.gpus}: these are counted"
            )
        if model.spec is None:
            notes.append(f"{job.file}: nothing scales {model.name}, it keeps its replicas")
            continue
        window = _longest_window(model.spec, job)
        if traffic.arrivals.duration < window:
            notes.append(
                f"{traffic.name} is {traffic.arrivals.duration:.0f} s long, shorter than the "
                f"{window:.0f} s that {model.spec.name} waits before it scales down: how it comes "
                "down cannot be seen"
            )
    too_long = int(run.too_long)
    if too_long:
        notes.append(
            f"{too_long} requests of {traffic.name} are longer than max_model_len: refused, and "
            "counted as failed"
        )
    return notes


def _recorded_notes(run: Any, job: Job, traffic: Traffic) -> list[str]:
    """Where recorded answers do not fit what they are for."""
    metrics = job.recording.metrics
    if metrics is None:
        return []
    notes = [f"{name} answers no trigger of {job.file}" for name in run.unused]
    missing = run.setup.start + traffic.arrivals.duration - metrics.span[1]
    if missing > 0:
        notes.append(
            f"the recorded metrics end {missing:.0f} s before {traffic.name}: after that and "
            "--lookback, their triggers find nothing"
        )
    return notes


def _longest_window(spec: Any, job: Job) -> float:
    """Seconds from the last load to the last step down."""
    settings = job.setup.settings
    window = settings.downscale_stabilization
    behavior = spec.behavior
    down = None if behavior is None else behavior.scale_down
    if down is not None and down.stabilization_window_seconds is not None:
        window = down.stabilization_window_seconds
    zero = spec.cooldown_period if spec.min_replicas == 0 else 0.0
    return float(max(window, zero or 0.0))
