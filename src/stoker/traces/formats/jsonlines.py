"""Traces as JSON lines: Mooncake's and Stoker's own.

* Mooncake: ``timestamp`` in milliseconds, ``input_length``, ``output_length``, ``hash_ids`` with a
  number a block of 512 tokens of the prompt. Inputs of aiperf and Dynamo have the same form.
* Stoker's own: ``time`` in seconds, ``prompt_tokens``, ``completion_tokens``, and where known
  ``model``, ``key`` (whose request it was), ``hash_ids`` with ``block_size``. The recorder's
  lines may have ``estimated`` and ``unix_time``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from stoker.traces.formats.base import Format, Source
from stoker.traces.rows import Rows, line_blocks

MOONCAKE_BLOCK = 512  # tokens

Record = dict[str, Any]


def parsed(line: str) -> Record | None:
    """The object of a line; None if it is none."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def records(source: Source, needed: tuple[str, ...]) -> Iterator[tuple[list[int], list[Record]]]:
    """Objects with their line numbers, a block at a time; the others are told as bad."""
    for first, lines in line_blocks(source.path):
        numbers, found = [], []
        for number, line in enumerate(lines, first):
            if not line.strip():
                continue
            record = parsed(line)
            if record is None:
                source.bad.add(number, "not a JSON object", line)
            elif missing := [name for name in needed if name not in record]:
                source.bad.add(number, f"no `{missing[0]}`", line)
            else:
                numbers.append(number)
                found.append(record)
        yield numbers, found


def has(*names: str) -> Callable[[Path, list[str]], bool]:
    """Files whose first line is an object with these fields."""

    def knows(_path: Path, head: list[str]) -> bool:
        record = parsed(head[0]) if head else None
        return record is not None and all(name in record for name in names)

    return knows


def _mooncake(source: Source) -> Iterator[Rows]:
    for numbers, found in records(source, ("timestamp", "input_length", "output_length")):
        hashes = [record.get("hash_ids") or () for record in found]
        rows = _numbers(
            source, numbers, found, ("timestamp", "input_length", "output_length"), hashes
        )
        rows.times /= 1000.0
        rows.block_size = MOONCAKE_BLOCK
        yield rows


def _own(source: Source) -> Iterator[Rows]:
    names = ("time", "prompt_tokens", "completion_tokens")
    total = estimated = 0
    for numbers, found in records(source, names):
        sizes = {record["block_size"] for record in found if "block_size" in record}
        with_blocks = bool(sizes)
        hashes = [record.get("hash_ids") or () for record in found] if with_blocks else None
        rows = _numbers(source, numbers, found, names, hashes)
        rows.block_size = int(sizes.pop()) if with_blocks else 0
        rows.models = _texts(found, "model")
        rows.keys = _texts(found, "key")
        total += len(found)
        estimated += sum(record.get("estimated") is True for record in found)
        yield rows
    if estimated:
        source.notes.append(f"tokens of {estimated} of {total} requests are estimates")


def _texts(found: list[Record], name: str) -> list[str] | None:
    if not any(record.get(name) is not None for record in found):
        return None
    return [str(record.get(name) or "") for record in found]


def _numbers(
    source: Source,
    numbers: list[int],
    found: list[Record],
    names: tuple[str, ...],
    hashes: list[Any] | None,
) -> Rows:
    columns: list[list[float]] = [[], [], []]
    lines, kept = [], []
    for at, record in enumerate(found):
        values = [record[name] for name in names]
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            source.bad.add(numbers[at], "not a request: a field is not a number", str(values))
            continue
        if hashes is not None and not _are_hashes(hashes[at]):
            source.bad.add(numbers[at], "`hash_ids` is not a list of whole numbers")
            continue
        for column, value in zip(columns, values, strict=True):
            column.append(float(value))
        lines.append(numbers[at])
        kept.append(at)
    if len(kept) < len(found):
        found[:] = [found[at] for at in kept]
        hashes = None if hashes is None else [hashes[at] for at in kept]
    times, prompts, outputs = (np.array(column, np.float64) for column in columns)
    return Rows(np.array(lines, np.int64), times, prompts, outputs, hashes=hashes)


def _are_hashes(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        type(number) is int and -(2**63) <= number < 2**63 for number in value
    )


FORMATS = (
    Format(
        "mooncake",
        "JSON lines with timestamp (ms), input_length, output_length, hash_ids (Mooncake)",
        has("timestamp", "input_length", "output_length"),
        _mooncake,
    ),
    Format(
        "stoker",
        "JSON lines with time (s), prompt_tokens, completion_tokens (Stoker's own)",
        has("time", "prompt_tokens", "completion_tokens"),
        _own,
    ),
)
