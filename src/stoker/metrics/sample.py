"""Label sets, matchers and the marker of staleness: what all of step 1 and 2 is made of.

Labels are interned: equal label sets are one object, so that thousands of samples share them and a
dictionary finds them by identity first.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self
from weakref import WeakValueDictionary

from stoker.metrics.regex import compile_regex

METRIC_NAME: Final = "__name__"
# What says what a series is, and is not so any more of what was computed from it.
METADATA_LABELS: Final = (METRIC_NAME, "__type__", "__unit__")

# Prometheus' own bit pattern: a NaN that says "this series has ended", told from others by bits.
STALE_BITS: Final = 0x7FF0000000000002
STALE: Final[float] = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]

_LONE_BYTE = re.compile(r"[\udc80-\udcff]")
_BARE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_BARE_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

Pairs = tuple[tuple[str, str], ...]


def is_stale(value: float) -> bool:
    """Whether *value* is the staleness marker (and not just any NaN)."""
    return value != value and struct.pack("<d", value) == struct.pack("<Q", STALE_BITS)  # noqa: PLR0124


def quote(text: str) -> str:
    """Text in double quotes with the escapes of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if not escaped.isprintable():  # a byte that is no UTF-8 is a lone surrogate
        escaped = _LONE_BYTE.sub(lambda lone: f"\\x{ord(lone[0]) - 0xDC00:02x}", escaped)
    return f'"{escaped}"'


class Labels:
    """A sorted, hashable set of label names and values. Empty values do not exist."""

    __slots__ = ("__weakref__", "_hash", "pairs")

    pairs: Pairs
    _hash: int
    _interned: ClassVar[WeakValueDictionary[Pairs, Self]] = WeakValueDictionary()

    def __new__(cls, labels: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Self:
        """The one object for these labels."""
        items = labels.items() if isinstance(labels, Mapping) else labels
        return cls._of(tuple(sorted((name, value) for name, value in items if value)))

    @classmethod
    def of_sorted(cls, pairs: Pairs) -> Self:
        """The one object for these labels, which are sorted, unique and not empty."""
        return cls._of(pairs)

    @classmethod
    def _of(cls, pairs: Pairs) -> Self:
        known = cls._interned.get(pairs)
        if known is None:
            known = object.__new__(cls)
            known.pairs = pairs
            known._hash = hash(pairs)
            cls._interned[pairs] = known
        return known

    @property
    def name(self) -> str:
        """The metric name, empty if there is none."""
        return self.get(METRIC_NAME)

    def get(self, name: str, default: str = "") -> str:
        """The value of a label, *default* if it is not set."""
        for key, value in self.pairs:
            if key == name:
                return value
        return default

    def keep(self, names: Iterable[str]) -> Labels:
        """Only the labels *names*."""
        kept = frozenset(names)
        return self._of(tuple(pair for pair in self.pairs if pair[0] in kept))

    def drop(self, names: Iterable[str]) -> Labels:
        """All but the labels *names*."""
        dropped = frozenset(names)
        return self._of(tuple(pair for pair in self.pairs if pair[0] not in dropped))

    def without_name(self) -> Labels:
        """The same without the metric name."""
        return self._of(tuple(pair for pair in self.pairs if pair[0] != METRIC_NAME))

    def with_label(self, name: str, value: str) -> Labels:
        """The same with one label changed; an empty value removes it."""
        return Labels({**dict(self.pairs), name: value})

    def as_dict(self) -> dict[str, str]:
        """A plain dictionary, as JSON shows it."""
        return dict(self.pairs)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self.pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Labels) and self.pairs == other.pairs)

    def __lt__(self, other: Labels) -> bool:
        return self.pairs < other.pairs

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Labels], tuple[Pairs]]:
        return (Labels, (self.pairs,))

    def __str__(self) -> str:
        """``name{a="1", b="2"}``, as Prometheus prints a metric."""
        name = self.name
        parts = [f"{_label_name(key)}={quote(value)}" for key, value in self.without_name()]
        if name and not _BARE_METRIC.fullmatch(name):
            return "{" + ", ".join([quote(name), *parts]) + "}"
        if not parts:
            return name or "{}"
        return name + "{" + ", ".join(parts) + "}"

    def __repr__(self) -> str:
        return f"Labels({self})"


EMPTY: Final = Labels()


def _label_name(name: str) -> str:
    return name if _BARE_NAME.fullmatch(name) else quote(name)


class MatchOp(StrEnum):
    """The four ways to match a label."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector: ``name op "value"``. A missing label is an empty one."""

    name: str
    op: MatchOp
    value: str

    def predicate(self) -> Callable[[str], bool]:
        """The condition as a function of the label's value."""
        match self.op:
            case MatchOp.EQUAL:
                return self.value.__eq__
            case MatchOp.NOT_EQUAL:
                return self.value.__ne__
            case MatchOp.REGEX:
                return compile_regex(self.value).matches
            case MatchOp.NOT_REGEX:
                pattern = compile_regex(self.value)
                return lambda value: not pattern.matches(value)

    def matches(self, value: str) -> bool:
        """Whether a label with *value* meets the condition."""
        return self.predicate()(value)

    def __str__(self) -> str:
        return f"{_label_name(self.name)}{self.op}{quote(self.value)}"


def equals(**labels: str) -> tuple[Matcher, ...]:
    """Matchers for exactly these label values; ``__name__`` is the metric name."""
    return tuple(Matcher(name, MatchOp.EQUAL, value) for name, value in labels.items())


def format_value(value: float) -> str:
    """A sample value as Prometheus writes it: shortest digits, ``+Inf``, ``NaN``, no exponent."""
    if value != value:  # noqa: PLR0124 - NaN
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    size = abs(value)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        mantissa, exponent = _digits(value)
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    text = repr(value)
    if "e" in text:
        text = f"{value:.{_decimals(text)}f}"
    return text.removesuffix(".0")


def _digits(value: float) -> tuple[str, int]:
    text = repr(value)
    if "e" not in text:
        text = f"{value:e}"
    mantissa, exponent = text.split("e")
    return mantissa.removesuffix(".0"), int(exponent)


def _decimals(text: str) -> int:
    mantissa, exponent = text.split("e")
    digits = len(mantissa.partition(".")[2].removesuffix("0"))
    return max(digits - int(exponent), 0)


def parse_value(text: str) -> float:
    """The inverse of :func:`format_value`. Raises ValueError, also for Python's own extras."""
    if "_" in text:
        raise ValueError(text)
    return float(text)
