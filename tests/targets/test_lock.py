"""One control process for a state directory."""

import asyncio
import fcntl
import json
import os

import pytest

from stoker.clock import LoopClock
from stoker.errors import ConflictError
from stoker.targets.processes.lock import StateLock
from stoker.targets.processes.watchdog import lock_holder

pytestmark = pytest.mark.looptime


async def test_the_file_says_who_holds_the_lock(tmp_path):
    lock = StateLock(tmp_path, "run 1")
    await lock.acquire(LoopClock())
    assert lock_holder(tmp_path) == {"pid": os.getpid(), "run": "run 1", "role": "stoker up"}
    lock.release()


async def test_a_held_lock_is_a_conflict_with_pid_and_way_out(tmp_path):
    lock = StateLock(tmp_path, "run 1")
    await lock.acquire(LoopClock())
    with pytest.raises(ConflictError, match=f"pid {os.getpid()}") as conflict:
        await StateLock(tmp_path, "run 2").acquire(LoopClock())
    assert "use another --state-dir" in conflict.value.hint
    assert lock_holder(tmp_path)["run"] == "run 1"
    lock.release()


async def test_a_stale_file_locks_nothing(tmp_path):
    (tmp_path / "lock").write_text('{"pid": 1, "run": "old"}')
    lock = StateLock(tmp_path, "run 2")
    await lock.acquire(LoopClock())
    assert lock_holder(tmp_path)["run"] == "run 2"
    lock.release()


async def test_a_released_lock_can_be_taken_again(tmp_path):
    for run in ("run 1", "run 2"):
        lock = StateLock(tmp_path, run)
        await lock.acquire(LoopClock())
        lock.release()
        lock.release()


@pytest.fixture
def watchdog(tmp_path):
    """A watchdog that is ending the replicas of an earlier run."""
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"pid": 77, "run": "old", "role": "watchdog"}, file)
        file.flush()
        yield file


async def test_a_watchdog_at_work_is_waited_for(tmp_path, watchdog):
    lock = StateLock(tmp_path, "run 2")
    acquiring = asyncio.create_task(lock.acquire(LoopClock()))
    await asyncio.sleep(2)
    assert not acquiring.done()
    watchdog.close()
    await acquiring
    lock.release()


@pytest.mark.usefixtures("watchdog")
async def test_a_watchdog_that_takes_long_is_told(tmp_path):
    with pytest.raises(ConflictError, match="still being stopped \\(pid 77\\)") as conflict:
        await StateLock(tmp_path, "run 2").acquire(LoopClock())
    assert asyncio.get_running_loop().time() == 5
    assert "try again" in conflict.value.hint
