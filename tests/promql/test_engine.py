"""What scripts cannot say: limits, errors, and properties that hold for all data."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import QueryError
from stoker.metrics.sample import Labels, quote
from stoker.metrics.storage import Storage
from stoker.promql import engine, functions, parsing
from stoker.promql.ast import Text
from stoker.promql.engine import (
    Limits,
    QueryLimitError,
    QueryTimeoutError,
    instant,
    range_,
)
from stoker.promql.literals import unquote
from stoker.promql.parsing import format_query, parse
from stoker.promql.value import Matrix, Scalar, String, Vector


def filled(count: int = 3, samples: int = 10) -> Storage:
    storage = Storage()
    for t in range(samples):
        for i in range(count):
            storage.append(Labels({"__name__": "x", "i": str(i)}), 1000.0 + 5 * t, float(t * i))
    return storage


@pytest.mark.parametrize(
    ("query", "kind", "text"),
    [
        ("1", Scalar, "scalar: 1 @[1045]"),
        ('"a"', String, "a"),
        ("sum(x)", Vector, "{} => 27 @[1045]"),
        ('x{i="1"}', Vector, 'x{i="1"} => 9 @[1045]'),
        ('x{i="1"}[10s]', Matrix, 'x{i="1"} =>\n8 @[1040]\n9 @[1045]'),
    ],
)
def test_values_print_themselves_as_prometheus_does(query, kind, text):
    value = instant(query, filled(), 1045)
    assert isinstance(value, kind)
    assert str(value) == text


def test_error_carries_the_query():
    with pytest.raises(QueryError) as caught:
        instant("topk(NaN, x)", filled(), 1045)
    assert caught.value.query == "topk(NaN, x)"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param("", "parse error", id="empty"),
        pytest.param("(" * 10_000 + "x" + ")" * 10_000, "nested 10000 deep", id="parentheses"),
        pytest.param("+".join(["x"] * 1000), "999 operators", id="operators"),
        pytest.param("x" * 100_000, "at most", id="long"),
        pytest.param("x anchored", "parse error", id="anchored"),
        pytest.param("x[2*30s]", "parse error", id="duration expression"),
        pytest.param('{a="b" or c="d"}', "not PromQL", id="or"),
        pytest.param('x{a=~"("}', "regex", id="regex"),
        pytest.param("x[5m:0s]", "duration|step", id="step"),
    ],
)
def test_what_is_not_understood_is_a_query_error(query, words):
    with pytest.raises(QueryError, match=words):
        instant(query, filled(), 1045)


def test_deepest_query_that_is_accepted_is_evaluated():
    query = "(" * 64 + "-" * 100 + "x" + ")" * 64
    assert len(instant(query, filled(), 1045)) == 3


def test_missing_range_is_hinted_at():
    with pytest.raises(QueryError) as caught:
        parse("rate(x)")
    assert caught.value.hint is not None
    assert "rate(x[5m])" in caught.value.hint


def test_too_many_samples_are_refused():
    with pytest.raises(QueryLimitError, match="too many samples"):
        range_("x", filled(), 1000, 1045, 1, limits=Limits(max_samples=100))


def test_subqueries_count_on_the_same_account():
    with pytest.raises(QueryLimitError):
        instant("max_over_time(x[40s:1s])", filled(), 1045, limits=Limits(max_samples=100))


def test_query_that_takes_too_long_is_stopped():
    with pytest.raises(QueryTimeoutError):
        range_("rate(x[1m])", filled(), 1000, 1045, 1, limits=Limits(timeout=0.0))


@pytest.mark.parametrize("query", ["x[5m]", '"a"'])
def test_range_query_needs_a_scalar_or_a_vector(query):
    with pytest.raises(QueryError, match="must be Scalar or instant Vector"):
        range_(query, filled(), 1000, 1045, 5)


def test_steps_are_counted_before_they_are_made():
    with pytest.raises(QueryError, match="more steps"):
        range_("1", filled(), 0, 1e9, 0.001)
    with pytest.raises(QueryError, match="too many samples"):
        instant("max_over_time(x[300y:1ms])", filled(), 1.7e9)


def test_range_query_needs_a_step():
    with pytest.raises(QueryError, match="resolution"):
        range_("x", filled(), 1000, 1045, 0)


PRINTABLE = [
    "sum by (a) (rate(x_total[5m] offset 1m))",
    'x{a="1",b=~"2|3",c!="4"}',
    "a + on (b) group_left (c) d",
    "max_over_time(rate(x[1m])[5m:30s])",
    "topk(3, x) or vector(0)",
    "histogram_quantile(0.9, sum by (le) (rate(h_bucket[2m])))",
    "-x @ 100.000 ^ 2",
    'label_replace(x, "a", "$1", "b", "(.*)")',
    'count_values without (a) ("v", x) > bool 1',
]


@given(
    st.recursive(
        st.sampled_from(PRINTABLE),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", ">", "and", "or"]), inner).map(
                lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
            ),
            inner.map(lambda one: f"sum without (z) ({one})"),
            inner.map(lambda one: f"avg_over_time(({one})[2m:10s])"),
        ),
        max_leaves=4,
    )
)
def test_printing_and_parsing_again_changes_nothing(query):
    assert parse(format_query(query)) == parse(query)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(st.tuples(st.sampled_from("abc"), NUMBERS), min_size=1, max_size=12))
def test_sum_by_is_the_sum_of_each_group(rows):
    storage, groups = Storage(), {}
    for i, (group, value) in enumerate(rows):
        storage.append(Labels({"__name__": "x", "g": group, "i": str(i)}), 1000, value)
        groups.setdefault(group, []).append(value)
    value = instant("sum by (g) (x)", storage, 1000)
    assert len(value) == len(groups)
    for sample in value.samples:
        expected = sum(groups[sample.labels.get("g")])
        if math.isnan(expected):
            assert math.isnan(sample.v)
        else:
            assert sample.v == pytest.approx(expected, rel=1e-9, abs=1e25)


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=2, max_size=20),
    st.sampled_from(
        ["x", "rate(x[20s])", "sum(x)", "max_over_time(x[15s])", "x > 10", "absent(x)"]
    ),
)
def test_range_query_is_an_instant_query_at_each_step(values, query):
    storage = Storage()
    for i, value in enumerate(values):
        if value is not None:
            storage.append(Labels({"__name__": "x"}), 1000 + 5 * i, float(value))
    matrix = range_(query, storage, 1000, 1100, 7, lookback=12)
    points = {point for series in matrix.series for point in series.points}
    expected = set()
    for t in range(1000, 1101, 7):
        value = instant(query, storage, t, lookback=12)
        expected |= {(sample.t, sample.v) for sample in value.samples}
    assert points == expected


@pytest.mark.parametrize(
    "query",
    [
        "x @ -0x5",
        "x @ -1e30",
        "x @ 90000000001",
        "x offset Inf",
        "x offset -NaN",
        "x @ 1e30",
        "x @ NaN",
        "x[1e30]",
        "x[5m:1e30]",
    ],
)
def test_time_that_no_clock_can_show_is_a_query_error(query):
    with pytest.raises(QueryError):
        instant(query, filled(), 1045)


WORDS = """
sum rate x { } ( ) [ ] 5m : , by without on ignoring group_left bool == =~ "a" 'b' `c` 1 1e3 Inf NaN
0x1F @ offset start() end() - + * / ^ and or unless topk quantile {a="b"} [5m] [1m:10s] [5m:] é \\ #
; % atan2 absent scalar vector time() 99999999999999999999 1d -5m 1e30 clamp(x,1,2) round(x,0)
count_values("v",x) sort_by_label(x,"a") histogram_quantile label_replace day_of_month()
""".split()  # noqa: SIM905


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join))
def test_any_text_is_answered_or_refused(query):
    storage = filled()
    for ask in (
        lambda: instant(query, storage, 1045),
        lambda: range_(query, storage, 1000, 1045, 9),
    ):
        with contextlib.suppress(QueryError):
            str(ask())


def test_panic_of_the_grammar_does_not_end_the_program(monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(_: str) -> None:
        raise PanicException("called `Result::unwrap()`")

    monkeypatch.setattr(parsing.grammar, "parse", panic)
    with pytest.raises(QueryError, match="parse error: called"):
        parse("panics")


def test_time_before_1970_survives_formatting():
    assert format_query("x   @ -1.5") == "x @ -1.500"
    assert format_query(r'"\xc3\xa9"') == '"é"'


# The last 128 characters of Unicode, for private use, stand for bytes on the way.
@given(st.text(st.characters(max_codepoint=0x10FF7F, exclude_categories=["Cs"]), max_size=20))
def test_text_in_quotes_means_the_same_to_the_grammar_and_to_scripts(text):
    quoted = quote(text)
    assert unquote(quoted) == text
    assert instant(quoted, filled(0), 0).v == text


@given(st.binary(max_size=10))
def test_bytes_in_quotes_come_through(data):
    literal = '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'
    expected = data.decode("utf-8", "surrogateescape")
    assert unquote(literal) == expected
    assert parse(literal) == Text(expected)


@pytest.mark.parametrize(
    "query",
    [
        "quantile by (i) (0.5, x)",
        "topk by (i) (1, x)",
        'count_values by (i) ("v", x)',
        "deriv(x[20s])",
        "limitk by (i) (1, x)",
    ],
)
def test_time_is_up_in_the_middle_of_a_loop(query, monkeypatch):
    """The limit is looked at again and again, not only where samples are found."""
    looks = iter(range(1000))
    monkeypatch.setattr(engine, "stopwatch", lambda: float(next(looks)))
    storage = filled(50)
    with pytest.raises(QueryTimeoutError):
        range_(query, storage, 1000, 1045, 5, limits=Limits(timeout=20))
    assert next(looks) < 30


@given(
    st.lists(st.lists(st.floats(0, 5), max_size=20), min_size=1, max_size=4),
    st.sampled_from([1, 2, 2**15]),
)
def test_resets_are_found_in_each_series_for_itself(series, cells_at_once):
    storage = Storage()
    for i, values in enumerate(series):
        for t, value in enumerate(values):
            storage.append(Labels({"__name__": "x_total", "i": str(i)}), float(t), value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functions, "_CELLS_AT_ONCE", cells_at_once)
        every = range_("increase(x_total[4s])", storage, 0, 20, 1)
    once = {
        (one.labels, t): one.v
        for t in range(21)
        for one in instant("increase(x_total[4s])", storage, t).samples
    }
    assert {(one.labels, t): v for one in every.series for t, v in one.points} == once


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "query",
    [
        pytest.param("1" * 60_000 + "g", id="digits"),
        pytest.param("1_" * 30_000 + "g", id="underscores"),
        pytest.param('"' + '\\"' * 30_000, id="text without an end"),
        pytest.param("'\"" * 20_000, id="quotes"),
        pytest.param("@ -" + "1" * 60_000 + "g", id="time"),
        pytest.param("x offset " + "0s" * 30_000 + "g", id="offset"),
        pytest.param("info(" * 10_000 + "," + " " * 10_000, id="info"),
        pytest.param("info(x,{" + "}{" * 20_000, id="braces"),
        pytest.param("@" + " " * 60_000, id="spaces"),
        pytest.param('x{a="\\UFFFFFFFF"}', id="no character"),
        pytest.param('"\\xff\\UFFFFFFFF"', id="bytes and no character"),
    ],
)
def test_no_query_takes_long_to_refuse(query):
    with pytest.raises(QueryError):
        parse(query)


@pytest.mark.parametrize(
    ("query", "printed"),
    [
        ('info(x, {version=~".*"})', 'info(x, {version=~".*"})'),
        ("info(x, {})", "info(x, {})"),
        (r'x{a="\xff\xc3\xa9"}', r'x{a="\xffé"}'),
        ("1_000 + x @ -5", "1000 + x @ -5.000"),
    ],
)
def test_disguise_is_not_printed(query, printed):
    assert " ".join(format_query(query).split()) == printed
    assert parse(printed) == parse(query)
