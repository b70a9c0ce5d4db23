"""Kubernetes quantities (``100m``, ``1Gi``, ``1e3``) and Go durations (``1m30s``), exactly."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from stoker.errors import InputError

_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_BINARY = {name: 1024**power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NANO = Fraction(1, 10**9)
_DECIMAL_NAMES = {0: "", **{power: name for name, power in _DECIMAL.items()}}

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
    """*text*, a quantity, as the API server stores it: ``1000m`` is ``1``, ``1.5`` is ``1500m``.

    What the server takes for short enough stays as it is written: ``+5``, ``1e3``, ``5.500``.

    *Source*: ``ParseQuantity`` and ``CanonicalizeBytes`` of ``k8s.io/apimachinery``.
    """
    written = text.strip()
    match = _QUANTITY.fullmatch(written)
    if match is None or _is_kept(match):
        return written
    value = parse_quantity(written)
    if not value:
        return "0"
    if match["binary"] and abs(value) >= 1024 and value.denominator == 1:
        name = next(name for name in (*reversed(_BINARY), "") if not value % _BINARY.get(name, 1))
        return f"{value / _BINARY.get(name, 1)}{name}"
    mantissa, power = value * 10**9, -9
    while mantissa % 1000 == 0:
        mantissa, power = mantissa / 1000, power + 3
    if match["exponent"] is not None:
        return f"{mantissa}e{power}" if power else f"{mantissa}"
    return f"{mantissa}{_DECIMAL_NAMES.get(power, f'e{power}')}"


def _is_kept(match: re.Match[str]) -> bool:
    part = match["part"] or ""
    digits = (match["whole"].lstrip("0") or "0") + part
    if match["binary"]:
        return not part and int(digits) % 8 != 0
    scale = int(match["exponent"] or _DECIMAL.get(match["decimal"] or "", 0)) - len(part)
    is_fast = len(digits) <= 18 and scale >= -9
    return is_fast and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


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
