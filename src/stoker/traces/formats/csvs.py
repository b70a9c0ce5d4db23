"""Traces as CSV: Azure's, BurstGPT's, and samples of ServeGen's.

* Azure LLM inference traces 2023 and 2024: ``TIMESTAMP,ContextTokens,GeneratedTokens``, a wall
  time with up to seven digits of a second, in 2024 with ``+00:00``. The first request is at 0 s.
* BurstGPT: ``Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type``, seconds; later
  releases with ``Session ID``. Requests that failed have 0 response tokens and stay in.
* Samples of ServeGen: ``arrival_s,client,input_tokens,output_tokens``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from stoker.traces.formats.base import Format, Source
from stoker.traces.rows import Floats, Rows, line_blocks

Clock = Callable[[Sequence[str]], Floats]
_NOT_A_REQUEST = "not a request"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a CSV file say what."""

    time: str
    prompt_tokens: str
    output_tokens: str
    model: str | None = None
    key: str | None = None


AZURE = Columns("TIMESTAMP", "ContextTokens", "GeneratedTokens")
BURSTGPT = Columns("Timestamp", "Request tokens", "Response tokens", "Model", "Session ID")
SERVEGEN = Columns("arrival_s", "input_tokens", "output_tokens", key="client")


def _knows(columns: Columns) -> Callable[[Path, list[str]], bool]:
    needed = {columns.time, columns.prompt_tokens, columns.output_tokens}

    def knows(_path: Path, head: list[str]) -> bool:
        return bool(head) and needed <= set(_cells(head[0]))

    return knows


def _cells(line: str) -> list[str]:
    cells = next(csv.reader([line])) if '"' in line else line.split(",")
    return [cell.strip() for cell in cells]


def _rows(columns: Columns, clock: Callable[[], Clock]) -> Callable[[Source], Iterator[Rows]]:
    def rows(source: Source) -> Iterator[Rows]:
        reader: _Reader | None = None
        for number, lines in line_blocks(source.path):
            first = number
            block = lines
            if reader is None:
                reader = _Reader(columns, _cells(lines[0]), clock())
                first, block = number + 1, lines[1:]
            yield reader.read(first, block, source)

    return rows


class _Reader:
    def __init__(self, columns: Columns, header: list[str], clock: Clock) -> None:
        def at(name: str | None) -> int | None:
            return header.index(name) if name in header else None

        self._width = len(header)
        self._time = header.index(columns.time)
        self._prompt = header.index(columns.prompt_tokens)
        self._output = header.index(columns.output_tokens)
        self._model, self._key = at(columns.model), at(columns.key)
        self._clock = clock

    def read(self, first: int, lines: list[str], source: Source) -> Rows:
        """Rows of a block: all at once, or one by one to find the row that is wrong."""
        cells = [line.split(",") if '"' not in line else _cells(line) for line in lines]
        numbers = np.arange(first, first + len(lines), dtype=np.int64)
        if all(len(row) == self._width for row in cells):
            try:
                return self._columns(numbers, cells)
            except ValueError:
                pass
        kept = [at for at, row in enumerate(cells) if self._is_request(row, first + at, source)]
        return self._columns(numbers[kept], [cells[at] for at in kept])

    def _is_request(self, row: list[str], line: int, source: Source) -> bool:
        if len(row) == 1 and not row[0].strip():
            return False  # an empty line is no row
        try:
            if len(row) != self._width:
                raise ValueError
            self._clock([row[self._time]])
            float(row[self._prompt]), float(row[self._output])
        except (ValueError, OverflowError):
            source.bad.add(line, _NOT_A_REQUEST, ",".join(row))
            return False
        return True

    def _columns(self, numbers: np.ndarray, cells: list[list[str]]) -> Rows:
        columns = list(zip(*cells, strict=True)) if cells else [()] * self._width
        return Rows(
            numbers,
            self._clock(columns[self._time]),
            np.array(columns[self._prompt], np.float64),
            np.array(columns[self._output], np.float64),
            models=_stripped(columns, self._model),
            keys=_stripped(columns, self._key),
        )


def _stripped(columns: Sequence[Sequence[str]], at: int | None) -> list[str] | None:
    return None if at is None else [cell.strip() for cell in columns[at]]


def _seconds() -> Clock:
    def clock(cells: Sequence[str]) -> Floats:
        return np.array(cells, np.float64)

    return clock


def _wall_time() -> Clock:
    """Seconds since the first time that it is given."""
    zero: np.datetime64 | None = None

    def clock(cells: Sequence[str]) -> Floats:
        nonlocal zero
        times = _moments(cells)
        if zero is None and len(times):
            zero = times[0]
        return (times - zero) / np.timedelta64(1, "s") if len(times) else np.empty(0)

    return clock


def _moments(cells: Sequence[str]) -> np.ndarray:
    texts = [cell.strip().removesuffix("+00:00").removesuffix("Z") for cell in cells]
    if any("+" in text for text in texts):
        texts = [_in_utc(cell) for cell in cells]
    moments = np.array(texts, "datetime64[ns]")
    if np.isnat(moments).any():
        raise ValueError("an empty time")
    return moments


def _in_utc(cell: str) -> str:
    moment = datetime.fromisoformat(cell.strip())
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() if moment.tzinfo else cell


FORMATS = (
    Format(
        "azure",
        "CSV with TIMESTAMP,ContextTokens,GeneratedTokens (Azure 2023 and 2024)",
        _knows(AZURE),
        _rows(AZURE, _wall_time),
    ),
    Format(
        "burstgpt",
        "CSV with Timestamp,Model,Request tokens,Response tokens (BurstGPT)",
        _knows(BURSTGPT),
        _rows(BURSTGPT, _seconds),
    ),
    Format(
        "servegen-sample",
        "CSV with arrival_s,client,input_tokens,output_tokens (samples of ServeGen)",
        _knows(SERVEGEN),
        _rows(SERVEGEN, _seconds),
    ),
)
