from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.scaling.formula import Formula
from stoker.scaling.modifiers import check_formula

VALUES = {"a": 2.0, "b": 9.0, "c": 0.0, "gone": None}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("a + b", 11.0),
        ("a - b * 2", -16.0),
        ("(a + b) / 4", 2.75),
        ("7 / 2", 3.5),
        ("2 ** 3 ** 2", 512.0),
        ("-2 ** 2", -4.0),
        ("7 % 4", 3.0),
        ("-7 % 4", -3.0),
        ("b > 3 ? a : b", 2.0),
        ("a > 3 and b > 3 ? 1 : a > 1 || false ? 2 : 3", 2.0),
        ("not (a > 3) ? 5 : 6", 5.0),
        ("gone ?? b ?? 8", 9.0),
        ("gone ?? 8", 8.0),
        ("float(gone ?? a)", 2.0),
        ("max(a, b, 4)", 9.0),
        ("max([a, b])", 9.0),
        ("min([a, b], 1)", 1.0),
        ("sum([a, b, c])", 11.0),
        ("mean([a, b, 1])", 4.0),
        ("median([a, b, c])", 2.0),
        ("abs(a - b)", 7.0),
        ("ceil(a / 4) + floor(b / 2)", 5.0),
        ("round(2.5) + round(-2.5)", 0.0),
        ("count([a, b, c], {# > 1}) > 1 ? 5 : 0", 5.0),
        ("count([a, b, c], # > 1)", 2.0),
        ("sum(filter([a, b, c], # > 1))", 11.0),
        ("sum(map([a, b], # * 2))", 22.0),
        ("any([a, b], # > 8) ? 1 : 0", 1.0),
        ("a in [1, 2] ? 1 : 0", 1.0),
        ("a not in [1, 2] ? 1 : 0", 0.0),
        ("[a, b][1]", 9.0),
        ("len([a, b])", 2.0),
        ("1e3 + 1_000 + 0x10", 2016.0),
        ("a / c", math.inf),
    ],
)
def test_computes(formula: str, value: float) -> None:
    assert Formula.parse(formula).evaluate(VALUES) == value


@pytest.mark.parametrize(
    ("formula", "column", "words"),
    [
        ("a + d", 5, "unknown name d"),
        ("a +", 4, "unexpected"),
        ("a b", 3, "unexpected 'b'"),
        ("(a + b", 7, "expected ')'"),
        ("a $$ !", 3, "unexpected '$$'"),
        ("a ~ b", 3, "unexpected character '~'"),
        ("a > 1", 3, "found bool"),
        ("avg([a])", 1, "unknown name avg"),
        ("a % 2", 3, "whole numbers"),
        ("7 % 0", 3, "integer divide by zero"),
        ("__import__('os')", 1, "unknown name __import__"),
        ("a.real", 2, ""),
        ("a ? 1 : 2", 3, "expected true or false, found float64"),
        ("# + 1", 1, "unexpected '#'"),
    ],
)
def test_an_error_points_at_the_column(formula: str, column: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_formula(formula, frozenset("ab"))

    assert words in caught.value.message
    assert caught.value.place is not None
    assert caught.value.place.column == column


def test_nil_alone_is_no_answer() -> None:
    assert Formula.parse("gone").evaluate(VALUES) is None


def test_deep_nesting_is_refused_and_does_not_overflow() -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        Formula.parse("(" * 5000 + "a" + ")" * 5000)


@given(st.text(alphabet="ab01.+-*/%<>=!?:()[]{}#, &|andort", max_size=30))
def test_any_text_gives_a_number_nil_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        value = Formula.parse(text).evaluate({"a": 1.0, "b": -2.5})
        assert value is None or isinstance(value, float)
