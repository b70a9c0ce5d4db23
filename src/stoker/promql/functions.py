"""The functions of PromQL, by name. Range functions are in :mod:`stoker.promql.range_functions`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from stoker.errors import QueryError
from stoker.metrics.sample import EMPTY, METRIC_NAME, Labels, MatchOp, quote
from stoker.metrics.series import SeriesSet, Values
from stoker.promql import histogram, label_functions, range_functions
from stoker.promql.ast import Node, Range, Selector, Subquery
from stoker.promql.columns import Columns, Context, Track, Windows, anywhere, empty, single
from stoker.promql.dates import DATE_PARTS
from stoker.promql.range_functions import Window, WindowFunction

VectorFunction = Callable[[Context, tuple[Node, ...]], Columns]
ScalarFunction = Callable[[Context, tuple[Node, ...]], Values]


# -- range vectors -------------------------------------------------------------------------------


def over_windows(
    context: Context,
    windows: Windows,
    function: Callable[[Window, int], float | None],
    *,
    keep_name: bool = False,
) -> Columns:
    """A function of the samples in each window; it is told the number of the step."""
    ends, steps = windows.ends_ms, context.steps_ms
    shape = (len(windows.tracks), len(ends))
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    for i, track in enumerate(windows.tracks):
        if len(ends) == 1:  # a track has no samples outside of all windows: nothing to search
            lows, highs = [0], [len(track.times_ms)]
        else:
            lows = track.times_ms.searchsorted(ends - windows.range_ms, "right").tolist()
            highs = track.times_ms.searchsorted(ends, "right").tolist()
        context.spend(len(ends))  # also asks for the time: a long range query is a long loop here
        for t, (low, high) in enumerate(zip(lows, highs, strict=True)):
            if low == high:
                continue
            window = Window(
                track.times_ms[low:high],
                track.values[low:high],
                int(ends[t]),
                windows.range_ms,
                int(steps[t]),
            )
            value = function(window, t)
            if value is not None:
                values[i, t], present[i, t] = value, True
    labels = SeriesSet(tuple(track.labels for track in windows.tracks))
    columns = Columns(labels, values, present)
    return columns if keep_name else columns.without_name()


def _simple(name: str, function: WindowFunction, *, keep_name: bool) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        windows = context.windows(args[0])
        if name in range_functions.COUNTER_FUNCTIONS:
            _expect_counters(context, windows.tracks)
        return over_windows(
            context, windows, lambda window, _: function(window), keep_name=keep_name
        )

    return call


def _expect_counters(context: Context, tracks: tuple[Track, ...]) -> None:
    for name in sorted({track.labels.name for track in tracks}):
        if name and not name.endswith(("_total", "_sum", "_count", "_bucket")):
            context.info(
                "metric might not be a counter, name does not end in "
                f"_total/_sum/_count/_bucket: {quote(name)}"
            )


def _quantile_over_time(context: Context, args: tuple[Node, ...]) -> Columns:
    phis = context.scalar(args[0])
    for phi in phis.tolist():
        if not 0 <= phi <= 1:
            context.warn(f"quantile value should be between 0 and 1, got {phi:g}")
            break
    return over_windows(
        context,
        context.windows(args[1]),
        lambda window, t: range_functions.quantile_over_time(window, float(phis[t])),
    )


def _predict_linear(context: Context, args: tuple[Node, ...]) -> Columns:
    ahead = context.scalar(args[1])
    return over_windows(
        context,
        context.windows(args[0]),
        lambda window, t: range_functions.predict_linear(window, float(ahead[t])),
    )


def _smoothing(context: Context, args: tuple[Node, ...]) -> Columns:
    smoothing, trend = context.scalar(args[1]), context.scalar(args[2])
    for what, factors in (("smoothing", smoothing), ("trend", trend)):
        for factor in factors.tolist():
            if not 0 < factor < 1:
                symbol = "sf" if what == "smoothing" else "tf"
                raise QueryError(
                    f"invalid {what} factor. Expected: 0 < {symbol} < 1, got: {factor:f}"
                )
    return over_windows(
        context,
        context.windows(args[0]),
        lambda window, t: range_functions.smoothed(window, float(smoothing[t]), float(trend[t])),
    )


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
    seen = over_windows(context, context.windows(args[0]), lambda *_: 1.0, keep_name=True)
    labels = EMPTY if isinstance(args[0], Subquery) else _labels_of_absent(args[0])
    nobody = ~anywhere(seen.present)
    return single(labels, np.ones(len(nobody)), nobody)


# -- each value for itself -----------------------------------------------------------------------


def _each(function: Callable[[Values], Values]) -> VectorFunction:
    def call(context: Context, args: tuple[Node, ...]) -> Columns:
        columns = context.vector(args[0])
        return columns.with_values(function(columns.values)).without_name()

    return call


def _clamp(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, low, high = context.vector(args[0]), context.scalar(args[1]), context.scalar(args[2])
    values = _minimum(high, _maximum(low, columns.values))
    return Columns(columns.labels, values, columns.present & ~(low > high)).without_name()


def _clamp_min(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, low = context.vector(args[0]), context.scalar(args[1])
    return columns.with_values(_maximum(low, columns.values)).without_name()


def _clamp_max(context: Context, args: tuple[Node, ...]) -> Columns:
    columns, high = context.vector(args[0]), context.scalar(args[1])
    return columns.with_values(_minimum(high, columns.values)).without_name()


def _maximum(a: Values, b: Values) -> Values:
    return np.maximum(a, b)  # NaN if one of them is


def _minimum(a: Values, b: Values) -> Values:
    return np.minimum(a, b)


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


SCALAR_FUNCTIONS: Final[dict[str, ScalarFunction]] = {"scalar": _scalar, "time": _time, "pi": _pi}

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
    "deg": np.degrees,
    "rad": np.radians,
}

VECTOR_FUNCTIONS: Final[dict[str, VectorFunction]] = {
    **{
        name: _simple(name, function, keep_name=keep_name)
        for name, (function, keep_name) in range_functions.SIMPLE.items()
    },
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
    "histogram_stddev": _native_only,
    "histogram_stdvar": _native_only,
    "histogram_sum": _native_only,
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
