"""Rows of a trace file on their way to columns: blocks of lines, names, and rows that are wrong."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import InputError, Place
from stoker.traces.arrivals import Arrivals, Counts, PromptBlocks

Floats = NDArray[np.float64]
Lines = NDArray[np.int64]

LONGEST = 2**31 - 1  # tokens: what a column holds
_BLOCK = 4 << 20  # bytes of text that are looked at together
_SHOWN = 60  # characters of a bad row


@dataclass(slots=True)
class BadRows:
    """Rows that are no requests: how many, and which came first."""

    file: str
    skip: bool = False
    count: int = 0
    first: InputError | None = None
    first_line: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, line: int | None, reason: str, row: str = "", hint: str | None = None) -> None:
        """One more. *reason* says what is wrong with all rows of its kind."""
        self.count += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        # Cells are looked at before their order in time is: the first that is found may be later.
        earlier = None not in (line, self.first_line) and (line or 0) < (self.first_line or 0)
        if self.first is None or earlier:
            self.first_line = line
            shown = f": {row.strip()[:_SHOWN]!r}" if row else ""
            self.first = InputError(f"{reason}{shown}", place=Place(self.file, line), hint=hint)

    def error(self) -> InputError | None:
        """What to tell when bad rows are not skipped."""
        if self.first is None:
            return None
        more = f" (the first of {self.count} bad rows)" if self.count > 1 else ""
        hint = self.first.hint or "mend the row"
        return InputError(
            self.first.message + more,
            place=self.first.place,
            hint=f"{hint}, or leave such rows out with --skip-bad-rows",
        )

    def told(self) -> str:
        """``left out 3 bad rows (2 not a request, 1 ...), the first at trace.csv:17``."""
        if self.first is None:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        rows = "row" if self.count == 1 else "rows"
        return f"left out {self.count} bad {rows} ({reasons}), the first at {self.first.place}"


class Names:
    """Texts of a column as numbers, in the order of their first appearance."""

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._indexes)

    def indexes(self, texts: Sequence[str]) -> Counts:
        """An index a text."""
        known = self._indexes
        return np.fromiter(
            (known.setdefault(text, len(known)) for text in texts), np.int32, len(texts)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All texts so far; an index points into this."""
        return tuple(self._indexes)


@dataclass(slots=True)
class Rows:
    """Rows as they stand in a file, in its order and not yet checked."""

    lines: Lines  # the number of each row in its file, from 1
    times: Floats  # seconds since the trace's zero
    prompt_tokens: Floats
    output_tokens: Floats
    models: Sequence[str] | None = None
    keys: Sequence[str] | None = None
    hashes: Sequence[Sequence[int]] | None = None
    block_size: int = 0


class Checker:
    """Makes columns of rows, and tells the bad ones: negative, not finite, out of order."""

    def __init__(self, bad: BadRows) -> None:
        self._bad = bad
        self._last = -np.inf
        self._models = Names()
        self._keys = Names()

    def check(self, rows: Rows) -> Arrivals:
        """The good rows of *rows*."""
        good = self._counts(rows) & self._numbers(rows)
        good &= self._order(rows, good)
        kept = np.flatnonzero(good)
        return Arrivals(
            times=rows.times[kept],
            prompt_tokens=rows.prompt_tokens[kept].astype(np.int32),
            output_tokens=rows.output_tokens[kept].astype(np.int32),
            blocks=_blocks(rows, kept),
            models=_indexes(self._models, rows.models, kept),
            model_names=self._models.names,
            keys=_indexes(self._keys, rows.keys, kept),
            key_names=self._keys.names,
        )

    def _counts(self, rows: Rows) -> NDArray[np.bool_]:
        good = np.ones(len(rows.times), bool)
        for name, column in (("prompt", rows.prompt_tokens), ("output", rows.output_tokens)):
            whole = np.isfinite(column) & (np.floor(column) == column)
            for wrong, reason in (
                (~whole, f"{name} tokens are not a whole number"),
                (whole & (column < 0), f"negative {name} tokens"),
                (whole & (column > LONGEST), f"more than {LONGEST} {name} tokens"),
            ):
                for at in np.flatnonzero(wrong & good).tolist():
                    self._bad.add(int(rows.lines[at]), reason, f"{column[at]:g}")
                good &= ~wrong
        return good

    def _numbers(self, rows: Rows) -> NDArray[np.bool_]:
        finite = np.isfinite(rows.times)
        for at in np.flatnonzero(~finite).tolist():
            self._bad.add(int(rows.lines[at]), "the time is not a number", f"{rows.times[at]:g}")
        return finite

    def _order(self, rows: Rows, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if not len(rows.times):
            return good
        times = np.where(good, rows.times, -np.inf)
        latest = np.maximum.accumulate(np.concatenate([[self._last], times]))
        descends = good & (times < latest[:-1])
        for at in np.flatnonzero(descends).tolist():
            self._bad.add(
                int(rows.lines[at]),
                "earlier than a row above it",
                f"{latest[at] - times[at]:g} s earlier",
                hint="sort the trace by time",
            )
        self._last = float(latest[-1])
        return ~descends


def _indexes(names: Names, texts: Sequence[str] | None, kept: Lines) -> Counts | None:
    if texts is None:
        return None
    whole = len(kept) == len(texts)
    return names.indexes(texts if whole else [texts[at] for at in kept.tolist()])


def _blocks(rows: Rows, kept: Lines) -> PromptBlocks | None:
    if rows.hashes is None:
        return None
    chosen = [rows.hashes[at] for at in kept.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(hashes) for hashes in chosen])]).astype(np.int64)
    flat = np.fromiter((number for hashes in chosen for number in hashes), np.int64, offsets[-1])
    return PromptBlocks(flat, offsets, rows.block_size)


def line_blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """A few megabytes of lines at a time, with the number of the first. ``.gz`` is unpacked.

    Raises:
        InputError: the file cannot be read, or is not text.
    """
    number = 1
    try:
        with opened(path) as file:
            while lines := file.readlines(_BLOCK):
                yield number, lines
                number += len(lines)
    except UnicodeDecodeError:
        raise InputError(
            "not UTF-8 text", place=Place(str(path), number), hint="traces are CSV or JSON lines"
        ) from None
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None


def opened(path: Path) -> Any:
    """The file as text; a byte order mark is left out."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def unreadable(path: Path, error: Exception) -> InputError:
    """What to tell of a file that the system does not give."""
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"cannot read the trace: {reason}", place=Place(str(path)))
