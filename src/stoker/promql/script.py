"""The language of PromQL test scripts: reading.

``load`` gives series at a fixed interval from time 0, ``clear`` forgets them, ``eval`` asks and
says what must come out. Both the old words (``eval_fail``, ``expected_fail_message``) and the new
ones (``expect fail msg: ...``) are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from stoker.errors import InputError, Place
from stoker.metrics.sample import METRIC_NAME, STALE, Labels, parse_value
from stoker.promql.literals import unquote

_Note = Literal["fail", "warn", "no_warn", "info", "no_info"]
_Expected = Literal["ok", "ordered", "string"] | _Note
Point = float | None  # None: no sample at this step

_COMMAND = re.compile(r"(?:load|clear|eval)(?:\b|_)", re.IGNORECASE)  # at the margin
_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)$", re.IGNORECASE)
_INSTANT = re.compile(
    r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$", re.IGNORECASE
)
_RANGE = re.compile(
    r"eval(?:_(fail|warn|ordered|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$",
    re.IGNORECASE,
)
_MATRIX = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$")
_EXPECT = re.compile(r"expect\s+(ok|ordered|fail|warn|no_warn|info|no_info|string)\b\s*(.*)$")
_QUOTES: Final = ('"', "'", "`")
_NAME = re.compile(r"[A-Za-z_:][\w:]*")
_SPACE = re.compile(r"\s*")
_TEXT = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`"""
_PAIR = re.compile(
    rf"(?P<name>[A-Za-z_]\w*|{_TEXT})\s*(?:=\s*(?P<value>{_TEXT}))?\s*(?:,\s*|(?=\}}))"
)
_REPEATED = re.compile(r"(_|stale|[^x\s]+?)x(\d+)$")
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_UNITS: Final = (365 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)
_STEPPED = re.compile(
    r"([-+]?(?:[\d.]+(?:[eE][-+]?\d+)?|Inf|NaN))([-+][\d.]+(?:[eE][-+]?\d+)?)x(\d+)$"
)


@dataclass(slots=True)
class Load:
    """Series to add; the interval is seconds."""

    interval: float
    series: list[tuple[Labels, tuple[Point, ...]]]
    native: list[Labels]  # series with native histograms, which are not kept here
    also_native: bool = False  # load_with_nhcb: a native histogram beside each classic one


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget everything."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """An error, a warning or an info that must come, or must not."""

    kind: _Note
    message: str = ""  # empty: any
    is_regex: bool = False


@dataclass(slots=True)
class Eval:
    """A question and what must come out. *step* 0 is an instant query."""

    line: int
    query: str
    start: float
    end: float
    step: float
    ordered: bool = False
    string: str | None = None
    matrix: tuple[float, float, float] | None = None  # times of an expected range vector
    scalar: float | None = None
    series: list[tuple[Labels, tuple[Point, ...]]] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    native: bool = False

    def wants(self, kind: str) -> list[Annotation]:
        """The annotations of one kind."""
        return [one for one in self.annotations if one.kind == kind]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Lines that are not of the language."""

    line: int
    text: str
    error: InputError


Command = Load | Clear | Eval | Unreadable


def read(  # noqa: C901 - a case a kind of line
    text: str, source: str = "script"
) -> Iterator[Command]:
    """The commands of a script; what is none becomes Unreadable with the line."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        block: list[tuple[int, str]] = []
        while at < len(lines) and lines[at].strip() and not _COMMAND.match(lines[at]):
            if not lines[at].strip().startswith("#"):
                block.append((at + 1, lines[at].strip()))
            at += 1
        where = number
        try:
            word = line.split()[0].lower()
            if word == "clear":
                yield Clear()
            elif word.startswith("load"):
                command = _load(line)
                for one, detail in block:
                    try:
                        _loaded(command, detail)
                    except ValueError as error:  # the other series are read all the same
                        told = InputError(str(error), place=Place(source, one))
                        yield Unreadable(one, detail, told)
                yield command
            else:
                question = _eval(line, number)
                for where, detail in block:  # noqa: B007 - told in the error
                    _expectation(question, detail)
                yield question
        except ValueError as error:
            yield Unreadable(where, line, InputError(str(error), place=Place(source, where)))


def _load(line: str) -> Load:
    found = _LOAD.match(line)
    if found is None:
        raise ValueError(f"expected `load INTERVAL`, got `{line}`")
    return Load(duration(found[2]), [], [], also_native=bool(found[1]))


def _loaded(command: Load, text: str) -> None:
    """One series below ``load``; when a counter started (``x@st``) is not looked at."""
    if text.split(maxsplit=1)[0].endswith("@st"):
        return
    labels, values = _series(text)
    if "{{" in values:
        command.native.append(labels)
        return
    command.series.append((labels, tuple(points(values))))
    if command.also_native and labels.get("le"):
        name = labels.name.removesuffix("_bucket")
        command.native.append(labels.drop(["le"]).with_label("__name__", name))


def _eval(line: str, number: int) -> Eval:
    found = _INSTANT.match(line)
    if found is not None:
        mode, at, query = found.groups()
        moment = duration(at or "0")
        command = Eval(number, query.strip(), moment, moment, 0)
    else:
        found = _RANGE.match(line)
        if found is None:
            raise ValueError(f"expected `load`, `clear` or `eval`, got `{line}`")
        mode, start, end, step, query = found.groups()
        command = Eval(number, query, duration(start), duration(end), duration(step))
    if mode == "ordered":
        command.ordered = True
    elif mode in {"fail", "warn", "info"}:
        command.annotations.append(Annotation(cast("_Note", mode)))
    return command


def _expectation(command: Eval, text: str) -> None:
    """One line below ``eval``."""
    if text.startswith(("expected_fail_message ", "expected_fail_regexp ")):
        word, _, message = text.partition(" ")
        command.annotations.append(Annotation("fail", message.strip(), word.endswith("regexp")))
        return
    matrix = _MATRIX.match(text)
    if matrix is not None:
        command.matrix = (duration(matrix[1]), duration(matrix[2]), duration(matrix[3]))
        return
    found = _EXPECT.match(text)
    if found is not None:
        _expect(command, cast("_Expected", found[1]), found[2].strip())
        return
    if "{{" in text:
        command.native = True
        return
    if text[0] in "\"'`" and text[-1] == text[0]:
        _expect(command, "string", text)
        return
    try:
        command.scalar = parse_value(text)
    except ValueError:
        labels, values = _series(text)
        command.series.append((labels, tuple(points(values))))


def _expect(command: Eval, kind: _Expected, rest: str) -> None:
    if kind == "ok":  # which it is if nothing else is said
        return
    if kind == "ordered":
        command.ordered = True
    elif kind == "string":
        command.string = unquote(rest)
    else:
        word, _, message = rest.partition(":")
        if rest and word.strip() not in {"msg", "regex"}:
            raise ValueError(f"expected `msg:` or `regex:`, got `{rest}`")
        is_regex = word.strip() == "regex"
        command.annotations.append(Annotation(kind, message.strip(), is_regex))


def _series(text: str) -> tuple[Labels, str]:
    """A label set in PromQL's notation, and what stands after it."""
    found = _NAME.match(text)
    pairs = [(METRIC_NAME, found[0])] if found else []
    at = found.end() if found else 0
    brace = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches always
    if text.startswith("{", brace) and not text.startswith("{{", brace):
        at = _SPACE.match(text, brace + 1).end()  # type: ignore[union-attr]
        while not text.startswith("}", at):
            pair = _PAIR.match(text, at)
            if pair is None:
                raise ValueError(f"`{text}` is not a series")
            name, value = pair["name"], pair["value"]
            name = unquote(name) if name[0] in _QUOTES else name
            pairs.append((METRIC_NAME, name) if value is None else (name, unquote(value)))
            at = pair.end()
        at += 1
    elif not found:
        raise ValueError(f"`{text}` is not a series")
    return Labels(pairs), text[at:].strip()


def points(text: str) -> Iterator[Point]:
    """Values of a series: ``1 2``, ``_`` for none, ``1x3`` again, ``1+2x3`` rising, ``stale``."""
    for word in text.split():
        stepped = _STEPPED.fullmatch(word)
        if stepped:
            first, change = parse_value(stepped[1]), parse_value(stepped[2])
            # Added up, as the field's own reader does: 0+0.1x3 ends at 0.30000000000000004.
            value = first
            for _ in range(int(stepped[3]) + 1):
                yield value
                value += change
            continue
        repeated = _REPEATED.fullmatch(word)
        if repeated:
            times = int(repeated[2]) + (repeated[1] != "_")
            yield from [_point(repeated[1])] * times
            continue
        yield _point(word)


def _point(word: str) -> Point:
    if word == "_":
        return None
    return STALE if word == "stale" else parse_value(word)


def duration(text: str) -> float:
    """Seconds: ``5m``, ``90``, ``-1m``."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    try:
        seconds = parse_value(rest)
    except ValueError:
        parts = _DURATION.fullmatch(rest)
        if not rest or parts is None:
            raise ValueError(f"`{text}` is not a duration") from None
        units = zip(parts.groups(), _UNITS, strict=True)
        seconds = sum(int(count) * unit for count, unit in units if count)
    if not math.isfinite(seconds):
        raise ValueError(f"`{text}` is not a duration")
    return sign * seconds
