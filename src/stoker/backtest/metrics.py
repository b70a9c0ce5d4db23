"""Recorded metrics, and what they answer to a trigger at a moment.

There are two kinds. A *column* is the recorded answer of one trigger's query over time, whatever
the query was. A *storage* holds raw series, on which the file's own PromQL is evaluated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from stoker.errors import InputError, StokerError
from stoker.metrics.storage import LOOKBACK, Storage
from stoker.promql.ast import Node
from stoker.promql.engine import instant
from stoker.promql.parsing import parse
from stoker.promql.value import Scalar, String, Value, Vector
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import QueryAnswer, QueryFunction

_WITH_QUERY = ("prometheus", "Pods", "Object")  # types that raw series answer
Missing = Literal["empty", "error"]
_LATEST = 253_402_300_800.0  # the year 10000, which no date can show


@dataclass(frozen=True, slots=True)
class Track:
    """One element of an answer over time. Times ascend, seconds since the Unix epoch."""

    times: Sequence[float]
    values: Sequence[float | None]  # None: the source fails
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """The answers to one trigger. Several tracks are a vector of several elements."""

    name: str  # of the trigger or its metric; "" is the only one of a file
    tracks: tuple[Track, ...]
    source: str  # the file, for messages
    step: float | None = None  # a known grid: an answer holds until the next step is due


class Recorded(Protocol):
    """What answers triggers in the place of their servers: :class:`Metrics`, or a replay's."""

    @property
    def series(self) -> int:
        """How many series there are."""
        ...

    def query_for(self, trigger: TriggerSpec, triggers: int) -> QueryFunction:
        """What answers *trigger*, one of *triggers*."""
        ...


class Metrics:
    """All that was recorded for one backtest.

    Args:
        columns: recorded answers.
        storage: raw series; None when there are none.
        span: of *storage*, first and last sample.
        lookback: seconds that a sample counts, unless its column has a step.
        missing: what a trigger is told where there is no sample.
    """

    def __init__(
        self,
        columns: Iterable[Column] = (),
        *,
        storage: Storage | None = None,
        span: tuple[float, float] | None = None,
        lookback: float = LOOKBACK,
        missing: Missing = "empty",
    ) -> None:
        self.columns = tuple(columns)
        self.storage = storage
        self._span = span
        self._lookback = lookback
        self._missing = missing

    @property
    def span(self) -> tuple[float, float]:
        """Time of the first and of the last sample. Raises InputError when there is none."""
        tracks = [track for column in self.columns for track in column.tracks if track.times]
        spans = [(track.times[0], track.times[-1]) for track in tracks]
        if self._span is not None:
            spans.append(self._span)
        if not spans:
            raise InputError("there is no sample in these metrics")
        first, last = min(first for first, _ in spans), max(last for _, last in spans)
        if not 0 <= first <= last < _LATEST:
            raise InputError(
                "a time in these metrics is before 1970 or after 9999",
                hint="times are seconds, or milliseconds if they are large, since 1970",
            )
        return first, last

    @property
    def series(self) -> int:
        """How many series there are."""
        stored = self.storage.series_count() if self.storage is not None else 0
        return stored + sum(len(column.tracks) for column in self.columns)

    def query_for(self, trigger: TriggerSpec, triggers: int) -> QueryFunction:
        """What answers *trigger*, one of *triggers*, in the place of its server.

        Raises:
            InputError: nothing was recorded for it.
        """
        column = self.column(trigger, triggers)
        if column is not None:
            return self._recorded(column)
        if self.storage is not None and trigger.type in _WITH_QUERY:
            return self._evaluated(self.storage)
        named = sorted(f"`{c.name}`" for c in self.columns if c.name)
        there = f"there is {', '.join(named)}" if named else "the files name no trigger"
        raise InputError(
            f"no metrics for trigger {trigger.index} ({' or '.join(names_of(trigger))})",
            hint=f"{there}; name a column after the trigger, or write NAME=FILE",
        )

    def of(self, columns: Iterable[Column]) -> Metrics:
        """Other *columns*, read in the same way."""
        return Metrics(columns, lookback=self._lookback, missing=self._missing)

    def unused(self, triggers: Sequence[TriggerSpec]) -> tuple[str, ...]:
        """Names of columns that answer none of *triggers*."""
        used = {id(self.column(trigger, len(triggers))) for trigger in triggers}
        return tuple(c.name or c.source for c in self.columns if id(c) not in used)

    def column(self, trigger: TriggerSpec, triggers: int) -> Column | None:
        """What was recorded for *trigger*, one of *triggers*."""
        names = names_of(trigger)
        for column in self.columns:
            if column.name in names:
                return column
        alone = triggers == 1 and len(self.columns) == 1
        return self.columns[0] if alone else None

    def _recorded(self, column: Column) -> QueryFunction:
        lookback = self._lookback if column.step is None else column.step
        single = column.tracks[0] if len(column.tracks) == 1 else None

        async def ask(_: str, now: float) -> QueryAnswer:
            if single is not None:
                found = [_element(single, now, lookback)]
            else:
                found = [_element(track, now, lookback) for track in column.tracks]
            elements = [element for element in found if element is not None]
            if not elements:
                self._nothing(column.source)
            return QueryAnswer("vector", elements)

        return ask

    def _evaluated(self, storage: Storage) -> QueryFunction:
        parsed: dict[str, Node] = {}

        async def ask(query: str, now: float) -> QueryAnswer:
            node = parsed.get(query)
            if node is None:
                node = parsed[query] = parse(query)
            answer = answer_of(instant(node, storage, now, lookback=self._lookback), now)
            if not answer.result:
                self._nothing("the series")
            return answer

        return ask

    def _nothing(self, source: str) -> None:
        if self._missing == "error":
            raise StokerError(f"no sample in {source}", hint="--missing error")


def names_of(trigger: TriggerSpec) -> tuple[str, ...]:
    """What a trigger may be called: its name, and its metric as KEDA names it.

    A metric of a user's HPA is called by its own name.
    """
    if trigger.metric is not None:
        return (trigger.metric.name,)
    metric = f"s{trigger.index}-{trigger.type}"
    return (trigger.name, metric) if trigger.name else (metric,)


def _element(track: Track, now: float, lookback: float) -> dict[str, Any] | None:
    """The newest sample that is not too old, as an element of a vector."""
    index = bisect_right(track.times, now) - 1
    if index < 0 or now - track.times[index] >= lookback:
        return None
    value = track.values[index]
    if value is None:
        raise StokerError("the source fails", hint="`error` in the recorded metrics")
    return {"metric": track.labels, "value": (now, value)}


def answer_of(value: Value, now: float) -> QueryAnswer:
    """A value of the engine as the Prometheus API would give it."""
    match value:
        case Vector():
            elements = [{"metric": s.labels.as_dict(), "value": (now, s.v)} for s in value.samples]
            return QueryAnswer("vector", elements)
        case Scalar():
            return QueryAnswer("scalar", (now, str(value.v)))
        case String():
            return QueryAnswer("string", (now, value.v))
        case _:
            series = [{"metric": s.labels.as_dict(), "values": s.points} for s in value.series]
            return QueryAnswer("matrix", series)
