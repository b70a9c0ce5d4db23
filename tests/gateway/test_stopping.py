"""The end of the gateway: nothing new, what runs may finish."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from stoker.errors import ConflictError
from stoker.gateway.listen import open_sockets


async def test_streams_finish_and_new_requests_get_503_meanwhile(
    engine, gateway, post, until, events
):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod)
    running = post(door, stream=True)
    await until(lambda: len(pod.requests) == 1)
    stopping = asyncio.create_task(door.stop(5))
    await asyncio.sleep(0)
    status, body, headers = await post(door)
    assert status == 503
    assert b"The gateway is stopping" in body
    assert "Retry-After" in headers
    assert not stopping.done()
    pod.gate.set()
    await stopping
    status, body, _ = await running
    assert (status, body) == (200, b"".join(events))


async def test_after_the_grace_what_still_runs_is_cut(engine, gateway, post, until):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod)
    running = post(door, stream=True)
    await until(lambda: len(pod.requests) == 1)
    await door.stop(0.05)
    with pytest.raises(aiohttp.ClientError):
        await running
    await until(lambda: pod.cancelled == 1)


async def test_requests_that_wait_for_a_replica_are_told_at_once(gateway, post, until):
    door = await gateway()
    waiting = post(door)
    await until(lambda: door.held("m") == 1)
    await door.stop(5)
    assert (await waiting)[0] == 503


async def test_stopping_an_idle_gateway_takes_no_time(gateway, post):
    door = await gateway()
    await post(door, model="nope")  # leaves an idle connection
    async with asyncio.timeout(1):
        await door.stop(30)


async def test_a_taken_port_is_said_plainly(gateway):
    door = await gateway()
    with pytest.raises(ConflictError, match=f"cannot listen on 127.0.0.1:{door.port}") as refused:
        open_sockets("127.0.0.1", door.port, 1)
    assert "--gateway-port" in refused.value.hint
