from __future__ import annotations

import gc
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import QueryError
from stoker.metrics.sample import (
    STALE,
    Labels,
    Matcher,
    MatchOp,
    format_value,
    is_stale,
    parse_value,
)


def test_equal_labels_are_one_object_in_any_order():
    assert Labels({"b": "2", "a": "1"}) is Labels([("a", "1"), ("b", "2"), ("c", "")])


def test_labels_that_nobody_holds_are_forgotten():
    before = len(Labels._interned)
    kept = [Labels({"churn": str(i)}) for i in range(1000)]
    assert len(Labels._interned) >= before + 1000
    del kept
    gc.collect()
    assert len(Labels._interned) <= before + 10


def test_labels_are_derived():
    labels = Labels({"__name__": "x", "a": "1", "b": "2"})
    assert labels.keep(["a", "z"]) == Labels({"a": "1"})
    assert labels.drop(["a"]).as_dict() == {"__name__": "x", "b": "2"}
    assert labels.without_name().name == ""
    assert labels.with_label("a", "") is labels.drop(["a"])
    assert "a" in labels
    assert "z" not in labels


def test_staleness_marker_is_a_nan_of_its_own():
    assert math.isnan(STALE)
    assert is_stale(STALE)
    assert not is_stale(math.nan)
    assert not is_stale(1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-07"),
        (0.000001, "0.000001"),
        (1.25e-5, "0.0000125"),
        (123456789.125, "123456789.125"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_as_prometheus_writes_them(value, text):
    assert format_value(value) == text


@given(st.floats(allow_nan=False))
def test_written_numbers_are_read_exactly(value):
    assert parse_value(format_value(value)) == value


@pytest.mark.parametrize(
    ("op", "pattern", "value", "matches"),
    [
        (MatchOp.EQUAL, "a", "a", True),
        (MatchOp.EQUAL, "a", "", False),
        (MatchOp.NOT_EQUAL, "a", "b", True),
        (MatchOp.REGEX, "a|b", "b", True),
        (MatchOp.REGEX, "a", "ab", False),
        (MatchOp.REGEX, "a.b", "a\nb", True),
        (MatchOp.NOT_REGEX, "a.*", "b", True),
    ],
)
def test_matcher(op, pattern, value, matches):
    assert Matcher("x", op, pattern).matches(value) is matches


def test_regex_that_is_none_is_a_query_error():
    with pytest.raises(QueryError, match="invalid regular expression"):
        Matcher("x", MatchOp.REGEX, "(").matches("a")
