"""One ``stoker up`` for a state directory: a lock that goes with the process that holds it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TextIO

from stoker.clock import Clock
from stoker.errors import ConflictError
from stoker.targets.processes.watchdog import LOCK_FILE, lock_holder

_PATIENCE = 5.0  # a watchdog that ends replicas of an earlier run is soon done, if they are willing
_RETRY_INTERVAL = 0.25


class StateLock:
    """An flock on ``STATE_DIR/lock``; the file says who holds it. A stale file locks nothing."""

    def __init__(self, state_dir: Path, run: str) -> None:
        self._state_dir = state_dir
        self._run = run
        self._file: TextIO | None = None

    async def acquire(self, clock: Clock) -> None:
        """Take the lock. Raises ConflictError with the pid of who has it."""
        deadline = clock.now() + _PATIENCE
        while not self._try():
            holder = lock_holder(self._state_dir)
            if holder.get("role") != "watchdog" or clock.now() >= deadline:
                raise _conflict(self._state_dir, holder)
            await clock.sleep(_RETRY_INTERVAL)

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _try(self) -> bool:
        file = (self._state_dir / LOCK_FILE).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        file.truncate(0)
        json.dump({"pid": os.getpid(), "run": self._run, "role": "stoker up"}, file)
        file.flush()
        return True


def _conflict(state_dir: Path, holder: dict[str, object]) -> ConflictError:
    pid = holder.get("pid", "unknown")
    if holder.get("role") == "watchdog":
        return ConflictError(
            f"the replicas of an earlier `stoker up` are still being stopped (pid {pid})",
            hint="try again in a few seconds, or use another --state-dir",
        )
    return ConflictError(
        f"another `stoker up` (pid {pid}) uses the state directory {state_dir}",
        hint=f"stop it with Ctrl-C or `kill {pid}`, or use another --state-dir",
    )
