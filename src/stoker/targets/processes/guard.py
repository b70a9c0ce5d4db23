"""Keeps the watchdog running for as long as the control process does."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

from stoker.clock import Clock
from stoker.targets.processes import watchdog
from stoker.targets.processes.process import LocalProcess

_RESTART_DELAY = 1.0


class Guard:
    """Starts the watchdog, and another one should somebody kill it."""

    def __init__(self, state_dir: Path, run: str, orphan_timeout: float, clock: Clock) -> None:
        self._arguments = [str(state_dir), run, str(orphan_timeout)]
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The watchdog's pid."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start it. Raises OSError."""
        process = self._start()
        self._keeper = asyncio.create_task(self._keep(process), name="watchdog")

    async def stop(self) -> None:
        """Tell the watchdog that nothing is left to do, and wait for it."""
        keeper, child = self._keeper, self._child
        if keeper is None or child is None or child.stdin is None:
            return
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(b"q")
            child.stdin.close()
        await asyncio.to_thread(child.wait)
        self._child = self._keeper = None

    def _start(self) -> LocalProcess:
        # -S: site-packages alone would triple its memory.
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        identity = watchdog.process_identity(self._child.pid) or ""
        return LocalProcess(self._child.pid, identity, self._child)

    async def _keep(self, process: LocalProcess) -> None:
        while True:
            await process.wait()
            if self._child is not None and self._child.stdin is not None:
                self._child.stdin.close()
            await self._clock.sleep(_RESTART_DELAY)
            process = self._start()
