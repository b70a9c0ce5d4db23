"""Ends the replicas of a control process that died and was not replaced.

A program of its own, started as ``python -I -S watchdog.py STATE_DIR RUN TIMEOUT``: standard
library only and nothing of Stoker, so that it is small (13 MB) and cannot fall with it. Its
standard input is a pipe of which the control process holds the other end. A byte on it is a clean
stop; end of file is the death of the control process, however it died.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

LOCK_FILE = "lock"
_LOCK_PATIENCE = 2.0  # seconds
PODS_FOLDER = "pods"
LOG_FILE = "watchdog.log"


def process_identity(pid: int) -> str | None:
    """What tells *pid* from a later process of the same number; None: it does not run (any more).

    On Linux the boot and the start in clock ticks since then, which no step of the clock changes;
    elsewhere the start as ``ps`` prints it. A zombie does not run.
    """
    if sys.platform != "linux":
        return _identity_from_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before `)` may hold anything
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return f"{boot}:{fields[19]}"


def _identity_from_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def runs(pid: int, identity: str) -> bool:
    """Whether the very process that was recorded still runs."""
    return process_identity(pid) == identity


def send(pid: int, number: int) -> None:
    """Signal a process that may have gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_group(pid: int) -> None:
    """SIGKILL the process group that *pid* leads: workers outlive an API server that crashed."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def lock_holder(state_dir: Path) -> dict[str, Any]:
    """What the holder of the state directory wrote into the lock file; {} while it writes."""
    try:
        holder = json.loads((state_dir / LOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _now() -> float:
    return time.monotonic()  # noqa: TID251 - not part of Stoker's process, has no Clock


def _wait(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - not part of Stoker's process, has no Clock


def _was_replaced(state_dir: Path, run: str, timeout: float) -> bool:
    """Wait for another ``stoker up`` on this state directory. Reading disturbs nobody's lock."""
    deadline = _now() + timeout
    while True:
        if lock_holder(state_dir).get("run", run) != run:
            return True
        left = deadline - _now()
        if left <= 0:
            return False
        _wait(min(left, 0.5))


def _records(state_dir: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((state_dir / PODS_FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            yield path, json.loads(path.read_text(encoding="utf-8"))


def end_replicas(state_dir: Path) -> list[str]:
    """SIGTERM to every recorded replica, SIGKILL to the group after its grace period.

    Returns their names.
    """
    waiting: dict[Path, tuple[int, str, float]] = {}
    ended = []
    for path, record in _records(state_dir):
        pid, identity = int(record["pid"]), str(record["identity"])
        if not runs(pid, identity):
            path.unlink(missing_ok=True)
            continue
        send(pid, signal.SIGTERM)
        waiting[path] = pid, identity, _now() + float(record["grace_period"])
        ended.append(str(record["name"]))
    while waiting:
        for path, (pid, identity, deadline) in list(waiting.items()):
            if runs(pid, identity) and _now() < deadline:
                continue
            kill_group(pid)
            path.unlink(missing_ok=True)
            del waiting[path]
        _wait(0.1)
    return ended


def _locked(lock: TextIO) -> bool:
    """Take the lock; False when somebody else has it.

    A process that is killed closes its files one after another: our pipe may end some moments
    before its lock is free.
    """
    deadline = _now() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _now() >= deadline:
                return False
            _wait(0.05)
        else:
            return True


def _take_over(state_dir: Path, run: str) -> None:
    """End the replicas while holding the lock, so that no ``stoker up`` adopts a dying one."""
    with (state_dir / LOCK_FILE).open("r+", encoding="utf-8") as lock:
        if not _locked(lock) or lock_holder(state_dir).get("run", run) != run:
            return
        lock.truncate(0)
        json.dump({"pid": os.getpid(), "run": run, "role": "watchdog"}, lock)
        lock.flush()
        names = end_replicas(state_dir)
        with contextlib.suppress(OSError), (state_dir / LOG_FILE).open("a") as log:
            log.write(f"stoker up is gone; ended {len(names)} replicas: {' '.join(names)}\n")


def main(arguments: list[str]) -> int:
    """Wait for the control process to stop or to die."""
    state_dir, run, timeout = Path(arguments[0]), arguments[1], float(arguments[2])
    if os.read(0, 1):
        return 0
    if not _was_replaced(state_dir, run, timeout):
        _take_over(state_dir, run)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
