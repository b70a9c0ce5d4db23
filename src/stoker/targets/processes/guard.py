"""Keeps the watchdog running for as long as the control process does."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import IO

from stoker.clock import Clock
from stoker.targets.processes import watchdog
from stoker.targets.processes.process import LocalProcess

_RESTART_DELAY = 1.0


class Guard:
    """Starts the watchdog, and another one should somebody kill it."""

    def __init__(self, state_dir: Path, run: str, orphan_timeout: float, clock: Clock) -> None:
        self._arguments = [str(state_dir), run, str(orphan_timeout)]
        self._clock = clock
        self._process: LocalProcess | None = None
        self._pipe: IO[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The watchdog's pid."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it. Raises OSError."""
        process = self._start()
        self._keeper = asyncio.create_task(self._keep(process), name="watchdog")

    async def stop(self) -> None:
        """Tell the watchdog that nothing is left to do, and wait for it."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        keeper.cancel()
        await asyncio.wait({keeper})
        self._hang_up(b"q")
        if self._process is not None:
            await self._process.wait()

    def _start(self) -> LocalProcess:
        # -S: site-packages alone would double its memory.
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        self._pipe = child.stdin
        identity = watchdog.process_identity(child.pid) or ""
        self._process = LocalProcess(child.pid, identity, child)
        return self._process

    def _hang_up(self, last_words: bytes = b"") -> None:
        if self._pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # it died before we could tell it
                self._pipe.write(last_words)
                self._pipe.flush()
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()
            self._pipe = None

    async def _keep(self, process: LocalProcess) -> None:
        while True:
            await process.wait()
            self._hang_up()
            await self._clock.sleep(_RESTART_DELAY)
            with contextlib.suppress(OSError):  # no process to be had now; try again in a second
                process = self._start()
