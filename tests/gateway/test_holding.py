"""Requests for a model without a replica wait for one, within bounds."""

from __future__ import annotations

import asyncio
import json


async def test_a_request_for_a_model_at_zero_waits_wakes_it_and_is_answered(
    engine, gateway, post, until
):
    pod = await engine()
    door = await gateway()
    woken: list[str] = []
    door.on_held = woken.append
    request = post(door, model="alias")
    await until(lambda: door.held("m") == 1)
    assert woken == ["m"]
    assert door.stats("m").held == 1
    assert 'stoker_gateway_held{model="m"} 1' in door.page()
    door.set_backends("m", [pod.backend])
    assert (await request)[0] == 200
    assert door.held("m") == 0


async def test_all_that_wait_reach_the_replica_once(engine, gateway, post, until):
    pod = await engine()
    door = await gateway()
    requests = []
    for number in range(8):
        requests.append(post(door, number=number))
        await until(lambda want=number + 1: door.held("m") == want)
    door.set_backends("m", [pod.backend])
    await asyncio.gather(*requests)
    # They leave in order (test_dispatch), but by connections that may overtake each other.
    arrived = [json.loads(body)["number"] for _, body in pod.requests]
    assert sorted(arrived) == list(range(8))


async def test_a_wait_that_was_too_long_ends_with_503_a_reason_and_a_time(gateway, post):
    door = await gateway(hold=0.1)
    status, body, headers = await post(door)
    error = json.loads(body)["error"]
    assert status == 503
    assert "waited 0.1 s and no replica became ready" in error["message"]
    assert error["code"] == "hold_timeout"
    assert int(headers["Retry-After"]) > 0
    assert door.stats("m").failed == 1


async def test_more_than_the_queue_takes_get_429_and_the_others_are_served(
    engine, gateway, post, until
):
    pod = await engine()
    door = await gateway(queue_requests=3)
    waiting = [post(door) for _ in range(3)]
    await until(lambda: door.held("m") == 3)
    status, body, headers = await post(door)
    assert status == 429
    assert json.loads(body)["error"]["code"] == "queue_full"
    assert int(headers["Retry-After"]) > 0
    door.set_backends("m", [pod.backend])
    assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200, 200, 200]


async def test_a_model_that_waits_does_not_keep_another_from_being_served(
    engine, gateway, post, until
):
    pod = await engine()
    door = await gateway()
    door.set_models({"m": [], "other": []})
    door.set_backends("other", [pod.backend])
    waiting = post(door)
    await until(lambda: door.held("m") == 1)
    assert (await post(door, model="other"))[0] == 200
    assert not waiting.done()
    door.set_backends("m", [pod.backend])
    assert (await waiting)[0] == 200
