"""Recorded traffic, read a line at a time: when a request came and how many tokens it had.

Two formats, told apart by their first line:

* Azure LLM inference traces, CSV: ``TIMESTAMP,ContextTokens,GeneratedTokens``, a wall time with
  seven digits of a second.
* Mooncake traces, a JSON object a line: ``timestamp`` in milliseconds, ``input_length``,
  ``output_length``; block hashes are not needed here.

Files that end in ``.gz`` are unpacked on the way.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TextIO

from stoker.errors import InputError, Place

_AZURE_HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
_FORMATS = (
    "traces are CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens (Azure) "
    "or JSON lines with timestamp, input_length and output_length (Mooncake)"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. ``at`` is in seconds since the start of the run."""

    at: float
    input_tokens: int
    output_tokens: int


def read(path: Path) -> Iterator[Arrival]:
    """The requests of a trace, from 0 s on.

    Raises:
        InputError: the file cannot be read, or a line of it is wrong or out of order.
    """
    try:
        file = _open(path)
    except OSError as error:
        raise InputError(
            f"cannot read the trace: {error.strerror}", place=Place(str(path))
        ) from None
    with file:
        yield from _from_zero(_parse(file, path), path)


def cut(arrivals: Iterable[Arrival], *, start: float, duration: float | None) -> Iterator[Arrival]:
    """Those of the window [*start*, *start* + *duration*), counted from its beginning."""
    for arrival in arrivals:
        if arrival.at < start:
            continue
        if duration is not None and arrival.at >= start + duration:
            return
        yield Arrival(arrival.at - start, arrival.input_tokens, arrival.output_tokens)


def speed_up(arrivals: Iterable[Arrival], speed: float) -> Iterator[Arrival]:
    """The same requests, *speed* times as fast."""
    for arrival in arrivals:
        yield Arrival(arrival.at / speed, arrival.input_tokens, arrival.output_tokens)


def resize(
    arrivals: Iterable[Arrival], *, input_tokens: int | None, output_tokens: int | None
) -> Iterator[Arrival]:
    """The same times with other lengths. None: as they are."""
    for arrival in arrivals:
        yield Arrival(
            arrival.at,
            arrival.input_tokens if input_tokens is None else input_tokens,
            arrival.output_tokens if output_tokens is None else output_tokens,
        )


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _parse(file: TextIO, path: Path) -> Iterator[tuple[int, Arrival]]:
    """Line numbers and requests; ``at`` still has the trace's own zero."""
    first = file.readline()
    lines: Iterator[tuple[int, str]]
    if [column.strip() for column in first.split(",")] == _AZURE_HEADER:
        parse, lines = _azure, enumerate(file, 2)
    elif first.lstrip().startswith("{"):
        parse, lines = _mooncake, enumerate(chain([first], file), 1)
    else:
        raise InputError(
            f"not a trace: the first line is {first.strip()[:60]!r}",
            place=Place(str(path), 1),
            hint=_FORMATS,
        )
    yield from _each(parse, lines, path)


def _each(
    parse: Callable[[str], Arrival], lines: Iterator[tuple[int, str]], path: Path
) -> Iterator[tuple[int, Arrival]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            yield number, parse(line)
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"not a request: {line.strip()[:60]!r}",
                place=Place(str(path), number),
                hint=_FORMATS,
            ) from None


def _azure(line: str) -> Arrival:
    when, context, generated = line.split(",")
    at = datetime.fromisoformat(when.strip())
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return _checked(at.timestamp(), int(context), int(generated))


def _mooncake(line: str) -> Arrival:
    request = json.loads(line)
    return _checked(
        float(request["timestamp"]) / 1000.0,
        int(request["input_length"]),
        int(request["output_length"]),
    )


def _checked(at: float, input_tokens: int, output_tokens: int) -> Arrival:
    if input_tokens < 0 or output_tokens < 0:
        raise ValueError
    return Arrival(at, input_tokens, output_tokens)


def _from_zero(requests: Iterator[tuple[int, Arrival]], path: Path) -> Iterator[Arrival]:
    zero = last = None
    for number, request in requests:
        if zero is None or last is None:
            zero = last = request.at
        if request.at < last:
            raise InputError(
                f"the request came {last - request.at:g} s before the one above it",
                place=Place(str(path), number),
                hint="sort the trace by time",
            )
        last = request.at
        yield Arrival(request.at - zero, request.input_tokens, request.output_tokens)
