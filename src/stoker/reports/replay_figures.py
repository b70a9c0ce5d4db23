"""Figures of a replay, made of its JSON document: a run over time, and runs against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stoker.reports.figure import Figure, Mark, Panel, Rule

Run = Mapping[str, Any]
_MOST_MARKS = 400


def timeline(run: Run, *, slo_ttft: float | None = None) -> Figure:
    """Arrivals, replicas wanted and ready with the decisions, the queue, and latency over time."""
    series = run["series"]
    edges = np.asarray(series["time"], np.float64)
    replicas = run["replicas"]
    end = float(max(run["duration"], edges[-1] if len(edges) else 0.0))
    panels = [_arrivals(series, edges), _replicas(run, replicas, end), _queue(series, edges)]
    panels.append(_latency(series, edges, slo_ttft))
    return Figure(
        name="timeline",
        title=f"{run['name']}: replicas over arrivals",
        panels=panels,
        x_label="time of the trace (h:mm)",
        x_limits=(0.0, end or 1.0),
        says=(
            f"{run['requests']} requests, {run['scale_events']} scale events, "
            f"up to {max((row['ready'] for row in replicas), default=0)} replicas"
        ),
    )


def _arrivals(series: Mapping[str, Any], time: np.ndarray) -> Panel:
    panel = Panel("Arrivals", "requests/s", height=80)
    panel.area(time, series["arrival_rate"], "", "arrivals")
    return panel


def _replicas(run: Run, replicas: Sequence[Mapping[str, Any]], end: float) -> Panel:
    panel = Panel("Replicas", height=150, integers=True)
    times = [row["time"] for row in replicas] + [end]
    for field in ("wanted", "ready"):
        values = [row[field] for row in replicas]
        panel.steps(times, [*values, values[-1]] if values else [0.0], field, field)
    for decision in run.get("decisions", ())[:_MOST_MARKS]:
        panel.marks.append(Mark(decision["time"], decision["to"], decision_text(decision)))
    return panel


def decision_text(decision: Mapping[str, Any]) -> str:
    """``0:12:30  3 -> 5`` and the reason."""
    hours, rest = divmod(round(decision["time"]), 3600)
    at = f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return f"{at}  {decision['from']} -> {decision['to']}\n{decision['reason']}"


def _queue(series: Mapping[str, Any], time: np.ndarray) -> Panel:
    panel = Panel("Waiting", "requests", height=90)
    waiting = np.asarray(series["waiting"], np.float64)
    panel.area(time, waiting, "in engines' queues", "queue")
    held = np.asarray(series.get("held", ()), np.float64)
    if held.any():
        panel.area(time, held, "held by the gateway", "held")
    return panel


def _latency(series: Mapping[str, Any], time: np.ndarray, slo: float | None) -> Panel:
    panel = Panel("Time to first token", "s, of requests that arrived then", height=120)
    ttft = {name: _gaps(series["ttft"][name]) for name in ("p50", "p95", "p99")}
    panel.band(time, ttft["p50"], ttft["p95"], "", "latency")
    for name in ("p99", "p95", "p50"):
        panel.line(time, ttft[name], name, name)
    if slo is not None:
        panel.rules.append(Rule(slo, f"SLO {slo:g} s"))
    return panel


def _gaps(values: Sequence[float | None]) -> np.ndarray:
    """None, where no request arrived, is a gap."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def pareto(runs: Sequence[Run], *, unit: str = "GPU-hours") -> Figure:
    """Cost against attainment; the line joins runs that no other beats in both."""
    known = [run for run in runs if run.get("slo_attainment") is not None]
    costs = [cost_of(run, unit) for run in known]
    shares = [float(run["slo_attainment"]) for run in known]
    low = min([*shares, 1.0])
    panel = Panel("SLO attainment", "share of all requests", height=300, percent=True)
    panel.bottom, panel.top = _floor(low), 1.0
    front = sorted(best_of(known, unit))  # by cost, and so by share
    if len(front) > 1:
        costs_of_best, shares_of_best = zip(*front, strict=True)
        panel.line(costs_of_best, shares_of_best, "no other is cheaper and better", "front")
    for run, cost, share in zip(known, costs, shares, strict=True):
        style = {"baseline": "baseline", "bound": "bound"}.get(run.get("kind", ""), "run")
        text = f"{run['name']}\n{cost:,.4g} {unit}, {share:.2%} within the SLO"
        panel.marks.append(Mark(cost, share, text, style, label=run["name"]))
    right = max([*costs, 1e-9]) * 1.12
    return Figure(
        name="pareto",
        title="Cost against SLO attainment",
        panels=[panel],
        x_label=unit,
        x_limits=(0.0, right),
        x_is_time=False,
        says=f"{len(known)} runs; up and to the left is better",
    )


def unit_of(document: Mapping[str, Any]) -> str:
    """What cost is told in: money where there is a price."""
    return "GPU-hours" if document.get("price") is None else str(document.get("currency", "cost"))


def cost_of(run: Run, unit: str) -> float:
    """Money where there is a price, GPU-hours otherwise."""
    return float(run["gpu_seconds"]) / 3600 if unit == "GPU-hours" else float(run["cost"])


def best_of(runs: Sequence[Run], unit: str) -> dict[tuple[float, float], str]:
    """Cost, share and name of runs that no other beats in both; the clairvoyant is no choice."""
    points = {
        (cost_of(run, unit), float(run["slo_attainment"])): str(run["name"])
        for run in reversed(runs)
        if run.get("slo_attainment") is not None and run.get("kind") != "bound"
    }
    best, share = {}, -1.0
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if point[1] > share:
            share = point[1]
            best[point] = points[point]
    return best


def _floor(share: float) -> float:
    """A round share below the lowest, so that differences near 1 can be seen."""
    for floor in (0.99, 0.95, 0.9, 0.8, 0.5):
        if share >= floor:
            return floor
    return 0.0
