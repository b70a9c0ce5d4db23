"""Reading of traffic, whatever format it is in: chunks of columns, never the whole file.

A reader goes through its file once for each iteration. Memory is that of one block of lines, with
the formats that list requests as they came; results of load generators are sorted first, in memory.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from stoker.errors import InputError, Place
from stoker.traces.arrivals import Arrivals, joined
from stoker.traces.formats import csvs, jsonlines, parquet, results, servegen
from stoker.traces.formats.base import Format, Source
from stoker.traces.rows import BadRows, Checker, opened, unreadable

FORMATS: dict[str, Format] = {
    known.name: known
    for known in chain(
        servegen.FORMATS, parquet.FORMATS, csvs.FORMATS, jsonlines.FORMATS, results.FORMATS
    )
}
_HEAD = 65_536  # characters by which a format is known


class Reader:
    """The requests of one file, in chunks. What reading did to them is in ``remarks``."""

    def __init__(
        self,
        path: Path,
        *,
        format_name: str | None = None,
        skip_bad_rows: bool = False,
        seed: int = 0,
    ) -> None:
        self.path = path
        self.format = _named(format_name) if format_name else detected(path)
        self._skip = skip_bad_rows
        self._seed = seed
        self.remarks: list[str] = []

    def __iter__(self) -> Iterator[Arrivals]:
        """Chunks of requests in the order of time.

        Raises:
            InputError: a row is bad and bad rows are not skipped, or no row is good.
        """
        bad = BadRows(str(self.path), self._skip)
        source = Source(self.path, bad, self._seed)
        checker = Checker(bad)
        total = 0
        for rows in self.format.rows(source):
            arrivals = checker.check(rows)
            total += len(arrivals)
            if len(arrivals) and (self._skip or not bad.count):
                yield arrivals
        if bad.count and not self._skip:
            raise bad.error() or AssertionError
        if not total:
            raise InputError(
                "the trace has no requests" + (f": {bad.told()}" if bad.count else ""),
                place=Place(str(self.path)),
            )
        self.remarks = source.notes + ([bad.told()] if bad.count else [])


def read(
    path: Path, *, format_name: str | None = None, skip_bad_rows: bool = False, seed: int = 0
) -> Reader:
    """A file of any known format; *format_name* of ``FORMATS`` if it should not be guessed.

    Raises:
        InputError: the file cannot be read, or its format is unknown.
    """
    return Reader(path, format_name=format_name, skip_bad_rows=skip_bad_rows, seed=seed)


def load(reader: Reader) -> Arrivals:
    """All requests of a file in memory."""
    return joined(reader)


def detected(path: Path) -> Format:
    """The format that a file's beginning shows.

    Raises:
        InputError: none of the known ones, or the file cannot be read.
    """
    head = [] if path.is_dir() else _head(path)
    for known in FORMATS.values():
        if known.knows(path, head):
            return known
    formats = "\n".join(f"  {known.name}: {known.says}" for known in FORMATS.values())
    if not path.is_dir() and not head:
        raise InputError("the trace is empty", place=Place(str(path)))
    if head and {"t_seconds", "rate_rps"} <= set(head[0].strip().split(",")):
        raise InputError(
            "these are rates, and no requests",
            place=Place(str(path), 1),
            hint=f"""--synthetic "rates('{path}')" draws requests at these rates""",
        )
    shown = f"the first line is {head[0].strip()[:60]!r}" if head else "a folder without profiles"
    raise InputError(
        f"not a trace: {shown}",
        place=Place(str(path), 1 if head else None),
        hint=f"known formats are\n{formats}",
    )


def _head(path: Path) -> list[str]:
    try:
        with path.open("rb") as raw:
            if raw.read(len(parquet.MAGIC)) == parquet.MAGIC:
                return ["PAR1"]
        with opened(path) as file:
            return str(file.read(_HEAD)).splitlines()
    except UnicodeDecodeError:
        raise InputError(
            "not UTF-8 text", place=Place(str(path)), hint="traces are CSV, JSON lines or Parquet"
        ) from None
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None


def _named(name: str) -> Format:
    if name in FORMATS:
        return FORMATS[name]
    close = difflib.get_close_matches(name, FORMATS, n=1)
    meant = f"did you mean `{close[0]}`? " if close else ""
    raise InputError(
        f"unknown trace format `{name}`", hint=f"{meant}formats are {', '.join(FORMATS)}"
    )
