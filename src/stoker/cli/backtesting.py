"""The work of `stoker backtest`: from flags to metrics, a walk through time, and its report."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stoker.backtest import Metrics, Plan, Summary, Tally, ticks
from stoker.backtest.files import Subject, read_subject
from stoker.backtest.reading import read_metrics, text_of
from stoker.backtest.run import metric_names
from stoker.backtest.triggers import is_recorded
from stoker.cli.controllers import settings_of
from stoker.errors import InputError, Place
from stoker.metrics.sample import format_value
from stoker.reports.plot import Curves, check_plot_file, plot
from stoker.reports.timeline import (
    changes,
    comparison,
    csv_lines,
    length,
    moment,
    row,
    summary_line,
    table,
)
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec
from stoker.tick import Tick

Flags = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Backtest:
    """One file, ready to run."""

    file: str
    spec: ScalingSpec
    metrics: Metrics
    plan: Plan
    flap_window: float
    curves: Curves | None  # None: there will be no picture

    def ticks(self, tally: Tally) -> Iterator[Tick]:
        for tick in tally.watch(ticks(self.spec, self.metrics, self.plan)):
            if self.curves is not None:
                self.curves.add(tick)
            yield tick

    def tally(self) -> Tally:
        return Tally(self.plan.start, self.plan.replicas, flap_window=self.flap_window)

    @property
    def names(self) -> tuple[str, ...]:
        return metric_names(self.spec, self.plan.targets)


def run_backtest(file: str, series: Sequence[str], flags: Flags) -> None:
    """Run FILE, and the file to compare it with, and print. Raises StokerError."""
    _check(series, flags)
    settings = settings_of(flags)
    first = _prepared(file, series, flags, settings)
    other = None
    if flags["compare"] is not None:
        other = _prepared(flags["compare"], series, flags, settings)
        # the same stretch of time and the same start, or the numbers cannot be compared
        other = replace(other, plan=replace(other.plan, replicas=first.plan.replicas))
    _PRINT[flags["output"]](first, other, every=flags["every"])
    if first.curves is not None:
        plot(first.curves, flags["picture"], other=other.curves if other else None)
        print(f"picture: {flags['picture']}", file=sys.stderr)


def _check(series: Sequence[str], flags: Flags) -> None:
    if bool(series) == bool(flags["url"]):
        raise InputError(
            "say where the metrics come from: either --metrics or --prometheus",
            hint="--metrics waiting.json, or --prometheus http://localhost:9090 --from now-24h",
        )
    if flags["url"] and flags["start"] is None:
        raise InputError("--prometheus needs --from", hint="--from now-24h --to now")
    if flags["compare"] is not None and flags["output"] in ("jsonl", "csv"):
        raise InputError(
            f"--compare cannot be written as {flags['output']}", hint="--output text or json"
        )
    if flags["picture"] is not None:
        check_plot_file(flags["picture"])


def _prepared(
    file: str, series: Sequence[str], flags: Flags, settings: ControllerSettings
) -> _Backtest:
    subject: Subject = read_subject(
        file,
        name=flags["name"],
        release=flags["release"],
        namespace=flags["namespace"],
        kubernetes_version=flags["kubernetes_version"],
        stdin=sys.stdin,
    )
    spec = subject.spec.overridden(
        polling_interval=flags["polling_interval"],
        stabilization_window=flags["stabilization_window"],
    )
    start, end = flags["start"], flags["end"]
    if flags["url"]:
        start = math.floor(start)
        end = math.floor(_now() if end is None else end)
        _ordered(start, end)
        from stoker.backtest.server import ask_server  # noqa: PLC0415 - the HTTP client takes 0.1 s

        metrics = ask_server(
            flags["url"],
            spec,
            start,
            end,
            settings=settings,
            missing=flags["missing"],
            headers=_headers(flags),
        )
    else:
        metrics = read_metrics(series, lookback=flags["lookback"], missing=flags["missing"])
        first, last = metrics.span
        start, end = first if start is None else start, last if end is None else end
        _ordered(start, end)
    replicas = subject.replicas if flags["replicas"] is None else flags["replicas"]
    plan = Plan(
        start,
        end,
        1 if replicas is None else replicas,
        flags["startup"],
        settings,
        dict(flags["targets"]),
    )
    ticks(spec, metrics, plan)  # what cannot be built is told before anything is printed
    asking = [trigger for trigger in spec.triggers if is_recorded(trigger)]
    for name in metrics.unused(asking):
        print(f"note: {name} answers no trigger of {file}", file=sys.stderr)
    curves = None if flags["picture"] is None else Curves(f"{spec.name} ({Path(file).name})")
    return _Backtest(file, spec, metrics, plan, flags["flap_window"], curves)


def _headers(flags: Flags) -> dict[str, str]:
    """What goes with every request. A token is read from its file, off the command line."""
    headers = dict(flags["headers"])
    path = flags["bearer_token_file"]
    if path is not None:
        token = text_of(path).strip()
        if not token or len(token.split()) != 1:
            raise InputError("there is no token in this file", place=Place(str(path)))
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _now() -> float:
    from stoker.clock import wall_time  # noqa: PLC0415 - only `--prometheus` without `--to`

    return wall_time()


def _ordered(start: float, end: float) -> None:
    if end <= start:
        raise InputError(
            f"nothing to do: from {moment(start)} to {moment(end)}",
            hint="--from and --to choose a part of the recorded time",
        )


def _print_text(first: _Backtest, other: _Backtest | None, *, every: bool) -> None:
    tally = first.tally()
    passing = first.ticks(tally)
    names = first.names
    rows = [row(tick, names) for tick in (passing if every else changes(passing))]
    print(f"{_head(first)}\n\n{table(rows, names)}")
    summary = tally.summary(first.plan.end)
    print(f"\n{summary_line(summary)}")
    if other is None:
        return
    theirs = _summary(other)
    print(f"\n{comparison(summary, theirs, _titles(first, other))}")
    print(f"\n{other.file}: {summary_line(theirs)}")


def _summary(run: _Backtest) -> Summary:
    tally = run.tally()
    for _ in run.ticks(tally):
        pass
    return tally.summary(run.plan.end)


def _titles(first: _Backtest, other: _Backtest) -> tuple[str, str]:
    a, b = Path(first.file).name, Path(other.file).name
    return (first.file, other.file) if a == b else (a, b)


def _head(run: _Backtest) -> str:
    plan, spec = run.plan, run.spec
    polls = "" if spec.is_hpa else f"polls every {spec.polling_interval:g} s, "
    zone = " UTC" if plan.start >= 1e8 else ""
    return (
        f"{spec.name} -> {spec.target}, {moment(plan.start)} to {moment(plan.end)}{zone}\n"
        f"created at the start with {plan.replicas} ready, start-up {length(plan.startup)}, {polls}"
        f"syncs every {plan.settings.sync_period:g} s, "
        f"Kubernetes {plan.settings.kubernetes_version}"
    )


def _print_json(first: _Backtest, other: _Backtest | None, *, every: bool) -> None:  # noqa: ARG001
    print('{"runs": [')
    _json_run(first)
    if other is not None:
        print(",")
        _json_run(other)
    print("]}")


def _json_run(run: _Backtest) -> None:
    """One run, a line a Tick: a week of them need not fit into one string."""
    tally = run.tally()
    about = {"file": run.file, "name": run.spec.name, "namespace": run.spec.namespace}
    print(json.dumps(about)[:-1] + ', "ticks": [')
    separator = ""
    for tick in run.ticks(tally):
        print(separator + as_json(tick.to_dict()), end="")
        separator = ",\n"
    summary = tally.summary(run.plan.end)
    numbers = {**asdict(summary), "scale_events": summary.scale_events}
    print(f'\n], "summary": {json.dumps(numbers)}}}')


def _print_jsonl(first: _Backtest, _: _Backtest | None, *, every: bool) -> None:  # noqa: ARG001
    for tick in first.ticks(first.tally()):
        print(as_json(tick.to_dict()))


def _print_csv(first: _Backtest, _: _Backtest | None, *, every: bool) -> None:  # noqa: ARG001
    names = first.names
    rows = (row(tick, names) for tick in first.ticks(first.tally()))
    for line in csv_lines(rows, names):
        print(line)


def as_json(document: Any) -> str:
    """JSON on one line. What is no number in JSON is a text: NaN, +Inf, -Inf."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(document), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return format_value(value)
    return value


_PRINT = {"text": _print_text, "json": _print_json, "jsonl": _print_jsonl, "csv": _print_csv}
