"""A process on this machine: started or found again, watched to its end, signalled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from stoker.targets.processes import watchdog

# The child waits for a line before it becomes the engine. If the control process dies between the
# start and the record of it, the line never comes and no engine runs that nobody knows of.
_GATE = 'IFS= read -r go || exit 125; exec "$@" </dev/null'

_POLL_INTERVAL = 1.0  # where the kernel has no pidfd


class Process(Protocol):
    """The main process of a replica."""

    @property
    def pid(self) -> int:
        """Its number; it leads a process group of the same number."""
        ...

    @property
    def identity(self) -> str:
        """What tells it from a later process of the same number."""
        ...

    @property
    def exited(self) -> bool:
        """Whether it is gone."""
        ...

    async def wait(self) -> int | None:
        """Wait for the end; the exit code, -N for signal N, None: not our child, nobody knows."""
        ...

    def terminate(self) -> None:
        """SIGTERM to the main process alone: the engine ends its workers itself."""
        ...

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        ...


class Launcher(Protocol):
    """What starts processes and finds them again."""

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        log_file: Path,
        record: Callable[[Process], None],
    ) -> Process:
        """Start *argv* with its output to *log_file*, once *record* has noted the process.

        Raises OSError: no such program, a full disk, and what *record* raises.
        """
        ...

    def find(self, pid: int, identity: str) -> Process | None:
        """The recorded process, None when it is gone."""
        ...


class LocalProcess:
    """A process that is waited for without polling (pidfd), whether it is our child or adopted."""

    def __init__(
        self, pid: int, identity: str, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        self.identity = identity
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int | None] = self._loop.create_future()
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended()
        except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
            self._poll()
        else:
            self._loop.add_reader(self._fd, self._pidfd_readable)

    @property
    def exited(self) -> bool:
        """Whether it is gone."""
        return self._exit.done()

    async def wait(self) -> int | None:
        """Wait for the end."""
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        """SIGTERM to the main process."""
        if not self.exited:
            watchdog.send(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the process group."""
        if not self.exited:
            watchdog.kill_group(self.pid)

    def _pidfd_readable(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._ended()

    def _poll(self) -> None:
        if watchdog.runs(self.pid, self.identity):
            self._loop.call_later(_POLL_INTERVAL, self._poll)
        else:
            self._ended()

    def _ended(self) -> None:
        # Before our child is reaped its number cannot be given to another: the group is the right
        # one. What is left in it are workers whose API server crashed.
        watchdog.kill_group(self.pid)
        code = None if self._child is None else self._child.wait()
        if not self._exit.done():
            self._exit.set_result(code)


class LocalLauncher:
    """Starts processes in sessions of their own: Ctrl-C in the terminal does not reach them."""

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        log_file: Path,
        record: Callable[[Process], None],
    ) -> LocalProcess:
        """Start *argv*. See Launcher."""
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise FileNotFoundError(f'exec: "{argv[0]}": executable file not found in $PATH')
        with log_file.open("ab") as log:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "stoker-replica", *argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )
        gate = child.stdin
        if gate is None:
            raise OSError("no pipe to the new process")
        identity = watchdog.process_identity(child.pid) or ""
        process = LocalProcess(child.pid, identity, child)
        try:
            record(process)
            with contextlib.suppress(BrokenPipeError):  # killed already; its exit will tell
                gate.write(b"go\n")
                gate.flush()
        finally:
            with contextlib.suppress(BrokenPipeError):
                gate.close()
        return process

    def find(self, pid: int, identity: str) -> LocalProcess | None:
        """The recorded process, None when it is gone."""
        return LocalProcess(pid, identity) if watchdog.runs(pid, identity) else None
