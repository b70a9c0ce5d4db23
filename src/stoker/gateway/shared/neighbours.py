"""How the processes of a gateway wake each other: a named pipe for each, below the state directory.

A byte in it means: look again, there may be room for you. A process that is started anew opens the
pipe that was there, so that the others need not know. What is lost, or said to one that hangs, is
made good by a look around four times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stoker.gateway.policy import Action
from stoker.gateway.shared.dispatching import SharedDispatcher
from stoker.gateway.shared.table import Row

if TYPE_CHECKING:
    from stoker.gateway.plane import Plane

_LOOK_EVERY: Final = 0.25
_PIPEFUL: Final = 1 << 16


class Neighbours:
    """Makes a data plane one of several.

    Args:
        plane: It may serve already.
        row: Its part of the table.
        link: The control process's socket; the pipes are beside it.
    """

    def __init__(self, plane: Plane, row: Row, link: Path) -> None:
        self._plane = plane
        self._row = row
        self._link = link
        self._pipes: dict[int, int] = {}  # to others, by their rows
        path = pipe_path(link, row.number)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # For writing, too: it has no end while no other process has it open.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        plane.loop.add_reader(self._pipe, self._woken)
        row.look_for_peers()
        dispatcher = plane.dispatcher
        if isinstance(dispatcher, SharedDispatcher):
            raise TypeError("it is one of several already")
        self._dispatcher = plane.dispatcher = SharedDispatcher(dispatcher, row, self._wake)
        if plane.keys is not None:
            plane.keys.row = row
        self._wake_all()  # there is one more
        self._timer: asyncio.TimerHandle = plane.loop.call_later(_LOOK_EVERY, self._look_around)

    def close(self) -> None:
        """Leave the others alone; what they wait for may be theirs now."""
        self._timer.cancel()
        self._plane.loop.remove_reader(self._pipe)
        self._row.leave()
        self._wake_all()
        for pipe in (self._pipe, *self._pipes.values()):
            os.close(pipe)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe, _PIPEFUL)
        self._plane.decide(self._dispatcher.tick)

    def _look_around(self) -> None:
        look: Callable[[float], Sequence[Action]] = self._dispatcher.look_around
        self._plane.decide(look)
        self._timer = self._plane.loop.call_later(_LOOK_EVERY, self._look_around)

    def _wake_all(self) -> None:
        for number in self._row.peers():
            self._wake(number)

    def _wake(self, number: int) -> None:
        pipe = self._pipes.get(number)
        try:
            if pipe is None:
                pipe = self._pipes[number] = open_pipe(self._link, number)
            os.write(pipe, b"\0")
        except BlockingIOError:
            pass  # it has been told often enough
        except OSError:
            self._pipes.pop(number, None)  # it is about to open it, or gone
            if pipe is not None:
                os.close(pipe)


def open_pipe(link: Path, number: int) -> int:
    """The pipe of the process with that row, for writing.

    Raises:
        OSError: nobody reads from it.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(pipe_path(link, number), flags)


def pipe_path(link: Path, number: int) -> Path:
    """Where the pipe of the process with that row is."""
    return link.with_suffix(f".{number}.wake")


def wake_all(link: Path, numbers: Sequence[int]) -> None:
    """Wake these processes, for one that has no pipe of its own."""
    for number in numbers:
        with contextlib.suppress(OSError):
            pipe = open_pipe(link, number)
            try:
                os.write(pipe, b"\0")
            finally:
                os.close(pipe)


def remove_pipes(link: Path) -> None:
    """Clear up after the last process."""
    for path in link.parent.glob(f"{link.stem}.*.wake"):
        path.unlink(missing_ok=True)
