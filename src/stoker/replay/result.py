"""One run as JSON has it: ``docs/reference/replay.md`` says what each field means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from stoker.backtest.summary import Summary, Tally
from stoker.replay.baselines import Baseline, Need, clairvoyant, need, static_baseline
from stoker.replay.curves import series_of
from stoker.replay.outcome import Following, Latencies, Percentiles, paid_seconds, plain
from stoker.replay.pods import Life
from stoker.replay.run import Model, Run
from stoker.replay.slo import Slo
from stoker.simulator.fleet import state as at

Json = dict[str, Any]
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Judging:
    """What a run is judged by. *price* is for one GPU and one hour; None: nobody said."""

    slo: Slo
    price: float | None = None
    baselines: bool = True
    flap_window: float = 600.0


def result_of(run: Run, tallies: dict[str, Tally], judging: Judging) -> Json:
    """All numbers of a run that is over."""
    latencies = Latencies.of(run.fleet)
    kept = latencies.kept(judging.slo)
    status = run.fleet.state.request[:, at.Q_STATUS]
    lives = [life for model in run.models for life in model.pods.lives]
    paid = [paid_seconds(model.pods.lives, run.end) for model in run.models]
    gpu_seconds = math.fsum(_billed(model, run) * model.engine.gpus for model in run.models)
    summaries = {name: tally.summary(run.setup.start + run.end) for name, tally in tallies.items()}
    request = run.fleet.state.request
    offered = len(status)
    return {
        "kind": "file",
        "requests": offered,
        "done": int((status == at.DONE).sum()),
        "failed": int((status != at.DONE).sum()),
        "failures": {
            name: int((status == number).sum())
            for number, name in enumerate(at.STATUSES)
            if number > at.DONE
        },
        "retries": int(request[:, at.Q_RETRIES].sum()),
        "duration": round(run.end, 9),
        "prompt_tokens": int(request[:, at.Q_PROMPT].sum()),
        "cached_tokens": int(request[:, at.Q_CACHED].sum()),
        "output_tokens": int(request[latencies.done, at.Q_OUTPUT].sum()),
        "preemptions": int(request[:, at.Q_PREEMPTED].sum()),
        "replica_seconds": round(math.fsum(paid), 9),
        "asleep_seconds": round(
            math.fsum(model.pods.asleep_seconds(run.end) for model in run.models), 9
        ),
        "gpu_seconds": round(gpu_seconds, 9),
        "cost": _cost(gpu_seconds, judging.price),
        "slo_attainment": _share(int(kept.sum()), offered),
        "slo_met": all(_conditions(latencies, judging.slo, "met")) if offered else True,
        "slo": _condition_rows(latencies, judging.slo),
        "goodput": round(float(kept.sum()) / run.end, 9) if run.end else 0.0,
        "ttft": plain(Percentiles.of(_known(latencies.ttft))),
        "itl": plain(latencies.gaps.percentiles()),
        "e2e": plain(Percentiles.of(_known(latencies.e2e))),
        "queue_time": plain(Percentiles.of(_known(latencies.queue))),
        "held": _held(latencies),
        "scale_events": sum(summary.scale_events for summary in summaries.values()),
        "scale_ups": sum(summary.scale_ups for summary in summaries.values()),
        "scale_downs": sum(summary.scale_downs for summary in summaries.values()),
        "flaps": sum(summary.flaps for summary in summaries.values()),
        "failed_looks": sum(summary.failed_looks for summary in summaries.values()),
        "polls": sum(summary.polls for summary in summaries.values()),
        "syncs": sum(summary.syncs for summary in summaries.values()),
        "starts": _starts(lives),
        "replicas": _total(run.models),
        "models": [_model(model, run, summaries.get(model.name)) for model in run.models],
        "series": series_of(run.fleet, run.end),
    }


def _billed(model: Model, run: Run) -> float:
    """Replica-seconds that are paid for, those asleep at their share."""
    asleep = model.pods.asleep_seconds(run.end) * run.setup.asleep_cost
    return paid_seconds(model.pods.lives, run.end) + asleep


def _known(column: Any) -> Any:
    return column[~np.isnan(column)]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 9) if whole else 1.0


def _cost(gpu_seconds: float, price: float | None) -> float | None:
    return None if price is None else round(gpu_seconds / 3600.0 * price, 6)


def _condition_rows(latencies: Latencies, slo: Slo) -> list[Json]:
    rows = []
    for condition in slo.conditions:
        value = latencies.measured(condition)
        rows.append(
            {
                "condition": condition.text,
                "value": plain(value),
                "limit": condition.limit,
                "met": value is not None and value < condition.limit,
            }
        )
    return rows


def _conditions(latencies: Latencies, slo: Slo, field: str) -> list[bool]:
    return [bool(row[field]) for row in _condition_rows(latencies, slo)]


def _held(latencies: Latencies) -> Json:
    waits = latencies.held[latencies.held > 0.0]
    return {"requests": len(waits), **plain(Percentiles.of(waits))}


def _starts(lives: Sequence[Life]) -> Json:
    """Cold starts: how many, how long from the pod to its readiness, and which were in vain."""
    begun = [life for life in lives if life.started is not None and not life.was_there]
    took = [life.ready - life.created for life in begun if life.ready is not None]
    return {
        "count": len(begun),
        "wakes": sum(life.woke for life in begun),
        "wasted": sum(life.requests == 0 and life.deleted is not None for life in begun),
        "median": plain(median(took)) if took else None,
        "max": plain(max(took, default=None)),
        "restarts": sum(life.restarts for life in lives),
    }


def _total(models: Sequence[Model]) -> list[Json]:
    """Replicas of all models together, when they change."""
    times = sorted({time for model in models for time, *_ in model.timeline})
    at_ = [-1] * len(models)
    found = []
    for time in times:
        wanted = ready = 0
        for i, model in enumerate(models):
            while at_[i] + 1 < len(model.timeline) and model.timeline[at_[i] + 1][0] <= time:
                at_[i] += 1
            if at_[i] >= 0:
                wanted += model.timeline[at_[i]][1]
                ready += model.timeline[at_[i]][2]
        found.append({"time": round(time, 9), "wanted": wanted, "ready": ready})
    return found


def _model(model: Model, run: Run, summary: Summary | None) -> Json:
    return {
        "name": model.name,
        "model": model.engine.workload.model,
        "scaled_object": None if model.spec is None else model.spec.name,
        "profile": model.engine.profile,
        "gpus": model.engine.gpus,
        "startup": str(model.engine.startup),
        "replica_seconds": round(paid_seconds(model.pods.lives, run.end), 9),
        "lowest": None if summary is None else summary.lowest,
        "peak": None if summary is None else summary.peak,
        "replicas": [
            {"time": round(time, 9), "wanted": wanted, "ready": ready}
            for time, wanted, ready in model.timeline
        ],
    }


# -- beside it -----------------------------------------------------------------------------------


def baselines_of(run: Run, judging: Judging) -> tuple[Need, list[Baseline]]:
    """Fixed fleets and the clairvoyant, for the only model of a run."""
    engine, arrivals, slo = run.models[0].engine, run.arrivals, judging.slo
    needed = need(arrivals, engine, slo)
    peak = max((wanted for _, wanted, _ in run.models[0].timeline), default=0)
    mean = _billed(run.models[0], run) / run.end if run.end else 0.0
    found = []
    if peak:
        found.append(static_baseline("static at peak", arrivals, engine, peak, slo))
    same = max(round(mean), 1)
    found.append(static_baseline("static at mean", arrivals, engine, same, slo))
    found.append(clairvoyant(arrivals, engine, slo, needed))
    return needed, found


def baseline_row(baseline: Baseline, engine_gpus: int, judging: Judging) -> Json:
    """A baseline as JSON has it: a run of its own kind."""
    latencies = baseline.latencies
    gpu_seconds = baseline.replica_seconds * engine_gpus
    return {
        "name": baseline.name,
        "kind": "bound" if baseline.is_bound else "baseline",
        "fixed": baseline.replicas,
        "requests": len(latencies.done),
        "done": int(latencies.done.sum()),
        "failed": int((~latencies.done).sum()),
        "duration": round(baseline.end, 9),
        "replica_seconds": round(baseline.replica_seconds, 9),
        "gpu_seconds": round(gpu_seconds, 9),
        "cost": _cost(gpu_seconds, judging.price),
        "slo_attainment": round(baseline.attainment, 9),
        "slo_met": all(_conditions(latencies, judging.slo, "met")),
        "slo": _condition_rows(latencies, judging.slo),
        "ttft": plain(Percentiles.of(_known(latencies.ttft))),
        "itl": plain(latencies.gaps.percentiles()),
        "e2e": plain(Percentiles.of(_known(latencies.e2e))),
        "scale_events": baseline.scale_events,
        "replicas": [
            {"time": time, "wanted": replicas, "ready": replicas}
            for time, replicas in baseline.timeline
        ],
    }


def following_row(run: Run, needed: Need) -> Json:
    """How ready replicas followed what was needed."""
    followed = Following.of(run.models[0].timeline, needed.timeline(), run.end)
    reactions = followed.reactions
    return {
        "over_replica_seconds": round(followed.over, 9),
        "under_replica_seconds": round(followed.under, 9),
        "reactions": len(reactions),
        "reaction_median": plain(median(reactions)) if reactions else None,
        "reaction_max": plain(max(reactions, default=None)),
    }


def needed_rows(needed: Need) -> list[Json]:
    """The replicas that each minute needs."""
    return [{"time": time, "replicas": replicas} for time, replicas in needed.timeline()]
