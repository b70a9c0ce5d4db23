"""Evaluate a query against a storage: at one moment, or at many.

The rules are those of Prometheus 3 for float samples: left-open windows ``(t - range, t]``, a
look-back of five minutes that staleness markers end, names dropped by what changes the meaning of a
value. Times are seconds for callers and whole milliseconds inside.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from stoker.clock import stopwatch
from stoker.errors import QueryError
from stoker.metrics.frozen import Source
from stoker.metrics.sample import EMPTY, STALE_BITS
from stoker.metrics.series import Series as StoredSeries
from stoker.metrics.series import SeriesSet, Times, Values, to_ms
from stoker.metrics.storage import LOOKBACK, Selection
from stoker.promql.aggregations import aggregate
from stoker.promql.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Range,
    Selector,
    Subquery,
    Text,
)
from stoker.promql.binary import scalar_binary, vector_binary
from stoker.promql.columns import Columns, Track, Windows, merged, windows_of
from stoker.promql.cost import DEFAULT_SUBQUERY_STEP_MS
from stoker.promql.functions import SCALAR_FUNCTIONS, VECTOR_FUNCTIONS
from stoker.promql.kinds import KINDS, value_type
from stoker.promql.limits import Limits, QueryLimitError, QueryTimeoutError
from stoker.promql.literals import printable
from stoker.promql.parsing import parse
from stoker.promql.value import Matrix, Sample, Scalar, Series, String, Value, Vector

__all__ = ["Limits", "QueryLimitError", "QueryTimeoutError", "instant", "range_"]

NO_LIMITS: Final = Limits()


def instant(
    query: str | Node,
    storage: Source,
    at: float,
    *,
    lookback: float = LOOKBACK,
    limits: Limits = NO_LIMITS,
    delayed_names: bool = False,
) -> Value:
    """The value of *query* at the moment *at*. Raises QueryError.

    With *delayed_names* metric names go at the end of a query, as with Prometheus' flag
    ``promql-delayed-name-removal``.
    """
    node = parse(query) if isinstance(query, str) else query
    steps = np.array([to_ms(at)], np.int64)
    evaluation = _Evaluation(storage, steps, 0, to_ms(lookback), limits)
    evaluation.delayed_names = delayed_names
    with np.errstate(all="ignore"):
        return _named(query, evaluation.instant, node)


def range_(
    query: str | Node,
    storage: Source,
    start: float,
    end: float,
    step: float,
    *,
    lookback: float = LOOKBACK,
    limits: Limits = NO_LIMITS,
    delayed_names: bool = False,
) -> Matrix:
    """The value of *query* at ``start, start + step, ...`` up to *end*. Raises QueryError."""
    node = parse(query) if isinstance(query, str) else query
    step_ms = to_ms(step)
    if step_ms <= 0:
        raise QueryError("zero or negative query resolution step widths are not accepted")
    if end < start:
        raise QueryError("end timestamp must not be before start time")
    if (end - start) * 1000 / step_ms > limits.max_samples:
        raise QueryLimitError("more steps than a query may have samples")
    steps = np.arange(to_ms(start), to_ms(end) + 1, step_ms, dtype=np.int64)
    evaluation = _Evaluation(storage, steps, step_ms, to_ms(lookback), limits)
    evaluation.delayed_names = delayed_names
    with np.errstate(all="ignore"):
        value = _named(query, evaluation.matrix, node)
    assert isinstance(value, Matrix)  # noqa: S101 - for the type checker
    return value


def _named(query: str | Node, evaluate: object, node: Node) -> Value:
    """Runs an evaluation; an error of it names the query."""
    assert callable(evaluate)  # noqa: S101
    try:
        value: Value = evaluate(node)
    except QueryError as error:
        if isinstance(query, str) and not error.query:
            error.query = query
        raise
    return value


class _Evaluation:
    """One query at its moments. Meets :class:`stoker.promql.columns.Context`."""

    def __init__(
        self, storage: Source, steps: Times, step_ms: int, lookback_ms: int, limits: Limits
    ) -> None:
        self.storage = storage
        self.steps_ms = steps
        self.bounds_ms = (int(steps[0]), int(steps[-1]), step_ms)
        self.annotations: dict[str, None] = {}
        self.delayed_names = False
        self._lookback_ms = lookback_ms
        self._limits = limits
        self._samples = 0
        self._deadline = None if limits.timeout is None else stopwatch() + limits.timeout

    def _inner(self, steps: Times) -> _Evaluation:
        """The evaluation of a subquery, which counts on the same account."""
        inner = _Evaluation(self.storage, steps, self.bounds_ms[2], self._lookback_ms, self._limits)
        inner.bounds_ms = self.bounds_ms
        inner.annotations = self.annotations
        inner.delayed_names = self.delayed_names
        inner._samples, inner._deadline = self._samples, self._deadline
        return inner

    # -- answers ---------------------------------------------------------------------------------

    def instant(self, node: Node) -> Value:
        """The answer at the only moment."""
        t = float(self.steps_ms[0]) / 1000
        match value_type(node):
            case "scalar":
                return Scalar(t, float(self.scalar(node)[0]), self._notes())
            case "string":
                return String(t, printable(self.text(node)), self._notes())
            case "matrix":
                return self._tracks(node)
            case "vector":
                columns = _settled(self.vector(node))
                cells = zip(
                    columns.labels.labels,
                    columns.values[:, 0].tolist(),
                    columns.present[:, 0].tolist(),
                    strict=True,
                )
                samples = tuple(Sample(labels, t, v) for labels, v, there in cells if there)
                return Vector(samples, self._notes())

    def matrix(self, node: Node) -> Matrix:
        """The answer at all moments."""
        times = self.steps_ms / 1000
        match value_type(node):
            case "scalar":
                values = self.scalar(node)
                points = tuple(zip(times.tolist(), values.tolist(), strict=True))
                return Matrix((Series(EMPTY, points),), self._notes())
            case "vector":
                columns = _settled(self.vector(node))
            case kind:
                raise QueryError(
                    f'invalid expression type "{KINDS[kind]}" for range query, '
                    "must be Scalar or instant Vector"
                )
        series = []
        for labels, values, present in zip(
            columns.labels.labels, columns.values, columns.present, strict=True
        ):
            if present.any():
                pairs = zip(times[present].tolist(), values[present].tolist(), strict=True)
                series.append(Series(labels, tuple(pairs)))
        series.sort(key=lambda one: one.labels.pairs)
        return Matrix(tuple(series), self._notes())

    def _tracks(self, node: Node) -> Matrix:
        windows = self.windows(node)
        series = []
        bounds = zip(windows.lows[:, 0].tolist(), windows.highs[:, 0].tolist(), strict=True)
        for labels, (low, high) in zip(windows.labels.settled().labels, bounds, strict=True):
            if low < high:
                times = (windows.times_ms[low:high] / 1000).tolist()
                values = windows.values[low:high].tolist()
                series.append(Series(labels, tuple(zip(times, values, strict=True))))
        return Matrix(tuple(series), self._notes())

    def _notes(self) -> tuple[str, ...]:
        return tuple(self.annotations)

    # -- what functions and operators ask --------------------------------------------------------

    def info(self, message: str) -> None:
        """Tell the user something that may be a mistake."""
        self.annotations[f"PromQL info: {message}"] = None

    def warn(self, message: str) -> None:
        """Tell the user that the answer is not to be trusted."""
        self.annotations[f"PromQL warning: {message}"] = None

    def scalar(self, node: Node) -> Values:
        """Evaluate to a number a step."""
        match node:
            case Number():
                return np.full(len(self.steps_ms), node.value)
            case Negation():
                return -self.scalar(node.expr)
            case Binary():
                return scalar_binary(node, self.scalar(node.lhs), self.scalar(node.rhs))
            case Call(function, args) if function in SCALAR_FUNCTIONS:
                return SCALAR_FUNCTIONS[function](self, args)
            case _:
                raise QueryError(f"expected a scalar, got {KINDS[value_type(node)]}")

    def text(self, node: Node) -> str:
        """A string literal."""
        if not isinstance(node, Text):
            raise QueryError(f"expected a string, got {KINDS[value_type(node)]}")
        return node.value

    def vector(self, node: Node) -> Columns:
        """Evaluate to an instant vector."""
        match node:
            case Selector():
                return self._selected(node)[0]
            case Call(function, args):
                if function not in VECTOR_FUNCTIONS:
                    raise QueryError(f"function `{function}` is not supported")
                return VECTOR_FUNCTIONS[function](self, args)
            case Aggregate():
                return aggregate(self, node)
            case Binary():
                return self._binary(node)
            case Negation():
                inner = self.vector(node.expr)
                return inner.with_values(-inner.values).without_name()
            case _:
                raise QueryError(f"expected an instant vector, got {KINDS[value_type(node)]}")

    def sample_times(self, node: Selector) -> Columns:
        """The times, in seconds, of the samples that a selector finds."""
        columns, times = self._selected(node)
        return columns.with_values(times / 1000)

    def windows(self, node: Node) -> Windows:
        """Evaluate to a range vector."""
        match node:
            case Range(selector, range_ms):
                ends = self._moments(selector.at, selector.offset_ms)
                return self._stored(selector, ends, range_ms)
            case Subquery():
                return self._subquery(node)
            case _:
                raise QueryError(f"expected a range vector, got {KINDS[value_type(node)]}")

    # -- the tree's leaves -----------------------------------------------------------------------

    def _binary(self, node: Binary) -> Columns:
        left = right = None
        if value_type(node.lhs) == "scalar":
            left = self.scalar(node.lhs)
        if value_type(node.rhs) == "scalar":
            right = self.scalar(node.rhs)
        lhs = self.vector(node.lhs) if left is None else left
        rhs = self.vector(node.rhs) if right is None else right
        return vector_binary(node, lhs, rhs)

    def _moments(self, at: At, offset_ms: int) -> Times:
        """Where a selector looks at each step."""
        if at is None:
            return self.steps_ms - offset_ms if offset_ms else self.steps_ms
        fixed = {"start": self.bounds_ms[0], "end": self.bounds_ms[1]}
        moment = fixed[at] if isinstance(at, str) else at
        return np.full(len(self.steps_ms), moment - offset_ms, np.int64)

    def spend(self, samples: int) -> None:
        """Count samples that are looked at. Raises QueryLimitError."""
        self._samples += samples
        if self._samples > self._limits.max_samples:
            raise QueryLimitError(
                "query processing would load too many samples into memory in query execution"
            )
        if self._deadline is not None and stopwatch() > self._deadline:
            raise QueryTimeoutError("query timed out in expression evaluation")

    def _selected(self, node: Selector) -> tuple[Columns, Values]:
        """Values and times in ms of the samples that a selector finds."""
        selection = self.storage.find(node.matchers)
        moments = self._moments(node.at, node.offset_ms)
        self.spend(len(selection.series) * len(moments))
        if len(moments) == 1:
            times, values = self._newest(selection, int(moments[0]))
            times, values = times[:, None], values[:, None]
        else:
            shape = (len(selection.series), len(moments))
            times, values = np.empty(shape, np.int64), np.empty(shape)
            for i, series in enumerate(selection.series):
                times[i], values[i] = _at_or_before(series, moments)
        present = (times > moments - self._lookback_ms) & (values.view(np.int64) != STALE_BITS)
        return Columns(self._labels(selection), values, present), times.astype(np.float64)

    def _labels(self, selection: Selection) -> SeriesSet:
        return selection.labels.delayed() if self.delayed_names else selection.labels

    def _newest(self, selection: Selection, moment: int) -> tuple[Times, Values]:
        """The last sample of each series at one moment; nearly always the newest there is."""
        times, values = self.storage.latest(selection)
        for i in np.flatnonzero(times > moment):
            found_times, found_values = _at_or_before(
                selection.series[i], np.array([moment], np.int64)
            )
            times[i], values[i] = found_times[0], found_values[0]
        return times, values

    def _stored(self, selector: Selector, ends: Times, range_ms: int) -> Windows:
        selection = self.storage.find(selector.matchers)
        labels = self._labels(selection)
        low, high = int(ends.min()) - range_ms, int(ends.max())
        recent = self.storage.recent(selection, low, high) if len(ends) == 1 else None
        if recent is None:
            tracks = [self._track(series, low, high) for series in selection.series]
            return windows_of(labels, tracks, ends, range_ms)
        self.spend(int((recent.highs - recent.lows).sum()))
        if recent.sure.all():
            lows, highs = recent.lows[:, None], recent.highs[:, None]
            times, values = recent.times_ms, recent.values
            return Windows(labels, times, values, lows, highs, ends, range_ms, recent.steady)
        tracks = [
            Track(recent.times_ms[low_:high_], recent.values[low_:high_])
            if sure
            else self._track(series, low, high)
            for series, sure, low_, high_ in zip(
                selection.series,
                recent.sure.tolist(),
                recent.lows.tolist(),
                recent.highs.tolist(),
                strict=True,
            )
        ]
        return windows_of(labels, tracks, ends, range_ms)

    def _track(self, series: StoredSeries, low: int, high: int) -> Track:
        """The samples of one series in ``(low, high]``."""
        times, values = series.times_ms, series.values
        first, last = times.searchsorted([low, high], "right").tolist()
        times, values = times[first:last], values[first:last]
        if series.has_stale:
            fresh = values.view(np.int64) != STALE_BITS
            times, values = times[fresh], values[fresh]
        self.spend(len(times))
        return Track(times, values)

    def _subquery(self, node: Subquery) -> Windows:
        ends = self._moments(node.at, node.offset_ms)
        step = node.step_ms or DEFAULT_SUBQUERY_STEP_MS
        low, high = int(ends.min()) - node.range_ms, int(ends.max())
        self.spend(max((high - low) // step, 0))  # before they are made
        # Absolute multiples of the step, so that neighbouring evaluations see the same samples.
        inner_steps = np.arange((low // step + 1) * step, high + 1, step, dtype=np.int64)
        if not len(inner_steps):
            return windows_of(SeriesSet(()), (), ends, node.range_ms)
        inner = self._inner(inner_steps)
        columns = inner.vector(node.expr)
        self._samples = inner._samples  # noqa: SLF001 - of this class
        tracks = [
            Track(inner_steps[present], values[present])
            for values, present in zip(columns.values, columns.present, strict=True)
        ]
        return windows_of(columns.labels, tracks, ends, node.range_ms)


def _settled(columns: Columns) -> Columns:
    """The answer: names that were to go are gone."""
    if columns.labels.unnamed is None:
        return columns
    return merged(Columns(columns.labels.settled(), columns.values, columns.present))


_NOTHING: Final = np.iinfo(np.int64).min


def _at_or_before(series: StoredSeries, moments: Times) -> tuple[Times, Values]:
    """The last sample at or before each moment; a time before all others where there is none."""
    at = series.times_ms.searchsorted(moments, "right") - 1
    found = at >= 0
    times = np.where(found, series.times_ms[at], _NOTHING)
    return times, series.values[at]
