"""A backtest as text: the looks at which something changed, and what it came to."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stoker.backtest import Summary
from stoker.scaling.numbers import plain
from stoker.scaling.observation import Reader, TriggerReading, TriggerValue
from stoker.tick import Tick

_FIRST_DATE = 1e8  # before this (1973) times are seconds of the run, not dates
_LOOKS = {Reader.KEDA: "poll", Reader.HPA: "sync", Reader.PUSH: "push"}
_LEFT = ("LOOK", "REASON")
_NO_NEWS = "ReadyForNewScale"


@dataclass(frozen=True, slots=True)
class Row:
    """One look. Values are None where a trigger was not asked, a text where it failed."""

    time: float
    look: str
    values: dict[str, float | str | None]
    recommendation: int | None  # the largest; None: nobody recommended
    decision: int
    was: int
    replicas: int
    ready: int
    reason: str
    message: str


def row(tick: Tick, names: Sequence[str]) -> Row:
    """*tick* as a row with a value for each of *names*, the metrics of the triggers."""
    wants = [r.replicas for r in tick.recommendations if r.replicas is not None]
    decision = tick.decision
    return Row(
        tick.time,
        _LOOKS[tick.reader],
        _values(tick, names),
        max(wants, default=None),
        decision.replicas,
        decision.was,
        tick.status.spec_replicas,
        tick.status.ready_replicas,
        decision.reason,
        decision.message,
    )


def _values(tick: Tick, names: Sequence[str]) -> dict[str, float | str | None]:
    found: dict[str, TriggerReading | TriggerValue] = {v.metric_name: v for v in tick.values}
    found |= {reading.metric_name: reading for reading in tick.readings}
    shown: dict[str, float | str | None] = dict.fromkeys(names)
    for name in names:
        one = found.get(name)
        if one is not None:
            shown[name] = one.value if one.error is None else f"error: {one.error}"
    return shown


def changes(ticks: Iterable[Tick]) -> Iterator[Tick]:
    """The looks at which something is new, the first and the last of all.

    New is: another number of replicas or of ready ones, a trigger that began or ceased to fail, and
    a reason that the same reader has not given since the last scaling. That a recommendation
    matches the size again (ReadyForNewScale) is no news.
    """
    ready: int | None = None
    failing: dict[Reader, tuple[str, ...]] = {}
    given: dict[Reader, set[str]] = {reader: {_NO_NEWS} for reader in Reader}
    last: Tick | None = None
    shown: Tick | None = None
    for tick in ticks:
        last, reader = tick, tick.reader
        failed = tuple(r.metric_name for r in tick.readings if r.error is not None)
        is_new = (
            tick.decision.changes
            or tick.status.ready_replicas != ready
            or (tick.readings and failing.get(reader, ()) != failed)
            or tick.decision.reason not in given[reader]
        )
        if tick.decision.changes:
            given[Reader.HPA] = {_NO_NEWS}
        elif reader is Reader.KEDA:
            given[reader] = {_NO_NEWS}
        given[reader].add(tick.decision.reason)
        ready = tick.status.ready_replicas
        if tick.readings:
            failing[reader] = failed
        if is_new:
            shown = tick
            yield tick
    if last is not None and last is not shown:
        yield last


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The rows under a head, numbers to the right; every line is whole, whatever its length."""
    head = ["TIME", "LOOK", *names, "RECOMMENDED", "DECISION", "READY", "REASON"]
    cells = [head, *(_cells(one, names) for one in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if title in _LEFT else cell.rjust(width)
            for cell, width, title in zip(line, widths, head, strict=True)
        ).rstrip()
        for line in cells
    )


def _cells(one: Row, names: Sequence[str]) -> list[str]:
    decision = str(one.decision)
    if one.decision != one.was:
        decision = f"{one.was}→{one.decision}"
    message = f": {one.message}" if one.message else ""
    failed = [f"{name} {text}" for name, text in one.values.items() if isinstance(text, str)]
    return [
        moment(one.time),
        one.look,
        *(_value(one.values[name]) for name in names),
        "-" if one.recommendation is None else str(one.recommendation),
        decision,
        f"{one.ready}/{one.replicas}",
        "; ".join([f"{one.reason}{message}", *failed]),
    ]


def _value(value: float | str | None) -> str:
    if value is None:
        return "-"
    return "error" if isinstance(value, str) else plain(value)


def moment(seconds: float) -> str:
    """``2026-11-17 14:03:15`` in UTC, or ``+12m30s`` where times count from 0."""
    if seconds >= _FIRST_DATE:
        return datetime.fromtimestamp(math.floor(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"+{length(seconds)}"


def length(seconds: float) -> str:
    """``7d``, ``1d02h``, ``1h05m00s``, ``12m30s``, ``15s``."""
    whole = math.floor(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}d{hours:02d}h{minutes:02d}m{rest:02d}s" if whole % 86400 else f"{days}d"
    if hours:
        return f"{hours}h{minutes:02d}m{rest:02d}s"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def summary_line(summary: Summary) -> str:
    """The whole backtest in one line."""
    failed = f", {_count(summary.failed_looks, 'look')} failed" if summary.failed_looks else ""
    return (
        f"{length(summary.end - summary.start)}: {summary.replica_hours:.2f} replica-hours, "
        f"{_count(summary.scale_events, 'scale event')} ({summary.scale_ups} up, "
        f"{summary.scale_downs} down), {_count(summary.flaps, 'flap')}, {summary.lowest} to "
        f"{summary.peak} replicas, {_count(summary.polls, 'poll')} and "
        f"{_count(summary.syncs, 'sync')}{failed}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def comparison(ours: Summary, theirs: Summary, names: tuple[str, str]) -> str:
    """Two backtests side by side, with the difference of the second from the first."""
    hours = (ours.replica_hours, theirs.replica_hours)
    percent = f" ({(hours[1] - hours[0]) / hours[0]:+.1%})" if hours[0] else ""
    difference = f"{hours[1] - hours[0]:+.2f}{percent}"
    pairs = [
        ("scale events", ours.scale_events, theirs.scale_events),
        ("  up", ours.scale_ups, theirs.scale_ups),
        ("  down", ours.scale_downs, theirs.scale_downs),
        ("flaps", ours.flaps, theirs.flaps),
        ("lowest replicas", ours.lowest, theirs.lowest),
        ("peak replicas", ours.peak, theirs.peak),
        ("failed looks", ours.failed_looks, theirs.failed_looks),
    ]
    lines = [
        ["", *names, "DIFFERENCE"],
        ["replica-hours", f"{hours[0]:.2f}", f"{hours[1]:.2f}", difference],
        *([name, str(a), str(b), f"{b - a:+d}" if b != a else "0"] for name, a, b in pairs),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        ).rstrip()
        for line in lines
    )


def csv_lines(rows: Iterable[Row], names: Sequence[str]) -> Iterator[str]:
    """The rows as CSV, times in seconds since the Unix epoch. A failed trigger is ``error``."""
    head = ["time", "look", *names]
    head += ["recommendation", "decision", "was", "replicas", "ready", "reason", "message"]
    yield _csv(head)
    for one in rows:
        values = ["error" if isinstance(one.values[n], str) else one.values[n] for n in names]
        yield _csv(
            [
                f"{one.time:.3f}".removesuffix(".000"),
                one.look,
                *values,
                one.recommendation,
                one.decision,
                one.was,
                one.replicas,
                one.ready,
                one.reason,
                one.message,
            ]
        )


def _csv(cells: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()
