"""Runs of a replay as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Run = Mapping[str, Any]


def table(document: Mapping[str, Any]) -> str:
    """Runs side by side, a row each. Numbers to the right, units in the head."""
    runs = document["runs"]
    priced = document["price"] is not None
    heads = ["", "REPLICAS", "GPU-H", *(["COST"] if priced else []), "IN SLO", "MET"]
    heads += ["TTFT P50", "P95", "P99", "ITL P50", "P95", "E2E P50", "P95", "FAILED", "SCALED"]
    rows = [heads, *(_cells(run, priced=priced) for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join((first, *rest)).rstrip())
    return "\n".join(lines)


def _cells(run: Run, *, priced: bool) -> list[str]:
    cells = [run["name"], replicas(run), f"{run['gpu_seconds'] / 3600:.2f}"]
    if priced:
        cells.append(f"{run['cost']:.2f}")
    cells += [f"{100 * run['slo_attainment']:.2f} %", "yes" if run["slo_met"] else "no"]
    ttft, itl, e2e = run["ttft"], run["itl"], run["e2e"]
    cells += [seconds(ttft["p50"]), seconds(ttft["p95"]), seconds(ttft["p99"])]
    cells += [seconds(itl["p50"]), seconds(itl["p95"])]
    cells += [seconds(e2e["p50"]), seconds(e2e["p95"])]
    return [*cells, f"{run['failed']:,}", str(run["scale_events"])]


def replicas(run: Run) -> str:
    """``1 to 3``, or ``3`` where it never changed."""
    if "fixed" in run:
        return str(run["fixed"])
    numbers = [row["wanted"] for row in run["replicas"]]
    least, most = min(numbers, default=0), max(numbers, default=0)
    return str(most) if least == most else f"{least} to {most}"


def seconds(value: float | None) -> str:
    """Three digits with a unit: ``83 ms``, ``3.23 s``, ``141 s``."""
    if value is None:
        return "-"
    if value < 0.0995:
        return f"{1000 * value:.3g} ms"
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    return f"{value:.3g} s" if value < 999.5 else f"{value:,.0f} s"


def details(run: Run) -> str:
    """What one run did, in sentences."""
    lines = [
        f"scaling     {_count(run['scale_events'], 'scale event')} ({run['scale_ups']} up, "
        f"{run['scale_downs']} down), {_count(run['flaps'], 'flap')}, "
        f"{run['polls']} polls, {run['syncs']} syncs"
        + (f", {run['failed_looks']} with errors" if run["failed_looks"] else "")
    ]
    starts = run["starts"]
    if starts["count"]:
        wasted = f", {starts['wasted']} for nothing" if starts["wasted"] else ""
        took = (
            ""
            if starts["median"] is None
            else (f", {seconds(starts['median'])} to readiness (at most {seconds(starts['max'])})")
        )
        restarts = f", {starts['restarts']} restarts" if starts["restarts"] else ""
        wakes = f" ({starts['wakes']} from sleep)" if starts["wakes"] else ""
        lines.append(f"starts      {starts['count']}{wakes}{took}{wasted}{restarts}")
    if run["asleep_seconds"]:
        lines.append(f"asleep      {run['asleep_seconds']:,.0f} replica-seconds")
    following = run.get("following")
    if following is not None:
        lines.append(
            f"following   {following['under_replica_seconds']:,.0f} replica-seconds too few, "
            f"{following['over_replica_seconds']:,.0f} too many"
            + (
                f"; {_count(following['reactions'], 'shortage')}, "
                f"{seconds(following['reaction_median'])} to enough "
                f"(at most {seconds(following['reaction_max'])})"
                if following["reactions"]
                else ""
            )
        )
    queue, held = run["queue_time"], run["held"]
    lines.append(
        f"waiting     in engines p50 {seconds(queue['p50'])}, p95 {seconds(queue['p95'])}, "
        f"at most {seconds(queue['max'])}"
    )
    if held["requests"]:
        lines.append(
            f"held        {held['requests']:,} requests, p50 {seconds(held['p50'])}, "
            f"at most {seconds(held['max'])}"
        )
    if run["cached_tokens"]:
        share = run["cached_tokens"] / run["prompt_tokens"]
        lines.append(f"cached      {share:.0%} of the prompts' tokens")
    if run["failed"]:
        reasons = ", ".join(f"{n:,} {name}" for name, n in run["failures"].items() if n)
        lines.append(f"failed      {reasons.replace('_', ' ')}")
    for condition in run["slo"]:
        verdict = "met" if condition["met"] else "missed"
        value = seconds(condition["value"]) if condition["value"] is not None else "no answer"
        lines.append(f"slo         {condition['condition']}: {value}, {verdict}")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def front(runs: Sequence[Run]) -> list[Run]:
    """Runs of files that no other beats in cost and attainment, the cheapest first."""
    own = [run for run in runs if run["kind"] == "file"]
    best: list[Run] = []
    for run in sorted(own, key=lambda run: (run["gpu_seconds"], -run["slo_attainment"])):
        if not best or run["slo_attainment"] > best[-1]["slo_attainment"]:
            best.append(run)
    return best
