"""GPUs go to who came first, each to one pod at a time."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from stoker.targets.processes.gpus import GpuPool


async def test_lowest_free_ids_come_first():
    pool = GpuPool(4)
    assert await pool.take(2) == (0, 1)
    pool.release((0,))
    assert await pool.take(2) == (0, 2)


async def test_a_pod_without_gpus_never_waits():
    pool = GpuPool(0)
    assert await pool.take(0) == ()


async def test_who_waited_longer_is_served_first():
    pool = GpuPool(1)
    held = await pool.take(1)
    first, second = (asyncio.create_task(pool.take(1)) for _ in range(2))
    await asyncio.sleep(0)
    pool.release(held)
    await asyncio.sleep(0)
    assert (first.done(), second.done()) == (True, False)
    pool.release(first.result())
    assert await second == (0,)


async def test_a_large_pod_does_not_hold_up_a_small_one():
    pool = GpuPool(2)
    held = await pool.take(2)
    large, small = asyncio.create_task(pool.take(2)), asyncio.create_task(pool.take(1))
    await asyncio.sleep(0)
    pool.release(held[:1])
    await asyncio.sleep(0)
    assert not large.done()
    assert small.result() == (0,)
    large.cancel()


async def test_who_stops_waiting_gives_back_what_came_in_the_same_moment():
    pool = GpuPool(1)
    held = await pool.take(1)
    waiting = asyncio.create_task(pool.take(1))
    await asyncio.sleep(0)
    pool.release(held)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert pool.free == 1


async def test_who_stopped_waiting_is_not_served():
    pool = GpuPool(1)
    held = await pool.take(1)
    waiting = asyncio.create_task(pool.take(1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    pool.release(held)
    assert pool.free == 1


async def test_ids_of_an_adopted_replica_beyond_the_pool_are_not_handed_out():
    pool = GpuPool(1)
    pool.reserve((0, 7))
    assert not pool.fits(1)
    pool.release((0, 7))
    assert pool.free == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=40))
async def test_no_gpu_is_ever_given_twice(steps):
    pool, tasks, held = GpuPool(3), [], []
    for takes, number in steps:
        if takes:
            tasks.append(asyncio.create_task(pool.take(number)))
        elif held:
            pool.release(held.pop(0))
        await asyncio.sleep(0)
        held += [task.result() for task in tasks if task.done()]
        tasks = [task for task in tasks if not task.done()]
        ids = [gpu for claim in held for gpu in claim]
        assert len(ids) == len(set(ids))
        assert len(ids) + pool.free == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
