"""Gateway processes as the system sees them: how one starts, ends, and is found by a later run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def start(link: Path, number: int, listening: int, table: int) -> subprocess.Popen[bytes]:
    """Start one that listens at the file descriptor *listening*."""
    return subprocess.Popen(
        [sys.executable, "-m", "stoker.gateway.worker",
         f"--link={link}", f"--fd={listening}", f"--table={table}", f"--number={number}"],
        pass_fds=[listening, table],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


async def ended(child: subprocess.Popen[bytes]) -> None:
    """Wait for a child without a thread where the system can tell."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    try:
        fd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        await asyncio.to_thread(child.wait)
        return

    def readable() -> None:
        loop.remove_reader(fd)
        if not done.done():
            done.set_result(None)

    loop.add_reader(fd, readable)
    try:
        await done
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    child.wait()


def is_worker(pid: int) -> bool:
    """Whether *pid* is a gateway process, as far as one can see."""
    try:
        return b"stoker.gateway.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def note(record: Path, port: int, pids: Iterable[int]) -> None:
    """Write down who serves, for a run that comes after this one is killed."""
    text = json.dumps({"port": port, "pids": list(pids)})
    temporary = record.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(record)


def noted(record: Path) -> list[int]:
    """Who served when the run before this one ended, if they still run."""
    try:
        pids = [int(pid) for pid in json.loads(record.read_text(encoding="utf-8"))["pids"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [pid for pid in pids if is_worker(pid)]
