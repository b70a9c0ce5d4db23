"""Arithmetic as Go does it on amd64, and Kubernetes quantities in thousandths.

The HPA counts in int64 milli-units and converts float64 to integers without a check. The results
at the edges (overflow, NaN) decide replicas, so they are reproduced rather than avoided.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)

_SUFFIXES = ("m", "", "k", "M", "G", "T", "P", "E")  # of thousandths, by powers of 1000
_FAST_DIGITS = 18  # a quantity of more digits is kept as a big decimal


def wrap_int64(value: int) -> int:
    """*value* as int64 arithmetic leaves it: modulo 2**64."""
    return (value + 2**63) % 2**64 - 2**63


def wrap_int32(value: int) -> int:
    """The low 32 bits of *value*, signed."""
    return (value + 2**31) % 2**32 - 2**31


def int64(value: float) -> int:
    """``int64(value)``: toward zero; NaN and whatever does not fit become MinInt64."""
    if not math.isfinite(value) or not -(2.0**63) <= value < 2.0**63:
        return MIN_INT64
    return int(value)


def quotient(dividend: int, divisor: int) -> int:
    """Integer division as Go does it: toward zero."""
    whole = abs(dividend) // abs(divisor)
    return whole if (dividend < 0) == (divisor < 0) else -whole


def ceil64(value: float) -> int:
    """``int64(math.Ceil(value))``."""
    return int64(float(math.ceil(value)) if math.isfinite(value) else value)


def ceil32(value: float, *, capped: bool) -> int:
    """``int32(math.Ceil(value))``; *capped* stops at MaxInt32 instead of wrapping."""
    if capped and value > MAX_INT32:
        return MAX_INT32
    return wrap_int32(ceil64(value))


def ratio(numerator: float, denominator: float) -> float:
    """Float division by IEEE 754: x/0 is an infinity, 0/0 is NaN."""
    if denominator == 0:
        if numerator == 0 or math.isnan(numerator):
            return math.nan
        return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)
    return numerator / denominator


@lru_cache(maxsize=1024)  # each sync asks for the same targets
def milli_of_target(target: float) -> int:
    """A target in thousandths, as KEDA writes it into the HPA: ``%.3f``. Not finite becomes 0."""
    return _thousandths(target) if math.isfinite(target) else 0


def milli_of_metric(value: float) -> int:
    """What the HPA reads when KEDA reports *value*.

    KEDA prints ``%.3f`` and takes negative, NaN and infinite for 0. The HPA then parses the
    shortest quantity: past int64 that is 0 for up to 18 digits, and wraps beyond, so that 1e18
    (printed ``1E``) counts as 0 and 1e25 as some positive number.
    """
    if not math.isfinite(value) or value < 0:
        return 0
    milli = _thousandths(value)
    if milli <= MAX_INT64:
        return milli
    digits = str(milli)
    power = 0
    while digits.endswith("000") and power < len(_SUFFIXES) - 1:
        digits, power = digits[:-3], power + 1
    return 0 if len(digits) <= _FAST_DIGITS else wrap_int64(milli)


def quantity(milli: int) -> str:
    """Thousandths as Kubernetes prints them: ``3500m``, ``5``, ``12k``."""
    if milli == 0:
        return "0"
    power = 0
    while milli % 1000 == 0 and power < len(_SUFFIXES) - 1:
        milli, power = milli // 1000, power + 1
    return f"{milli}{_SUFFIXES[power]}"


def plain(value: float) -> str:
    """A number as a person writes it: ``12``, ``2.5``."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}"


def _thousandths(value: float) -> int:
    whole, _, fraction = f"{value:.3f}".partition(".")
    return int(whole + fraction)


_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


def json_number(text: str) -> float:
    """A JSON number as a float.

    Raises:
        ValueError: it is not one, in the words of Go's ``encoding/json``.
    """
    if text == "null":
        return 0.0  # unmarshalling null leaves the field alone
    match = _NUMBER.match(text)
    if match is None or match.end() != len(text):
        raise ValueError(_why_no_number(text, match.end() if match else 0))
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return number


def _why_no_number(text: str, end: int) -> str:
    rest = text[end:]
    where = "after top-level value"
    if end == 0:
        where = "looking for beginning of value"
        if text.startswith("-"):
            rest, where = text[1:], "in numeric literal"
    elif re.match(r"\.(?!\d)", rest) and "." not in text[:end]:
        rest, where = rest[1:], "after decimal point in numeric literal"
    elif re.match(r"[eE][+-]?(?!\d)", rest):
        rest, where = re.sub(r"^[eE][+-]?", "", rest), "in exponent of numeric literal"
    return f"invalid character '{rest[:1] or ' '}' {where}"
