"""Regular expressions mean what they mean to Prometheus, and none of them runs away."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import QueryError
from stoker.metrics.regex import Regex, _compiled, _simulated, compile_regex

RUNAWAYS = [
    r"(a+)+b",
    r"(a|a)*b",
    r"(a|aa)+b",
    r"(.*a){12}b",
    r"a*a*a*a*a*a*a*b",
    r"([a-z]+-?)+!",
    r"(a?){40}a{40}b",
]


@pytest.mark.parametrize("pattern", RUNAWAYS)
def test_no_pattern_runs_away(pattern):
    began = process_time()
    assert not compile_regex(pattern).matches("a" * 200)
    assert process_time() - began < 2


def test_groups_of_a_costly_match_are_refused():
    with pytest.raises(QueryError, match="too costly"):
        compile_regex("(a+)+").fullmatch("a" * 100)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a.c", "a\nc", True),
        ("(?i)VLLM", "vllm", True),
        ("(?i:V)llm", "vllm", True),
        ("a", "ab", False),
        (r"\d+", "٣", False),
        (r"foo\z", "foo", True),
        ("", "", True),
        ("(foo|bar)+", "foobarfoo", True),
        ("^a$", "a", True),
        ("[[:alpha:]_]+", "ab_", True),
        ("[[:alpha:]]+", "a1", False),
        (r"\Qa.b\E+", "a.b", True),
        (r"\Qa.b\E", "axb", False),
    ],
)
def test_meaning_is_that_of_prometheus(pattern, text, fits):
    assert compile_regex(pattern).matches(text) is fits


@pytest.mark.parametrize("pattern", [r"(a)\1", r"\pL", "(?=a)a", "(?<!b)a", "(", "a{2,1}"])
def test_what_re2_does_not_know_is_refused(pattern):
    with pytest.raises(QueryError, match="regular expression"):
        compile_regex(pattern)


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", "^", "$", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.text("ab1", max_size=6))
def test_both_ways_to_match_agree(pattern, text):
    regex = Regex(pattern)
    expected = re.fullmatch(f"(?s:{pattern})", text) is not None
    assert _simulated(_compiled(regex._tree, pattern), text) is expected
    assert regex.matches(text) is expected
