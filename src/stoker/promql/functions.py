"""The functions of PromQL, by name. Range functions are in :mod:`stoker.promql.range_functions`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from stoker.errors import QueryError
from stoker.metrics.sample import EMPTY, METRIC_NAME, Labels, MatchOp, quote
from stoker.metrics.series import Values
from stoker.promql import histogram, label_functions, range_functions
from stoker.promql.ast import Node, Range, Selector, Subquery
from stoker.promql.columns import Columns, Context, Windows, anywhere, empty, single
from stoker.promql.dates import DATE_PARTS
from stoker.promql.info import with_info
from stoker.promql.range_functions import Window, WindowFunction
from stoker.promql.statistics import OUT_OF_RANGE, shortest
from stoker.promql.window_columns import COLUMNAR, COUNTER_FUNCTIONS, WindowsFunction

VectorFunction = Callable[[Context, tuple[Node, ...]], Columns]
ScalarFunction = Callable[[Context, tuple[Node, ...]], Values]


# -- range vectors -------------------------------------------------------------------------------


_CELLS_AT_ONCE: Final = 2**15  # a dozen temporary columns, which stay in the cache


def over_windows(
    context: Context, windows: Windows, function: Callable[[Window, int], float | None]
) -> Columns:
    """A function of the samples in each window; it is told the number of the step."""
    ends, steps = windows.ends_ms.tolist(), context.steps_ms.tolist()
    values = np.zeros(windows.lows.shape)
    present = np.zeros(windows.lows.shape, np.bool_)
    for row in range(len(values)):
        context.spend(0)  # asks for the time: a long range query is a long loop here
        bounds = zip(windows.lows[row].tolist(), windows.highs[row].tolist(), strict=True)
        for t, (low, high) in enumerate(bounds):
            if low == high:
                continue
            window = Window(
                windows.times_ms[low:high],
                windows.values[low:high],
                ends[t],
                windows.range_ms,
                steps[t],
            )
            value = function(window, t)
            if value is not None:
                values[row, t], present[row, t] = value, True
    return Columns(windows.labels, values, present).without_name()


def _columnar(name: str, function: WindowsFunction, *, keep_name: bool) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        columns = _in_parts(context, context.windows(args[0]), function)
        if name in COUNTER_FUNCTIONS:
            _expect_counters(context, columns)
        return columns if keep_name else columns.without_name()

    return call


def _in_parts(context: Context, windows: Windows, function: WindowsFunction) -> Columns:
    """Evaluate a bounded number of cells at a time."""
    rows, steps = windows.lows.shape
    if not windows.values.size:
        return Columns(windows.labels, np.zeros((rows, steps)), np.zeros((rows, steps), np.bool_))
    size = max(_CELLS_AT_ONCE // max(steps, 1), 1)
    if rows <= size:
        return Columns(windows.labels, *function(windows))
    parts = []
    for begin in range(0, rows, size):
        context.spend(0)
        parts.append(function(windows.rows(begin, begin + size)))
    values, present = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Columns(windows.labels, values, present)


def _simple(function: WindowFunction) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        return over_windows(context, context.windows(args[0]), lambda window, _: function(window))

    return call


def _expect_counters(context: Context, columns: Columns) -> None:
    doubted = columns.labels.derived.get("no counters")
    if not isinstance(doubted, tuple):
        doubted = tuple(
            (row, labels.name)
            for row, labels in enumerate(columns.labels.labels)
            if labels.name and not labels.name.endswith(("_total", "_sum", "_count", "_bucket"))
        )
        columns.labels.derived["no counters"] = doubted
    if not doubted:
        return
    there = set(np.flatnonzero(np.any(columns.present, axis=1)).tolist())
    for name in sorted({name for row, name in doubted if row in there}):
        context.info(
            "metric might not be a counter, name does not end in "
            f"_total/_sum/_count/_bucket: {quote(name)}"
        )


def _quantile_over_time(context: Context, args: tuple[Node, ...]) -> Columns:
    phis = context.scalar(args[0]).tolist()

    def quantile_of(window: Window, t: int) -> float | None:
        if not 0 <= phis[t] <= 1:
            context.warn(OUT_OF_RANGE.format(shortest(phis[t])))
        return range_functions.quantile_over_time(window, phis[t])

    return over_windows(context, context.windows(args[1]), quantile_of)


def _predict_linear(context: Context, args: tuple[Node, ...]) -> Columns:
    ahead = context.scalar(args[1])
    return over_windows(
        context,
        context.windows(args[0]),
        lambda window, t: range_functions.predict_linear(window, float(ahead[t])),
    )


def _smoothing(context: Context, args: tuple[Node, ...]) -> Columns:
    smoothing, trend = context.scalar(args[1]).tolist(), context.scalar(args[2]).tolist()

    def smoothed(window: Window, t: int) -> float | None:
        for what, symbol, factor in (("smoothing", "sf", smoothing[t]), ("trend", "tf", trend[t])):
            if factor <= 0 or factor >= 1:
                raise QueryError(
                    f"invalid {what} factor. Expected: 0 < {symbol} < 1, got: {factor:f}"
                )
        return range_functions.smoothed(window, smoothing[t], trend[t])

    return over_windows(context, context.windows(args[0]), smoothed)


# -- absence -------------------------------------------------------------------------------------


def _labels_of_absent(node: Node) -> Labels:
    """What can be said of something that is not there: labels that must be equal to one value."""
    selector = node.selector if isinstance(node, Range) else node
    if not isinstance(selector, Selector):
        return EMPTY
    named = [m for m in selector.matchers if m.name != METRIC_NAME]
    names = [matcher.name for matcher in named]
    return Labels(
        (m.name, m.value) for m in named if m.op is MatchOp.EQUAL and names.count(m.name) == 1
    )


def _absent(context: Context, args: tuple[Node, ...]) -> Columns:
    nobody = ~anywhere(context.vector(args[0]).present)
    return single(_labels_of_absent(args[0]), np.ones(len(nobody)), nobody)


def _absent_over_time(context: Context, args: tuple[Node, ...]) -> Columns:
    windows = context.windows(args[0])
    labels = EMPTY if isinstance(args[0], Subquery) else _labels_of_absent(args[0])
    nobody = ~anywhere(windows.highs > windows.lows)
    return single(labels, np.ones(len(nobody)), nobody)


# -- each value for itself -----------------------------------------------------------------------


def _each(function: Callable[[Values], Values]) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        columns = context.vector(args[0])
        return columns.with_values(function(columns.values)).without_name()

    return call


def _clamp(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, low, high = context.vector(args[0]), context.scalar(args[1]), context.scalar(args[2])
    values = _maximum(low, _minimum(high, columns.values))
    return Columns(columns.labels, values, columns.present & ~(low > high)).without_name()


def _clamp_min(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, low = context.vector(args[0]), context.scalar(args[1])
    return columns.with_values(_maximum(low, columns.values)).without_name()


def _clamp_max(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, high = context.vector(args[0]), context.scalar(args[1])
    return columns.with_values(_minimum(high, columns.values)).without_name()


def _maximum(a: Values, b: Values) -> Values:
    # NaN if one of them is, but that nothing is above +Inf; so it is in Go.
    larger: Values = np.where(np.isposinf(a) | np.isposinf(b), np.inf, np.maximum(a, b))
    return larger


def _minimum(a: Values, b: Values) -> Values:
    smaller: Values = np.where(np.isneginf(a) | np.isneginf(b), -np.inf, np.minimum(a, b))
    return smaller


def _round(context: Context, args: tuple[Node, ...]) -> Columns:
    columns = context.vector(args[0])
    nearest = context.scalar(args[1]) if len(args) > 1 else np.ones(len(context.steps_ms))
    # The inverse, because 0.1 is no exact number and 10 is.
    inverse = 1.0 / nearest
    return columns.with_values(np.floor(columns.values * inverse + 0.5) / inverse).without_name()


def _timestamp(context: Context, args: tuple[Node, ...]) -> Columns:
    if isinstance(args[0], Selector):
        return context.sample_times(args[0]).without_name()
    columns = context.vector(args[0])
    seconds = np.broadcast_to(context.steps_ms / 1000, columns.values.shape)
    return columns.with_values(seconds).without_name()


def _date_part(part: Callable[[Values], Values]) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        if args:
            columns = context.vector(args[0])
            return columns.with_values(part(columns.values)).without_name()
        seconds = context.steps_ms / 1000
        return single(EMPTY, part(seconds), np.ones(len(seconds), np.bool_))

    return call


def _vector(context: Context, args: tuple[Node, ...]) -> Columns:
    return single(EMPTY, context.scalar(args[0]), np.ones(len(context.steps_ms), np.bool_))


# -- order ---------------------------------------------------------------------------------------


def _sort(*, descending: bool) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        columns = context.vector(args[0])
        if len(context.steps_ms) != 1:
            return columns  # a range query is sorted by labels in the end
        sign = -1.0 if descending else 1.0
        return columns.rows(np.argsort(sign * columns.values[:, 0], kind="stable"))

    return call


# -- histograms ----------------------------------------------------------------------------------


def _histogram_quantile(context: Context, args: tuple[Node, ...]) -> Columns:
    return histogram.quantiles(context, context.scalar(args[0]), context.vector(args[1]))


def _histogram_quantiles(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, label = context.vector(args[0]), context.text(args[1])
    return histogram.several_quantiles(
        context, [context.scalar(arg) for arg in args[2:]], label, columns
    )


def _histogram_fraction(context: Context, args: tuple[Node, ...]) -> Columns:
    lower, upper = context.scalar(args[0]), context.scalar(args[1])
    return histogram.fractions(context, lower, upper, context.vector(args[2]))


def _native_only(context: Context, args: tuple[Node, ...]) -> Columns:
    """Functions of native histograms see no float samples, and there are no others here."""
    context.vector(args[0])
    return empty(len(context.steps_ms))


# -- numbers -------------------------------------------------------------------------------------


def _scalar(context: Context, args: tuple[Node, ...]) -> Values:
    columns = context.vector(args[0])
    alone = columns.present.sum(axis=0) == 1
    values = np.where(columns.present, columns.values, 0.0)
    return np.where(alone, _only(values, columns), math.nan)


def _only(values: Values, columns: Columns) -> Values:
    """Each step's value, if there is just one. Not a sum: NaN and -0 stay what they are."""
    if not len(values):
        return np.zeros(values.shape[1])
    picked: Values = values[np.argmax(columns.present, axis=0), np.arange(values.shape[1])]
    return picked


def _time(context: Context, _: tuple[Node, ...]) -> Values:
    return context.steps_ms / 1000


def _pi(context: Context, _: tuple[Node, ...]) -> Values:
    return np.full(len(context.steps_ms), math.pi)


def _of_query(pick: Callable[[tuple[int, int, int]], int]) -> ScalarFunction:
    """What is the same at all steps: seconds from the query's start, end and step."""

    def call(context: Context, _: tuple[Node, ...]) -> Values:
        return np.full(len(context.steps_ms), pick(context.bounds_ms) / 1000)

    return call


def _of_two(pick: Callable[[Values, Values], Values]) -> ScalarFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Values:
        return pick(context.scalar(args[0]), context.scalar(args[1]))

    return call


SCALAR_FUNCTIONS: Final[dict[str, ScalarFunction]] = {
    "scalar": _scalar,
    "time": _time,
    "pi": _pi,
    "min_of": _of_two(_minimum),
    "max_of": _of_two(_maximum),
    "start": _of_query(lambda bounds: bounds[0]),
    "end": _of_query(lambda bounds: bounds[1]),
    "range": _of_query(lambda bounds: bounds[1] - bounds[0]),
    "step": _of_query(lambda bounds: bounds[2]),
}

_EACH: Final[dict[str, Callable[[Values], Values]]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": lambda radians: radians * 180 / math.pi,
    "rad": lambda degrees: degrees * math.pi / 180,
}

VECTOR_FUNCTIONS: Final[dict[str, VectorFunction]] = {
    **{
        name: _columnar(name, function, keep_name=keep_name)
        for name, (function, keep_name) in COLUMNAR.items()
    },
    **{name: _simple(function) for name, function in range_functions.SIMPLE.items()},
    **{name: _each(function) for name, function in _EACH.items()},
    **{name: _date_part(part) for name, part in DATE_PARTS.items()},
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "double_exponential_smoothing": _smoothing,
    "histogram_avg": _native_only,
    "histogram_count": _native_only,
    "histogram_fraction": _histogram_fraction,
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_stddev": _native_only,
    "histogram_stdvar": _native_only,
    "histogram_sum": _native_only,
    "info": with_info,
    "label_join": label_functions.label_join,
    "label_replace": label_functions.label_replace,
    "predict_linear": _predict_linear,
    "quantile_over_time": _quantile_over_time,
    "round": _round,
    "sort": _sort(descending=False),
    "sort_by_label": label_functions.sort_by_label(descending=False),
    "sort_by_label_desc": label_functions.sort_by_label(descending=True),
    "sort_desc": _sort(descending=True),
    "timestamp": _timestamp,
    "vector": _vector,
}
