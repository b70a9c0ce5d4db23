"""A replica that fails before its answer began costs nothing; after that the truth is told."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from stoker.gateway.policy import EndpointSpec as Backend

ABORTED = (
    b'{"choices":[{"message":{"content":"half"},"finish_reason":"abort"}],'
    b'"usage":{"completion_tokens":1}}'
)


def page_value(gateway, sample: str) -> float:
    values = [
        line.rsplit(" ", 1)[1]
        for line in gateway.page().splitlines()
        if line.startswith(sample + " ")
    ]
    return float(values[0]) if values else 0.0


def retries(gateway, reason: str) -> float:
    return page_value(gateway, f'stoker_gateway_retries_total{{model="m",reason="{reason}"}}')


async def test_a_refused_connection_is_retried_on_another_replica(engine, gateway, post):
    dead, alive = await engine("dead"), await engine("alive")
    await dead.stop()
    door = await gateway(dead, alive)
    for _ in range(4):
        status, body, _ = await post(door)
        assert (status, b"alive" in body) == (200, True)
    assert retries(door, "connect") >= 1
    assert door.stats("m").failed == 0
    assert door.in_flight("dead") == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(lambda pod: pod.drop, "no_answer", id="closed-without-a-byte"),
        pytest.param(lambda pod: pod.write(b"SSH-2.0-x\r\n\r\n"), "bad_answer", id="not-http"),
        pytest.param(lambda pod: pod.status(503), "unavailable", id="draining-engine-says-503"),
        pytest.param(
            lambda pod: pod.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{half"),
            "broken_answer",
            id="died-within-an-answer-in-one-piece",
        ),
        pytest.param(
            lambda pod: pod.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(ABORTED), ABORTED)
            ),
            "aborted",
            id="vllm-aborts-on-sigterm",
        ),
    ],
)
async def test_a_failure_before_the_answer_is_retried_with_the_same_body(
    fault, reason, engine, gateway, post
):
    bad, good = await engine("bad"), await engine("good")
    bad.answer = fault(bad)
    door = await gateway(bad, good)
    for _ in range(2):
        status, body, _ = await post(door, messages=["hello"])
        assert (status, b"good" in body) == (200, True)
    assert retries(door, reason) == len(bad.requests) > 0
    assert bad.requests[0][1] == good.requests[0][1]
    assert door.stats("m").ok == 2
    assert door.stats("m").failed == 0


async def test_the_last_replicas_503_is_passed_on(engine, gateway, post):
    pods = [await engine(f"pod-{n}") for n in range(2)]
    for pod in pods:
        pod.answer = pod.status(503)
    status, body, _ = await post(await gateway(*pods))
    assert (status, body) == (503, b"engine says 503")
    assert [len(pod.requests) for pod in pods] == [1, 1]


async def test_a_503_of_a_replica_that_was_taken_out_waits_for_the_next_one(
    engine, gateway, post, until
):
    draining, fresh = await engine("draining"), await engine("fresh")
    door = await gateway(draining)

    async def drained(request, body):
        door.set_backends("m", [])
        return await draining.status(503)(request, body)

    draining.answer = drained
    request = post(door)
    await until(lambda: door.held("m") == 1)
    door.set_backends("m", [fresh.backend])
    status, body, _ = await request
    assert (status, b"fresh" in body) == (200, True)


async def test_when_the_only_replica_dies_the_request_waits_for_its_successor(
    engine, gateway, post, until
):
    dying, fresh = await engine("dying"), await engine("fresh")
    dying.answer = dying.drop
    door = await gateway(dying)
    door.on_held = lambda _model: None
    request = post(door)
    await until(lambda: door.held("m") == 1)
    door.set_backends("m", [fresh.backend])
    status, body, _ = await request
    assert (status, b"fresh" in body) == (200, True)


async def test_a_request_that_kills_replicas_does_not_visit_all_of_them(engine, gateway, post):
    pods = [await engine(f"pod-{n}") for n in range(5)]
    for pod in pods:
        pod.answer = pod.drop
    status, body, headers = await post(await gateway(*pods))
    assert status == 502
    assert b"3 replicas took the request and went away" in body
    assert int(headers["Retry-After"]) > 0
    assert sum(len(pod.requests) for pod in pods) == 3


async def test_a_replica_that_refuses_once_and_recovers_gets_its_request(engine, gateway, post):
    pod = await engine()
    door = await gateway(pod)
    await pod.stop()
    request = post(door)
    await asyncio.sleep(0)
    await pod.start()  # on the same port
    status, _, _ = await request
    assert status == 200


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n8\r\ndata: {}\r\n",
            id="chunked",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Content-Length: 1000\r\n\r\ndata: {}",
            id="content-length",
        ),
    ],
)
async def test_a_stream_that_breaks_is_cut_for_the_client_and_counted_and_never_retried(
    reply, engine, gateway, client
):
    bad, good = await engine("a-bad"), await engine("b-good")
    bad.answer = bad.write(reply)
    door = await gateway(bad, good)
    body = {"model": "m", "stream": True}
    async with client.post(door.url + "/v1/chat/completions", json=body) as answer:
        assert await answer.content.readany() == b"data: {}"  # what there was is delivered
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
    assert good.requests == []
    assert door.stats("m").failed == 1
    assert door.stats("m").ok == 0
    assert page_value(door, 'stoker_gateway_truncated_total{model="m"}') == 1


async def test_a_stream_that_the_engine_aborts_is_passed_on_and_counted_as_failed(
    engine, gateway, post
):
    aborted = b'data: {"choices":[{"delta":{},"finish_reason":"abort"}]}\n\ndata: [DONE]\n\n'
    pod = await engine()
    pod.answer = pod.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + aborted
    )
    door = await gateway(pod)
    status, body, _ = await post(door, stream=True)
    assert (status, body) == (200, aborted)
    assert (door.stats("m").ok, door.stats("m").failed) == (0, 1)


async def test_a_text_that_speaks_of_an_abort_is_not_one(engine, gateway, post):
    text = json.dumps(
        {"choices": [{"message": {"content": ABORTED.decode()}, "finish_reason": "stop"}]}
    ).encode()
    pod = await engine()
    pod.answer = pod.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(text), text)
    )
    status, body, _ = await post(await gateway(pod))
    assert (status, body) == (200, text)


async def test_an_engine_that_says_nothing_for_too_long_is_given_up_with_504(engine, gateway, post):
    pod = await engine()
    pod.gate.clear()
    status, body, headers = await post(await gateway(pod, idle_timeout=0.1))
    assert status == 504
    assert b"sent nothing for too long" in body
    assert "Retry-After" in headers
    assert len(pod.requests) == 1


async def test_a_host_that_does_not_exist_counts_as_a_refused_connection(engine, gateway, post):
    pod = await engine()
    door = await gateway(pod)
    door.set_backends("m", [Backend("gone", "http://127.0.0.1:1"), pod.backend])
    assert {(await post(door))[0] for _ in range(3)} == {200}
