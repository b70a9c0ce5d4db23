"""Quantities and durations, exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.resources.quantity import milli_value, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2), ("100m", Fraction(1, 10)), ("1Gi", 2**30), ("1.5Ki", 1536), ("1e3", 1000),
        ("1E3", 1000), ("1E", 10**18), ("2k", 2000), (".5", Fraction(1, 2)), ("5.", 5), ("+5", 5),
        ("-1.5", Fraction(-3, 2)), ("1u", Fraction(1, 10**6)), ("0.1n", Fraction(1, 10**9)),
        (" 5 ", 5), (10, 10), (0.5, Fraction(1, 2)), ("64Gi", 64 * 2**30),
    ],
)  # fmt: skip
def test_a_quantity_is_read_exactly(text: str | float, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", ".", "64Gb", "1 Gi", "0x10", "NaN", "1_000", "1ee3"])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**12))
def test_milli_values_of_milli_quantities_are_themselves(value: int) -> None:
    assert milli_value(parse_quantity(f"{value}m")) == value


def test_milli_values_round_up() -> None:
    assert milli_value(parse_quantity("1u")) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("300ms", 0.3), ("1.5h", 5400), ("0", 0), ("+1m", 60)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "-5s", "1d", "5 s", "s"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a duration"):
        parse_duration(text)
