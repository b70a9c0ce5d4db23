"""Kubernetes quantities (``100m``, ``1Gi``, ``1e3``) and Go durations (``1m30s``), exactly."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction

from stoker.errors import InputError

_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_BINARY = {name: 1024**power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NANO = Fraction(1, 10**9)
_DECIMAL_UNITS = [
    (name, Fraction(10) ** power)
    for name, power in sorted([*_DECIMAL.items(), ("", 0)], key=lambda unit: -unit[1])
]

_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {
    "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6), "ms": Fraction(1, 1000), "s": Fraction(1),
    "m": Fraction(60), "h": Fraction(3600),
}  # fmt: skip


def parse_quantity(text: str | float) -> Fraction:
    """The exact value of a quantity, rounded up to a nano as the API server stores it.

    Raises:
        InputError: *text* is not a quantity.
    """
    written = text.strip() if isinstance(text, str) else repr(text)
    match = _QUANTITY.fullmatch(written)
    if match is None or not (match["whole"] or match["part"]):
        raise InputError(
            f"{text!r} is not a quantity", hint="examples: `2`, `500m`, `64Gi`, `1e3`, `0.5`"
        )
    part = match["part"] or ""
    value = Fraction(int(match["whole"] + part), 10 ** len(part))
    if match["binary"]:
        value *= _BINARY[match["binary"]]
    else:
        exponent = int(match["exponent"] or _DECIMAL.get(match["decimal"] or "", 0))
        value *= Fraction(f"1e{exponent}")
    value = math.ceil(value / _NANO) * _NANO  # away from zero, for the sign comes after
    return Fraction(-value if match["sign"] == "-" else value)


def canonical_quantity(text: str) -> str:
    """*text* as the API server stores it: ``1000m`` is ``1``, ``1.5`` is ``1500m``.

    One with an exponent or a plus sign stays as it is written.
    """
    written = text.strip()
    match = _QUANTITY.fullmatch(written)
    if match is None or match["exponent"] or match["sign"] == "+":
        return written
    value = parse_quantity(written)
    units: Iterable[tuple[str, Fraction]] = _DECIMAL_UNITS
    if match["binary"]:
        units = [*((name, Fraction(size)) for name, size in reversed(_BINARY.items())), *units]
    for name, size in units:
        if (value / size).denominator == 1 and value:
            return f"{value / size}{name}"
    return "0"


def milli_value(quantity: Fraction) -> int:
    """In thousandths, rounded up: the unit in which the HPA compares."""
    return math.ceil(quantity * 1000)


def parse_duration(text: str) -> float:
    """Seconds of a Go duration: ``300ms``, ``1m30s``, ``0``.

    Raises:
        InputError: *text* is not a duration, or is negative.
    """
    body = text.strip().removeprefix("+")
    if body == "0":
        return 0.0
    parts = _DURATION.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise InputError(f"{text!r} is not a duration", hint="examples: `30s`, `1m30s`, `300ms`")
    return float(sum(Fraction(number.rstrip(".")) * _SECONDS[unit] for number, unit in parts))
