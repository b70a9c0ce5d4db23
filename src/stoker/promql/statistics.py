"""Arithmetic on plain lists and arrays that several operators share."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from stoker.metrics.sample import format_value
from stoker.metrics.series import Values

OUT_OF_RANGE: Final = "quantile value should be between 0 and 1, got {}"


def exact_sum(values: list[float]) -> float:
    """The sum without rounding on the way; infinities and NaN as in plain addition."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # beyond the largest number, or +Inf with -Inf
        return sum(values)


def exact_mean(values: list[float]) -> float:
    """The mean, also where the sum would be too large for a number."""
    count = len(values)
    try:
        return math.fsum(values) / count
    except OverflowError:
        return math.fsum(value / count for value in values)
    except ValueError:  # +Inf and -Inf
        return math.nan


def quantile(phi: float, values: Values) -> float:
    """Linear interpolation between the closest ranks; NaN counts as the smallest value."""
    if not len(values) or math.isnan(phi):
        return math.nan
    if phi < 0:
        return -math.inf
    if phi > 1:
        return math.inf
    nans = int(np.count_nonzero(np.isnan(values)))
    ordered = np.roll(np.sort(values), nans) if nans else np.sort(values)
    rank = phi * (len(values) - 1)
    lower = math.floor(rank)
    upper = min(lower + 1, len(values) - 1)
    weight = rank - lower
    return float(ordered[lower]) * (1 - weight) + float(ordered[upper]) * weight


def stdvar(values: list[float]) -> float:
    """Population variance."""
    mean = exact_mean(values)
    # Not `** 2`, which raises OverflowError where multiplication is infinite.
    return exact_sum([(value - mean) * (value - mean) for value in values]) / len(values)


def linear_regression(x: list[float], values: list[float]) -> tuple[float, float]:
    """Slope and the value at x = 0 of the least-squares line."""
    count = len(values)
    if all(value == values[0] for value in values):
        return (math.nan, math.nan) if math.isinf(values[0]) else (0.0, values[0])
    sum_x, sum_y = exact_sum(x), exact_sum(values)
    covariance = exact_sum([a * b for a, b in zip(x, values, strict=True)]) - sum_x * sum_y / count
    variance = exact_sum([a * a for a in x]) - sum_x * sum_x / count
    slope = covariance / variance if variance else math.nan
    return slope, sum_y / count - slope * sum_x / count


def shortest(value: float) -> str:
    """A number in a message: shortest digits, an exponent from a million on (Go's ``%g``)."""
    if value != value or math.isinf(value):  # noqa: PLR0124 - NaN
        return format_value(value)
    text = next(t for n in range(17) if float(t := f"{value:.{n}e}") == value)
    mantissa, _, exponent = text.partition("e")
    return format_value(value) if -4 <= int(exponent) < 6 else f"{mantissa}e{int(exponent):+03d}"


def shortest_decimal(value: float) -> str:
    """A number as a label value: shortest digits, never an exponent."""
    text = format_value(value)
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    digits = mantissa.lstrip("-").replace(".", "")
    power = int(exponent)
    sign = "-" if value < 0 else ""
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return sign + digits.ljust(power + 1, "0")
