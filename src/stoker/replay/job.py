"""Runs side by side: one a file and setting, each in a process of its own if there are cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stoker.backtest.summary import Tally
from stoker.errors import InputError, Place
from stoker.replay.result import (
    Json,
    Judging,
    baseline_row,
    baselines_of,
    following_row,
    needed_rows,
    result_of,
)
from stoker.replay.run import NOTHING_RECORDED, Run
from stoker.replay.setup import Setup
from stoker.replay.sources import Recording
from stoker.replay.sweep import edited
from stoker.replay.sweep import label as setting_label
from stoker.resources import Bundle, load
from stoker.tick import Tick
from stoker.traces import Arrivals


@dataclass(frozen=True, slots=True)
class Job:
    """One run: files, settings in them, a trace, and what it is judged by."""

    file: str  # or several, with commas between
    combination: tuple[tuple[str, Any], ...]
    trace: int  # index of the trace
    setup: Setup
    judging: Judging
    as_kserve: bool = False
    recording: Recording = NOTHING_RECORDED

    @property
    def name(self) -> str:
        """What tables call it: the file's name, or what was set in it."""
        return setting_label(self.combination) or self.file


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """A trace with its name."""

    name: str
    arrivals: Arrivals


def load_bundle(job: Job) -> Bundle:
    """The files of a job, with its settings in them. Raises InputErrors."""
    paths = job.file.split(",")
    kwargs: dict[str, Any] = {
        "release": job.setup.release,
        "namespace": job.setup.namespace,
        "as_kserve": job.as_kserve,
    }
    bundle = load(paths, **kwargs)
    if not job.combination:
        return bundle
    texts = [(path, _text(path)) for path in _files(paths)]
    return load(["-"], stdin=edited(texts, job.combination), **kwargs)


def _files(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        folder = Path(path)
        if folder.is_dir():
            inside = sorted(folder.iterdir())
            yield from (str(one) for one in inside if one.suffix in (".yaml", ".yml", ".json"))
        else:
            yield path


def _text(path: str) -> str:
    if path == "-":
        raise InputError("--set needs a file, not standard input")
    return Path(path).read_text(encoding="utf-8")


def apps_of(bundle: Bundle, traffic: Traffic) -> list[int] | None:
    """To which application each request goes. None: there is only one, which gets all.

    Raises:
        InputError: there are several, and the trace does not say which or names others.
    """
    if len(bundle.applications) == 1:
        return None
    arrivals = traffic.arrivals
    names = [application.workload.model for application in bundle.applications]
    place = Place(traffic.name)
    if arrivals.models is None:
        raise InputError(
            f"{len(names)} models in these files, and the trace does not say which is asked",
            hint=f"cut the files down to one of {', '.join(sorted(names))}",
            place=place,
        )
    by_name = {
        name: app
        for app, application in enumerate(bundle.applications)
        for name in (application.workload.model, *application.workload.aliases)
    }
    unknown = sorted(set(arrivals.model_names) - by_name.keys())
    if unknown:
        raise InputError(
            f"the trace asks for {', '.join(unknown)}",
            hint=f"the files have {', '.join(sorted(names))}",
            place=place,
        )
    of = [by_name[name] for name in arrivals.model_names]
    return [of[index] for index in arrivals.models.tolist()]


def begin(job: Job, traffic: Traffic) -> Run:
    """A run that has not begun. Raises InputError for what cannot be replayed."""
    bundle = load_bundle(job)
    return Run(bundle, traffic.arrivals, job.setup, apps_of(bundle, traffic), job.recording)


def finish(
    run: Run, job: Job, traffic: Traffic, on_tick: Callable[[Tick], None] = lambda _: None
) -> Json:
    """Run it, and give its numbers."""
    start = run.setup.start
    tallies = {
        model.name: Tally(start, model.pods.desired, flap_window=job.judging.flap_window)
        for model in run.models
    }
    by_object = {model.spec.name: model.name for model in run.models if model.spec is not None}
    first = True
    decisions: list[Json] = []
    for tick in run.ticks():
        if first:
            for model in run.models:
                tallies[model.name] = Tally(
                    start, model.timeline[0][1], flap_window=job.judging.flap_window
                )
            first = False
        tallies[by_object[tick.name]].add(tick)
        if tick.decision.changes:
            decisions.append(_decision(tick, start))
        on_tick(tick)
    numbers = result_of(run, tallies, job.judging)
    about: Json = {
        "name": job.name,
        "file": job.file,
        "settings": dict(job.combination),
        "trace": traffic.name,
        "seed": job.setup.seed,
    }
    return about | numbers | {"decisions": decisions}


def _decision(tick: Tick, start: float) -> Json:
    decision = tick.decision
    values = "; ".join(
        f"{value.metric_name} {value.value:g}, target {value.target:g}"
        for value in tick.values
        if value.value is not None
    )
    words = [decision.reason, decision.message, values]
    return {
        "time": round(tick.time - start, 9),
        "scaled_object": tick.name,
        "from": decision.was,
        "to": decision.replicas,
        "reason": ": ".join(word for word in words if word),
    }


def execute(job: Job, traffic: Traffic) -> list[Json]:
    """One job from its files to its numbers. Baselines follow it, as runs of their own."""
    run = begin(job, traffic)
    found = finish(run, job, traffic)
    return [found, *compared(run, job, found)]


def compared(run: Run, job: Job, found: Json) -> list[Json]:
    """Baselines of a run that is over; *found* learns how it followed what was needed."""
    if not job.judging.baselines or len(run.models) != 1 or not len(run.arrivals):
        return []
    needed, baselines = baselines_of(run, job.judging)
    gpus = run.models[0].engine.gpus
    found["following"] = following_row(run, needed)
    found["needed"] = needed_rows(needed)
    about = {key: found[key] for key in ("file", "trace", "seed")}
    return [about | baseline_row(one, gpus, job.judging) for one in baselines]


# -- in parallel ---------------------------------------------------------------------------------

_traffic: Sequence[Traffic] = ()


def _begin_worker(traffic: Sequence[Traffic]) -> None:
    global _traffic  # noqa: PLW0603 - once a process, before its first job
    _traffic = traffic


def _work(job: Job) -> list[Json]:
    return execute(job, _traffic[job.trace])


def execute_all(
    jobs: Sequence[Job], traffic: Sequence[Traffic], workers: int
) -> Iterator[list[Json]]:
    """The numbers of all *jobs*, in their order."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield execute(job, traffic[job.trace])
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(jobs)), _begin_worker, (tuple(traffic),)) as pool:
        yield from pool.imap(_work, jobs)


def seeds(job: Job, count: int) -> list[Job]:
    """The same job with other random numbers."""
    first = job.setup.seed
    return [replace(job, setup=replace(job.setup, seed=first + i)) for i in range(count)]


__all__ = ["Job", "Traffic", "begin", "execute", "execute_all", "finish", "load_bundle", "seeds"]
