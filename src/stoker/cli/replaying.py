"""The work of ``stoker replay``: from flags to runs, and from runs to tables and files."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stoker.backtest.reading import read_metrics
from stoker.cli.backtesting import as_json
from stoker.cli.controllers import settings_of
from stoker.cli.traffic import read, synthetic
from stoker.errors import InputError, Place
from stoker.replay.document import document, notes_of
from stoker.replay.job import Job, Traffic, begin, compared, execute_all, finish, seeds
from stoker.replay.moments import NO_MOMENTS, Moments, first_request, read_moments
from stoker.replay.requests import check_requests_file, write_requests
from stoker.replay.result import Json, Judging
from stoker.replay.setup import DEFAULT_START, Setup, Spread, parse_startup
from stoker.replay.slo import Slo
from stoker.replay.sources import Recording
from stoker.replay.sweep import Setting, combinations
from stoker.reports.replay_files import write_figures, write_page
from stoker.reports.sidebyside import details, front, table
from stoker.simulator.compiled import on_compiling
from stoker.traces.arrivals import Arrivals, joined

Flags = Mapping[str, Any]
_COMPILING = "Compiling the engine model, once after an installation: about a minute ..."


def run_replay(flags: Flags) -> None:
    """Run and print. Raises StokerError before the first run where it can."""
    _check_files(flags)
    on_compiling(lambda: print(_COMPILING, file=sys.stderr, flush=True))
    moments = NO_MOMENTS if flags["moments"] is None else read_moments(flags["moments"])
    recording, start = _recording(flags, moments)
    setup = _setup(flags, moments, start)
    judging = Judging(
        Slo.parse(flags["slo"]), flags["price"], flags["baselines"], flags["flap_window"]
    )
    traffic = _traffic(flags, moments)
    jobs = [replace(job, recording=recording) for job in _jobs(flags, setup, judging, len(traffic))]
    if (flags["ticks"] or flags["requests"]) and len(jobs) > 1:
        raise InputError(
            f"--ticks and --requests write one run, and this would be {len(jobs)}",
            hint="one FILE, one trace, no --set and no --seeds",
        )
    first, notes = _first(jobs[0], traffic[jobs[0].trace], flags)
    runs = [*first]
    workers = flags["jobs"] or os.cpu_count() or 1
    for found in execute_all(jobs[1:], traffic, workers):
        runs += found
    whole = document(runs, jobs, traffic, command=_command(), notes=notes)
    if flags["output"] == "json":
        print(json.dumps(whole, allow_nan=False, indent=1))
    else:
        _print(whole, jobs, traffic, recommend=flags["recommend"])
    if flags["report"] is not None:
        write_page(whole, flags["report"])
        print(f"report: {flags['report']}", file=sys.stderr)
    if flags["figures"] is not None:
        for path in write_figures(whole, flags["figures"]):
            print(f"figure: {path}", file=sys.stderr)


def _check_files(flags: Flags) -> None:
    if not flags["traces"] and not flags["synthetic"]:
        raise InputError(
            "say which traffic: --trace or --synthetic",
            hint="--trace azure.csv, or --synthetic 'poisson(rate=8)' --duration 1h",
        )
    if flags["traces"] and flags["synthetic"]:
        raise InputError("--trace and --synthetic are two kinds of traffic: choose one")
    if flags["requests"] is not None:
        check_requests_file(flags["requests"])


def _recording(flags: Flags, moments: Moments) -> tuple[Recording, float]:
    """Recorded answers, and when the run begins."""
    metrics = None
    if flags["metrics"]:
        metrics = read_metrics(flags["metrics"], lookback=flags["lookback"])
        if metrics.storage is not None:
            raise InputError(
                "--metrics: these are series, and a replay makes its own",
                hint="give the answers of a trigger's query over time: .csv, .parquet, or .json of "
                "/api/v1/query_range",
            )
    wanted = moments.start if flags["start"] is None else flags["start"]
    return Recording(metrics, dict(flags["targets"])).from_run_start(wanted, DEFAULT_START)


def _setup(flags: Flags, moments: Moments, start: float) -> Setup:
    return Setup(
        startup=None if flags["startup"] is None else parse_startup(flags["startup"]),
        scheduling=Spread.parse(flags["scheduling"]),
        node_startup=Spread.parse(flags["node_startup"]),
        wake=Spread.parse(flags["wake"]),
        cold=flags["cold_start"],
        start=start,
        moments=moments,
        settings=settings_of(flags),
        **{
            name: flags[name]
            for name in (
                "profile", "max_num_seqs", "node_gpus", "nodes", "gpus", "sleepers", "asleep_cost",
                "failures", "replicas",
                "scrape_interval", "polling_interval", "stabilization_window", "hold_timeout",
                "first_token_timeout", "client_timeout", "drain_timeout", "activate_on_request",
                "release", "namespace", "seed",
            )
        },
    )  # fmt: skip


def _traffic(flags: Flags, moments: Moments) -> list[Traffic]:
    found = []
    names = Counter(path.name for path in flags["traces"])
    for path in flags["traces"]:
        chunks = read(
            path, trace_format=flags["trace_format"], skip_bad_rows=flags["skip_bad_rows"]
        )
        name = path.name if names[path.name] == 1 else str(path)
        arrivals = _cut(joined(chunks), flags, str(path))
        found.append(Traffic(name, arrivals.shifted(_lead(flags, moments, path))))
    if flags["synthetic"]:
        chunks_ = synthetic(
            flags["synthetic"],
            duration=flags["duration"],
            seed=flags["seed"],
            prompt_tokens=flags["prompt_tokens"],
            output_tokens=flags["output_tokens"],
            lengths_from=flags["lengths_from"],
        )
        arrivals = _cut(joined(chunks_), flags, "--synthetic")
        found.append(Traffic(flags["synthetic"], arrivals.shifted(flags["lead"] or 0.0)))
    return found


def _lead(flags: Flags, moments: Moments, trace: Path) -> float:
    """From the start to the first request: as it was, if both files are of one run."""
    if flags["lead"] is not None:
        return float(flags["lead"])
    came = first_request(trace)
    return 0.0 if moments.start is None or came is None else max(came - moments.start, 0.0)


def _cut(arrivals: Arrivals, flags: Flags, name: str) -> Arrivals:
    """From 0 s on, as long and as fast as was asked, with a token at least in and out."""
    if len(arrivals):
        arrivals = arrivals.shifted(-float(arrivals.times[0]))
    if flags["duration"] is not None:
        arrivals = arrivals.between(0.0, flags["duration"])
    if not len(arrivals):
        raise InputError("there is no request in this trace", place=Place(name))
    columns = {}
    if flags["speed"] is not None:
        columns["times"] = arrivals.times / flags["speed"]
        print(
            f"note: {name}: times divided by {flags['speed']:g}, so that the rate is as many times "
            "as high, and bursts are as much denser",
            file=sys.stderr,
        )
    for column in ("prompt_tokens", "output_tokens"):
        lengths = getattr(arrivals, column)
        empty = int((lengths < 1).sum())
        if empty:
            what = column.replace("_", " ")
            print(f"note: {name}: {empty} requests without {what} have 1 now", file=sys.stderr)
            columns[column] = np.maximum(lengths, 1)
    return replace(arrivals, **columns)


def _jobs(flags: Flags, setup: Setup, judging: Judging, traces: int) -> list[Job]:
    settings = [Setting.parse(text) for text in flags["settings"]]
    as_kserve = flags["compat"] == "kserve"
    jobs = [
        Job(file, combination, trace, setup, judging, as_kserve)
        for trace in range(traces)
        for file in flags["files"]
        for combination in combinations(settings)
    ]
    jobs = [one for job in jobs for one in seeds(job, flags["seeds"])]
    # Fixed fleets stand beside the first run on each trace; they would be much the same for others.
    seen: set[int] = set()
    for i, job in enumerate(jobs):
        if job.trace in seen:
            jobs[i] = replace(job, judging=replace(job.judging, baselines=False))
        seen.add(job.trace)
    return jobs


def _first(job: Job, traffic: Traffic, flags: Flags) -> tuple[list[Json], list[str]]:
    """The first run, in this process, with what is to be written of it."""
    run = begin(job, traffic)
    if flags["ticks"] is None:
        found = finish(run, job, traffic)
    else:
        with flags["ticks"].open("w", encoding="utf-8") as file:
            found = finish(
                run, job, traffic, lambda tick: print(as_json(tick.to_dict()), file=file)
            )
        print(f"ticks: {flags['ticks']}", file=sys.stderr)
    notes = notes_of(run, job, traffic)
    if flags["requests"] is not None:
        write_requests(run, flags["requests"])
        print(f"requests: {flags['requests']}", file=sys.stderr)
    return [found, *compared(run, job, found)], notes


def _command() -> str:
    return shlex.join(["stoker", *sys.argv[1:]])


def _print(
    whole: Json, jobs: Sequence[Job], traffic: Sequence[Traffic], *, recommend: bool
) -> None:
    for one in traffic:
        arrivals = one.arrivals
        rate = len(arrivals) / arrivals.duration if arrivals.duration else 0.0
        print(f"{one.name}: {len(arrivals):,} requests in {_span(arrivals.duration)}, {rate:.3g}/s")
    own = [run for run in whole["runs"] if run["kind"] == "file"]
    for model in own[0]["models"]:
        print(
            f"{model['name']}: {model['profile']}, {model['gpus']} GPU a replica, start-up "
            f"{model['startup']}"
        )
    print(f"SLO {whole['slo']}, seed {whole['seed']}\n")
    print(table(whole))
    if len(own) == 1:
        print(f"\n{details(own[0])}")
    elif len(own) > 2:
        best = ", ".join(run["name"] for run in front(whole["runs"]))
        print(f"\nno other is cheaper and better: {best}")
    for note in whole["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if recommend:
        from stoker.replay.recommend import recommendation  # noqa: PLC0415

        print(f"\n{recommendation(whole, jobs)}")


def _span(seconds: float) -> str:
    days, rest = divmod(round(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    shown = [f"{number}{unit}" for number, unit in parts if number]
    return "".join(shown[:2]) or "0s"
