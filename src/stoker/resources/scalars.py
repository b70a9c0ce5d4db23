"""Plain YAML scalars as the Go readers of Helm and Kubernetes understand them.

``sigs.k8s.io/yaml`` reads YAML 1.1 with the habits of ``strconv``: ``on`` and ``y`` are booleans,
``010`` is 8, ``1e3`` is a number, ``1:30`` is not, and dates stay text. PyYAML's own resolver
differs in each of these, so it is not used.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

_TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
_FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
_NULL = {"", "~", "null", "Null", "NULL"}
_SPECIAL = {
    ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
    ".inf": math.inf, ".Inf": math.inf, ".INF": math.inf,
    "+.inf": math.inf, "+.Inf": math.inf, "+.INF": math.inf,
    "-.inf": -math.inf, "-.Inf": -math.inf, "-.INF": -math.inf,
}  # fmt: skip
_INTEGER = re.compile(
    r"""(?P<sign>[-+]?)
        (?: 0[xX](?P<hex>[0-9a-fA-F]+) | 0[bB](?P<bin>[01]+)
          | 0[oO]?(?P<oct>[0-7]+)      | (?P<dec>0|[1-9][0-9]*) )""",
    re.VERBOSE,
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def plain(text: str) -> Scalar:
    """What an unquoted scalar means."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] in "0123456789+-.":
        number = _number(text.replace("_", ""))
        if number is not None:
            return number
    return text


_LONGEST = 250  # digits: 16**250 is a float, and int() takes as many


def _number(text: str) -> int | float | None:
    """An integer of at most 64 bits or a float; None when *text* is neither."""
    match = _INTEGER.fullmatch(text)
    if match:
        base = next(name for name in _BASES if match[name] is not None)
        if len(match[base]) > _LONGEST:
            return None  # beyond a float: it stays text
        value = int(match[base], _BASES[base])
        value = -value if match["sign"] == "-" else value
        # beyond 64 bits Go tries it as a float
        return value if -(2**63) <= value < 2**64 else float(value)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None  # 1e400 stays text
    return None


def key_text(value: Scalar) -> str | None:
    """The JSON name of a mapping key: ``on:`` becomes ``true``. None where it has no name."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
