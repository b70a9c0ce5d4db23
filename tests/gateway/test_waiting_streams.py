"""Signs of life for streams that wait, deadlines of clients, and bodies that wait on disk."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest


async def test_a_stream_that_waits_gets_signs_of_life_and_then_its_answer(
    engine, gateway, post, until, events
):
    pod = await engine()
    door = await gateway(heartbeat=0.05)
    request = post(door, stream=True)
    await until(lambda: door.held("m") == 1)
    await asyncio.sleep(1.2)  # two looks of the sweeper
    door.set_backends("m", [pod.backend])
    status, body, headers = await request
    assert status == 200
    assert headers["Content-Type"].startswith("text/event-stream")
    beats, answer = body[: body.index(b"data:")], body[body.index(b"data:") :]
    assert beats.count(b": the model is starting\n") >= 2
    assert b"\n\n" not in beats
    assert answer == b"".join(events)
    assert 'stoker_gateway_output_tokens_total{model="m"} 2' in door.page()


async def test_a_request_that_is_no_stream_gets_none(engine, gateway, post, until):
    pod = await engine()
    door = await gateway(heartbeat=0.05)
    request = post(door)
    await until(lambda: door.held("m") == 1)
    await asyncio.sleep(0.6)
    door.set_backends("m", [pod.backend])
    status, body, _ = await request
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "pod-1")


async def test_after_a_sign_of_life_errors_come_in_the_stream(gateway, post):
    door = await gateway(heartbeat=0.05, hold=1.0)
    status, body, _ = await post(door, stream=True)
    assert status == 200
    last = body.rstrip(b"\n").rpartition(b"\n")[2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "hold_timeout"
    assert 'stoker_gateway_requests_total{model="m",code="503"} 1' in door.page()


async def test_after_a_sign_of_life_an_engines_error_becomes_an_event(engine, gateway, post, until):
    pod = await engine()
    pod.answer = pod.write(
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
        b'Content-Length: 29\r\n\r\n{"error":\n{"message":"long"}}'
    )
    door = await gateway(heartbeat=0.05)
    request = post(door, stream=True)
    await until(lambda: door.held("m") == 1)
    await asyncio.sleep(0.7)
    door.set_backends("m", [pod.backend])
    _, body, _ = await request
    event = body[body.index(b"data:") :]
    assert event == b'data: {"error":\ndata: {"message":"long"}}\n\n'


async def test_empty_chunks_for_clients_whose_timers_do_not_count_comments(engine, gateway, until):
    pod = await engine()
    door = await gateway(heartbeat=0.05, heartbeat_chunks=True)
    sdk = openai.AsyncOpenAI(base_url=door.url + "/v1", api_key="k", max_retries=0)

    async def ask() -> list[str]:
        stream = await sdk.chat.completions.create(model="m", messages=[], stream=True)
        return [c.choices[0].delta.content or "" async for c in stream if c.choices]

    asked = asyncio.ensure_future(ask())
    await until(lambda: door.held("m") == 1)
    await asyncio.sleep(0.7)
    door.set_backends("m", [pod.backend])
    assert "".join(await asked) == "Hi!"
    await sdk.close()


@pytest.mark.parametrize("patience", ["0.2", "200ms", "0.2s"])
async def test_a_clients_own_deadline_is_kept_while_it_waits(patience, gateway, post):
    status, body, headers = await post(await gateway(), headers={"X-Request-Timeout": patience})
    assert status == 504
    assert json.loads(body)["error"]["code"] == "deadline_exceeded"
    assert int(headers["Retry-After"]) > 0


async def test_and_until_the_first_byte_of_the_answer(engine, gateway, post, until):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod)
    status, body, _ = await post(door, headers={"X-Request-Timeout": "0.2"})
    assert status == 504
    assert "had not begun to answer after 0.2 s" in json.loads(body)["error"]["message"]
    await until(lambda: pod.cancelled == 1)
    assert door.in_flight("pod-1") == 0


async def test_but_a_stream_that_runs_is_not_cut(engine, gateway, post, until, events):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod)
    request = post(door, headers={"X-Request-Timeout": "0.2"}, stream=True)
    await until(lambda: len(pod.requests) == 1)
    await asyncio.sleep(0.8)
    pod.gate.set()
    assert (await request)[:2] == (200, b"".join(events))


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1e9999"])
async def test_a_deadline_that_is_none_is_refused(value, gateway, post):
    status, body, _ = await post(await gateway(), headers={"X-Request-Timeout": value})
    assert (status, json.loads(body)["error"]["param"]) == (400, "X-Request-Timeout")


async def test_low_priority_lets_others_pass(engine, gateway, post, until):
    pod = await engine()
    door = await gateway(limit=1)
    low = post(door, headers={"X-Stoker-Priority": "low"}, number=1)
    await until(lambda: door.held("m") == 1)
    field = post(door, priority=5, number=2)
    await until(lambda: door.held("m") == 2)
    normal = post(door, number=3)
    await until(lambda: door.held("m") == 3)
    door.set_backends("m", [pod.backend])
    await asyncio.gather(low, field, normal)
    assert [json.loads(body)["number"] for _, body in pod.requests] == [3, 1, 2]
    assert (await post(door, headers={"X-Stoker-Priority": "top"}))[0] == 400


async def test_large_bodies_wait_on_disk_and_arrive_whole(engine, gateway, post, until):
    pod = await engine()
    door = await gateway(spool=1000)
    text = "é" * 400_000
    request = post(door, text=text)
    await until(lambda: door.held("m") == 1)
    waiting = next(iter(door.plane.inbounds)).current
    await until(lambda: waiting.spooled is not None)
    assert waiting.body == b""
    door.set_backends("m", [pod.backend])
    assert (await request)[0] == 200
    assert json.loads(pod.requests[0][1])["text"] == text
    assert waiting.spooled is None


async def test_a_large_body_survives_a_replica_that_dies(engine, gateway, post, until):
    bad, good = await engine("bad"), await engine("good")
    bad.answer = bad.drop
    door = await gateway(spool=1000)
    request = post(door, text="x" * 500_000)
    await until(lambda: door.held("m") == 1)
    waiting = next(iter(door.plane.inbounds)).current
    await until(lambda: waiting.spooled is not None)
    door.set_backends("m", [bad.backend])
    await until(lambda: len(bad.requests) == 1)
    door.set_backends("m", [bad.backend, good.backend])
    assert (await request)[0] == 200
    assert good.requests[0][1] == bad.requests[0][1]
