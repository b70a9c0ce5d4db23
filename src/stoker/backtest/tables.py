"""Tables of recorded metrics: CSV and Parquet, a column of times and one for each trigger.

A cell is a number; an empty one is no sample; ``error`` says that the source fails from there on.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stoker.backtest.metrics import Column, Track
from stoker.errors import InputError, MachineError, Place

_TIME_NAMES = ("time", "timestamp", "ts", "date", "datetime")
_MILLISECONDS = 1e11  # more than this is no count of seconds: the year 5138
_NO_SAMPLE = ("", "null", "none", "-")


def read_csv(path: Path) -> list[Column]:
    """The columns of a CSV file with a head line, cells apart by comma, semicolon or tab.

    Times without a zone are UTC.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = next((mark for mark in (",", ";", "\t") if mark in head), ",")
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(number, row) for number, row in enumerate(reader, 1) if any(row)]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read: {reason}", place=Place(str(path))) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a CSV file: {error}", place=Place(str(path))) from None
    if not rows:
        raise InputError("the file is empty", place=Place(str(path)))
    names = [name.strip() for name in rows[0][1]]
    time_column = _time_column(names, path)
    columns: dict[int, tuple[list[float], list[float | None]]] = {
        index: ([], []) for index in range(len(names)) if index != time_column
    }
    for number, row in rows[1:]:
        place = Place(str(path), number)
        if len(row) != len(names):
            message = f"{len(row)} cells in a table of {len(names)} columns"
            raise InputError(message, place=place)
        at = _time(row[time_column].strip(), place)
        for index, (times, values) in columns.items():
            text = row[index].strip()
            if text.lower() not in _NO_SAMPLE:
                times.append(at)
                values.append(_value(text, names[index], place))
    return [_column(names[index], *found, path) for index, found in columns.items()]


def read_parquet(path: Path) -> list[Column]:
    """The columns of a Parquet file. Nulls are no samples.

    Raises:
        MachineError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - 150 MB, an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise MachineError(
            "Parquet files need pyarrow, which is not installed",
            hint="pip install 'stoker[parquet]', or save the table as CSV",
        ) from None
    place = Place(str(path))
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read as Parquet: {error}", place=place) from None
    names = [str(name) for name in table.column_names]
    time_column = _time_column(names, path)
    times = [_time(value, place) for value in table.column(time_column).to_pylist()]
    found = []
    for index, name in enumerate(names):
        if index == time_column:
            continue
        pairs = [
            (t, _value(value, name, place))
            for t, value in zip(times, table.column(index).to_pylist(), strict=True)
            if value is not None
        ]
        found.append(_column(name, [t for t, _ in pairs], [v for _, v in pairs], path))
    return found


def _time_column(names: Sequence[str], path: Path) -> int:
    for index, name in enumerate(names):
        if name.lower() in _TIME_NAMES:
            if len(names) == 1:
                raise InputError("there is no column beside the time", place=Place(str(path), 1))
            return index
    raise InputError(
        f"no column of times among {', '.join(names)}",
        hint=f"it is called one of {', '.join(_TIME_NAMES)}",
        place=Place(str(path), 1),
    )


def _column(name: str, times: list[float], values: list[float | None], path: Path) -> Column:
    order = sorted(range(len(times)), key=times.__getitem__)
    track = Track([times[i] for i in order], [values[i] for i in order])
    return Column(name, (track,), f"{path.name}, column {name}")


def _time(value: Any, place: Place) -> float:
    """Seconds since the Unix epoch of a number (or milliseconds, if large) or a date."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return _date(str(value), place)
    if seconds != seconds or abs(seconds) == float("inf"):  # noqa: PLR0124 - NaN
        raise InputError(f"`{value}` is not a time", place=place)
    return seconds / 1000 if seconds > _MILLISECONDS else seconds


def _date(text: str, place: Place) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"`{text}` is not a time",
            hint="write seconds since 1970, or 2026-11-17T14:03:15Z",
            place=place,
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _value(given: Any, column: str, place: Place) -> float | None:
    """A number, or None for ``error``."""
    if isinstance(given, str) and given.strip().lower() in ("error", "err"):
        return None
    try:
        return float(given)
    except (TypeError, ValueError):
        raise InputError(
            f"`{given}` in column {column} is not a number",
            hint="a cell is a number, empty (no sample) or `error` (the source fails)",
            place=place,
        ) from None
