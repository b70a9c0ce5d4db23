"""Log files of replicas: where they are, their end, following and limiting them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from io import BufferedReader
from pathlib import Path

from stoker.clock import Clock

LOG_FOLDER = "logs"
MAX_LOG_BYTES = 50_000_000
KEPT_LOGS = 20  # of replicas that are gone
_FOLLOW_INTERVAL = 0.25
_CHUNK = 64 * 1024


class LogFolder:
    """``logs/POD.log`` is what the running container wrote, ``POD.previous.log`` the one before."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / LOG_FOLDER

    def prepare(self) -> None:
        """Make the folder."""
        self.path.mkdir(parents=True, exist_ok=True)

    def current(self, pod: str) -> Path:
        """The log of the running container."""
        return self.path / f"{pod}.log"

    def previous(self, pod: str) -> Path:
        """The log of the container before the last restart."""
        return self.path / f"{pod}.previous.log"

    def start_anew(self, pod: str) -> Path:
        """Make the current log the previous one; where the next container writes. May OSError."""
        current = self.current(pod)
        if current.exists():
            current.replace(self.previous(pod))
        return current

    def prune(self, living: set[str]) -> None:
        """Keep the logs of the last few replicas that are gone, for whoever asks why they went."""
        gone = [path for path in self.path.glob("*.log*") if _pod_of(path) not in living]
        gone.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        kept: list[str] = []
        for path in gone:
            pod = _pod_of(path)
            if pod not in kept:
                kept.append(pod)
            if kept.index(pod) >= KEPT_LOGS:
                path.unlink(missing_ok=True)

    def limit(self, limit: int = MAX_LOG_BYTES) -> None:
        """Move what is in a log beyond *limit* bytes to ``.log.1``. Blocks while it copies.

        The engine holds the file open, for appending: it is copied and emptied. Lines written
        between the two are lost. Raises OSError.
        """
        for path in self.path.glob("*.log"):
            if path.stat().st_size > limit:
                shutil.copyfile(path, path.with_name(f"{path.name}.1"))
                os.truncate(path, 0)


def _pod_of(path: Path) -> str:
    return path.name.partition(".log")[0].removesuffix(".previous")


def last_lines(path: Path, lines: int) -> list[str]:
    """The last lines that are not empty, as text; none when there is no log."""
    try:
        with path.open("rb") as log:
            log.seek(max(os.fstat(log.fileno()).st_size - _CHUNK, 0))
            end = log.read()
    except OSError:
        return []
    text = [line.strip() for line in end.decode(errors="replace").splitlines()]
    return [line for line in text if line][-lines:] if lines else []


def tail_offset(path: Path, lines: int) -> int:
    """Where the last *lines* lines of *path* begin."""
    with path.open("rb") as log:
        size = position = os.fstat(log.fileno()).st_size
        if lines <= 0:
            return size
        while position > 0:
            start = max(position - _CHUNK, 0)
            log.seek(start)
            chunk = log.read(position - start)
            at = len(chunk)
            while (at := chunk.rfind(b"\n", 0, at)) != -1:
                if start + at == size - 1:
                    continue  # ends the last line, begins none
                lines -= 1
                if lines == 0:
                    return start + at + 1
            position = start
    return 0


class _Reader:
    """Reads a log from where it stopped, through truncation and replacement."""

    def __init__(self, path: Path, tail: int | None) -> None:
        self._path = path
        self._log = path.open("rb") if path.exists() else None
        self._offset = tail_offset(path, tail) if tail is not None and self._log else 0

    def read(self) -> bytes:
        """What was added, at most a chunk of it."""
        if self._log is None:
            return b""
        if os.fstat(self._log.fileno()).st_size < self._offset:
            self._offset = 0  # emptied because it grew too long
        self._log.seek(self._offset)
        chunk = self._log.read(_CHUNK)
        self._offset += len(chunk)
        return chunk

    def go_on(self) -> bool:
        """Open the file that took the place of the one at its end; False if there is none."""
        if not self._path.exists() or (self._log is not None and self._is_open(self._log)):
            return False
        self.close()
        self._log, self._offset = self._path.open("rb"), 0
        return True

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()

    def _is_open(self, log: BufferedReader) -> bool:
        here, there = self._path.stat(), os.fstat(log.fileno())
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


async def read_log(
    path: Path, *, tail: int | None, follow: Callable[[], bool] | None, clock: Clock
) -> AsyncIterator[bytes]:
    """The content of *path*, its last *tail* lines only, going on while *follow* says so.

    A restart begins a new file of the same name; following goes on with it.
    """
    reader = _Reader(path, tail)
    try:
        while True:
            goes_on = follow is not None and follow()  # before reading: nothing comes after
            while chunk := reader.read():
                yield chunk
            if not goes_on:
                return
            if not reader.go_on():
                await clock.sleep(_FOLLOW_INTERVAL)
    finally:
        reader.close()
