"""Shared memory with a row for each gateway process, and a cell for each thing that is counted.

All words have 8 bytes and are aligned, so that each is written and read whole. A process writes no
row but its own, which takes no lock. Which cell is whose is settled under a lock, when a process
counts something for the first time. The memory has no name: it lives as long as one process that
has it open, and whoever may debug such a process can open it (`Table.of_process`).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_MAGIC: Final = 0x53746F6B65720001  # "Stoker" and the version of the layout
ROWS: Final = 128  # twice as many as `--workers` may be: old ones may finish while new ones serve
_CELLS: Final = 8192
_WINDOW: Final = 32  # cells from its own on in which a thing may be
_CELL_WORDS: Final = 5  # whose it is, and four numbers
_WORD: Final = 8
_HEAD: Final = 8  # words of the table before its rows: the magic number, rows that were ever used
_ROW_HEAD: Final = 2  # words of a row before its cells: the process, when it started
_ROW_WORDS: Final = _ROW_HEAD + _CELLS * _CELL_WORDS
_SIZE: Final = (_HEAD + ROWS * _ROW_WORDS) * _WORD  # 42 MB; the system keeps what was written to
_USED: Final = 1


class Table:
    """The memory itself."""

    def __init__(self, fd: int, *, new: bool = False) -> None:
        self.fd = fd
        if new:
            os.ftruncate(fd, _SIZE)
        if os.fstat(fd).st_size != _SIZE:
            raise ValueError("not a table of this version")
        self._map = mmap.mmap(fd, _SIZE)
        self.words = memoryview(self._map).cast("q")
        if new:
            self.words[0] = _MAGIC
        if self.words[0] != _MAGIC:
            self.close()
            raise ValueError("not a table of this version")

    @classmethod
    def create(cls) -> Table:
        """A new one, all zeros."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("stoker-gateway"), new=True)
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()), new=True)

    @classmethod
    def of_process(cls, pid: int, fd: int) -> Table | None:
        """The one that *pid* has open as *fd*; None: it has none, or that cannot be seen."""
        try:
            found = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return cls(found)
        except (OSError, ValueError):
            os.close(found)
            return None

    def is_same(self, other: Table) -> bool:
        """Whether both are one memory."""
        mine, theirs = os.fstat(self.fd), os.fstat(other.fd)
        return (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino)

    def close(self) -> None:
        """Let go of it."""
        if self.fd >= 0:
            self.words.release()
            self._map.close()
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from settling whose cells and rows are whose."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, _WORD)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, _WORD)

    # -- rows ------------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Rows that have ever been somebody's: those beyond are zeros."""
        return self.words[_USED]

    def owner(self, number: int) -> tuple[int, int]:
        """The process that has a row, and when it started; zeros: nobody has it."""
        at = base_of(number)
        return self.words[at], self.words[at + 1]

    def take(self, number: int, pid: int) -> None:
        """Give a row to *pid*, as zeros."""
        with self.locked():
            self._zero(number)
            at = base_of(number)
            self.words[at + 1] = started(pid) or 0
            self.words[at] = pid
            self.words[_USED] = max(self.used, number + 1)

    def clear(self, number: int, pid: int) -> bool:
        """Take a row from *pid*. Whether it had it."""
        with self.locked():
            if self.owner(number)[0] != pid or not pid:
                return False
            self._zero(number)
            return True

    def dead(self) -> list[tuple[int, int]]:
        """Rows whose process does not run any more, with its number."""
        owners = ((number, *self.owner(number)) for number in range(self.used))
        return [(n, pid) for n, pid, since in owners if pid and (started(pid) or -1) != since]

    def free_rows(self) -> Iterator[int]:
        """Rows that nobody has."""
        return (number for number in range(ROWS) if not self.owner(number)[0])

    def _zero(self, number: int) -> None:
        at = base_of(number) * _WORD
        self._map[at : at + _ROW_WORDS * _WORD] = bytes(_ROW_WORDS * _WORD)


class Cell:
    """Four numbers of one thing: this process's own, which only it writes, and the others'."""

    __slots__ = ("_at", "_base", "_peers", "_words")

    def __init__(
        self, words: memoryview[int] | list[int], at: int, base: int, peers: list[int]
    ) -> None:
        self._words = words
        self._at = at  # its first number's place in a row; before it stands whose it is
        self._base = base  # this process's row
        self._peers = peers  # the other rows

    def put(self, which: int, value: int) -> None:
        """Write one of this process's numbers."""
        self._words[self._base + self._at + which] = value

    def own(self, which: int) -> int:
        """One of this process's numbers."""
        return self._words[self._base + self._at + which]

    def others(self, which: int) -> int:
        """The sum of the other processes' numbers."""
        words, at, total = self._words, self._at + which, 0
        for base in self._peers:
            total += words[base + at]
        return total

    def places(self, which: int) -> list[int]:
        """Where the other processes' numbers are in the table, for those who read them often."""
        return [base + self._at + which for base in self._peers]

    def highest(self, which: int) -> int:
        """The highest of all processes' numbers."""
        words, at = self._words, self._at + which
        found = words[self._base + at]
        for base in self._peers:
            found = max(found, words[base + at])
        return found

    def drop(self) -> None:
        """Count the thing no more."""
        first = self._base + self._at
        for at in (*range(first, first + _CELL_WORDS - 1), first - 1):
            self._words[at] = 0

    def each(self, which: int) -> Iterator[tuple[int, int]]:
        """The other processes' rows and their numbers."""
        for base in self._peers:
            yield (base - _HEAD) // _ROW_WORDS, self._words[base + self._at + which]


class Row:
    """This process's row, and what it needs of the others."""

    def __init__(self, table: Table, number: int, pid: int) -> None:
        self.table = table
        self.number = number
        self._pid = pid
        self._base = base_of(number)
        self._peers: list[int] = []
        self._used = 0
        table.take(number, pid)
        self.look_for_peers()

    def look_for_peers(self) -> bool:
        """Whether other processes have begun: then their numbers are in other places, too."""
        if self.table.used == self._used:
            return False
        self._used = self.table.used
        self._peers[:] = (base_of(n) for n in range(self._used) if n != self.number)
        return True

    def peers(self) -> list[int]:
        """The rows of the other processes that run."""
        others = (number for number in range(self._used) if number != self.number)
        return [number for number in others if self.table.owner(number)[0]]

    def cell(self, *name: str) -> Cell:
        """The cell of what has this name in every process."""
        digest = blake2b("\0".join(name).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        claim = int.from_bytes(digest, "little") >> 1 or 1
        with self.table.locked():
            at = self._find(claim)
            if at is not None:
                self.table.words[self._base + at] = claim
                return Cell(self.table.words, at + 1, self._base, self._peers)
        _log.warning("the gateway's table is full: %s is counted by each process alone", name)
        return Cell([0] * _CELL_WORDS, 1, 0, [])  # it has no peers

    def bury(self) -> list[int]:
        """Clear the rows of processes that run no more; which they were."""
        return [number for number, pid in self.table.dead() if self.table.clear(number, pid)]

    def leave(self) -> None:
        """Give the row back."""
        self.table.clear(self.number, self._pid)

    def _find(self, claim: int) -> int | None:
        """Where a cell is, or may be: nobody has that place for anything else."""
        words = self.table.words
        bases = [base_of(number) for number in range(self.table.used)]
        first = claim % (_CELLS - _WINDOW)
        free = None
        for index in range(first, first + _WINDOW):
            at = _ROW_HEAD + index * _CELL_WORDS
            claims = {words[base + at] for base in bases} - {0}
            if claim in claims:
                return at
            if not claims and free is None:
                free = at
        return free


def base_of(number: int) -> int:
    """The first word of a row."""
    return _HEAD + number * _ROW_WORDS


def started(pid: int) -> int | None:
    """When a process started, in the system's ticks; None: it does not run. A zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _started_without_proc(pid)
    fields = stat.rpartition(")")[2].split()  # the name before `)` may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def _started_without_proc(pid: int) -> int | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0
