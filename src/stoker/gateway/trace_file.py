"""The trace that the gateway's processes record together: one file, in the order of arrival.

The control process alone writes it. Whole lines are appended at once, so that it can be read while
it grows. Time zero is the first request; the first line of each run also has ``unix_time``, by
which the next run goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from stoker.errors import InputError, Place
from stoker.gateway.recorder import Row

_log = logging.getLogger(__name__)
_MOST: Final = 200_000  # rows that wait for another process to have sent its earlier ones
_LAST_LINE: Final = 1 << 16  # bytes in which it is looked for
_SALT: Final = 16  # bytes


class TraceFile:
    """Appends to *path*.

    A row waits until every process has sent those that came before. One that is later than that
    (its process had lost touch) gets the time of the row above it: a trace never goes back.

    Args:
        path: A new file, or one that was recorded here before.
        offset: Unix time minus the machine's steady clock, in seconds.

    Raises:
        InputError: the file cannot be written, or is something else.
    """

    def __init__(self, path: Path, offset: float) -> None:
        self.path = path
        self._offset = offset
        self._zero: float | None = None  # Unix time
        self._last = 0.0
        self._begun = False  # this run has a line
        self._rows: list[Row] = []
        self._until: dict[int, float] = {}
        place = Place(str(path))
        if path.name.endswith((".gz", ".parquet")):
            raise InputError(
                f"`--record` writes plain JSON lines, not `{path.suffix}`",
                place=place,
                hint="name it .jsonl; `stoker trace merge FILE OUT` makes the other of it",
            )
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise InputError(f"cannot record: {error.strerror}", place=place) from None
        self._fd: int | None = fd
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._size = self._resume(fd)
        except BlockingIOError:
            os.close(fd)
            raise InputError("another run records into this file", place=place) from None
        except (ValueError, KeyError, TypeError):
            os.close(fd)
            raise InputError(
                "cannot go on with this file: `stoker up --record` did not write it",
                place=place,
                hint="give it another name",
            ) from None

    def _resume(self, fd: int) -> int:
        """Go on after the last line, and cut off half a line. Returns the file's size."""
        if (size := os.fstat(fd).st_size) == 0:
            return 0
        first = orjson.loads(os.pread(fd, _LAST_LINE, 0).partition(b"\n")[0])
        self._zero = float(first["unix_time"]) - float(first["time"])
        at = max(size - _LAST_LINE, 0)
        whole, newline, half = os.pread(fd, size - at, at).rpartition(b"\n")
        if not newline:
            raise ValueError("there is no whole line")
        if half:
            size -= len(half)
            os.ftruncate(fd, size)
        self._last = float(orjson.loads(whole.rpartition(b"\n")[2])["time"])
        return size

    def add(self, process: int, rows: Iterable[Sequence[Any]], until: float) -> None:
        """Rows of a process, and the time before which it has sent all."""
        self._rows.extend((*row,) for row in rows)
        self._until[process] = until
        self._write(min(self._until.values()))

    def left(self, process: int) -> None:
        """A process is gone: nobody waits for it."""
        if self._until.pop(process, None) is not None and self._until:
            self._write(min(self._until.values()))

    def close(self) -> None:
        """Write what is left."""
        self._write(None)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, until: float | None) -> None:
        """Rows of requests that came before *until*; None: all."""
        rows = self._rows
        rows.sort(key=lambda row: row[0])
        ready = len(rows)
        if until is not None:
            ready = next((at for at, row in enumerate(rows) if row[0] > until), len(rows))
            ready = max(ready, len(rows) - _MOST)
        if ready and self._fd is not None:
            self._append(self._fd, b"".join(map(self._line, rows[:ready])))
        del rows[:ready]

    def _line(self, row: Row) -> bytes:
        came, model, key, prompt_tokens, completion_tokens, estimated = row
        unix_time = came + self._offset
        if self._zero is None:
            self._zero = unix_time
        self._last = max(self._last, round(unix_time - self._zero, 6))
        record: dict[str, Any] = {
            "time": self._last,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "model": model,
        }
        if key is not None:
            record["key"] = key
        if estimated:
            record["estimated"] = True
        if not self._begun:
            self._begun = True
            record["unix_time"] = round(self._zero + self._last, 6)
        line: bytes = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        return line

    def _append(self, fd: int, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError as error:
            os.ftruncate(fd, self._size)  # no half line stays
            os.close(fd)
            self._fd = None
            _log.warning("%s: recording has stopped: %s", self.path, error.strerror)
            return
        self._size += len(data)


def salt_of(state_dir: Path) -> bytes:
    """The salt of this directory: the same in all runs, so that a client keeps its name."""
    path = state_dir / "record.salt"
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        found = b""
    if len(found) != _SALT:
        found = secrets.token_bytes(_SALT)
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_bytes(found)
        part.replace(path)
    return found
