"""A client that goes away ends its request everywhere, at once."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web


@pytest.fixture
async def leave(client):
    """Send a request and go away when told."""

    def send(gateway, **body):
        async def ask() -> None:
            async with client.post(
                gateway.url + "/v1/chat/completions", json={"model": "m"} | body
            ) as answer:
                await answer.content.read()

        return asyncio.create_task(ask())

    return send


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "one-piece"])
async def test_the_engine_sees_it(stream, engine, gateway, leave, until):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod)
    request = leave(door, stream=stream)
    await until(lambda: len(pod.requests) == 1)
    assert door.in_flight("pod-1") == 1
    request.cancel()
    await until(lambda: pod.cancelled == 1)
    await until(lambda: door.in_flight("pod-1") == 0)
    assert 'stoker_gateway_requests_total{model="m",code="499"} 1' in door.page()
    assert (door.stats("m").ok, door.stats("m").failed) == (0, 0)


async def test_the_queue_loses_it_and_the_others_are_served(engine, gateway, leave, post, until):
    pod = await engine()
    door = await gateway()
    gone, stays = leave(door), post(door)
    await until(lambda: door.held("m") == 2)
    gone.cancel()
    await until(lambda: door.held("m") == 1)
    door.set_backends("m", [pod.backend])
    assert (await stays)[0] == 200
    assert len(pod.requests) == 1


async def test_a_slow_reader_slows_the_engine_and_not_the_gateways_memory(
    engine, gateway, client, until
):
    written = 0

    async def flood(request, _body):
        nonlocal written
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(2000):
            await response.write(b"x" * 65536)  # 128 MB in all
            written += 65536
        return response

    pod = await engine()
    pod.answer = flood
    door = await gateway(pod)
    async with client.post(
        door.url + "/v1/completions", json={"model": "m", "stream": True}
    ) as answer:
        await answer.content.readany()
        last = -1
        while last != written:  # until nothing moves any more
            last = written
            await asyncio.sleep(0.1)
    assert written < 40_000_000
    await until(lambda: pod.cancelled == 1)
