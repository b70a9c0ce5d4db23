"""What reaches the replica and what comes back."""

from __future__ import annotations

import asyncio
import gzip
import json
import os

import pytest
from aiohttp import web


async def test_a_stream_arrives_byte_by_byte_as_the_engine_sent_it(engine, gateway, post, events):
    pod = await engine()
    status, body, headers = await post(await gateway(pod), stream=True)
    assert status == 200
    assert body == b"".join(events)
    assert headers["Content-Type"] == "text/event-stream"


async def test_the_first_event_arrives_while_the_engine_still_works(
    engine, gateway, client, events
):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod)
    async with client.post(
        door.url + "/v1/completions", json={"model": "m", "stream": True}
    ) as got:
        assert await asyncio.wait_for(got.content.readany(), 2) == events[0]
        assert door.in_flight("pod-1") == 1
        pod.gate.set()
        assert await got.content.read() == b"".join(events[1:])
    assert door.in_flight("pod-1") == 0


@pytest.mark.parametrize("length", [0, 1, 300_000, 3_000_000], ids=str)
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_answers_of_any_length_arrive_whole(length, chunked, engine, gateway, post):
    blob = os.urandom(length)

    async def answer(_request, _body):
        response = web.Response(body=blob, content_type="application/octet-stream")
        if chunked:
            response.enable_chunked_encoding()
        return response

    pod = await engine()
    pod.answer = answer
    status, body, _ = await post(await gateway(pod))
    assert (status, body == blob) == (200, True)


async def test_an_answer_that_the_engine_compressed_stays_as_it_is(engine, gateway, post):
    packed = gzip.compress(b"x" * 1000)

    async def answer(_request, _body):
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    pod = await engine()
    pod.answer = answer
    _, body, headers = await post(await gateway(pod), headers={"Accept-Encoding": "gzip"})
    assert body == packed
    assert headers["Content-Encoding"] == "gzip"
    assert pod.requests[0][0].headers["Accept-Encoding"] == "gzip"


async def test_headers_pass_except_those_of_the_connection(engine, gateway, post):
    pod = await engine()
    pod.answer = pod.status(200, **{"X-Engine": "yes", "Keep-Alive": "timeout=5"})
    sent = {
        "Authorization": "Bearer secret",
        "X-Request-Id": "abc",
        "X-Mine": "1",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Proxy-Authorization": "no",
        "TE": "trailers",
    }
    _, _, headers = await post(await gateway(pod), headers=sent)
    seen = pod.requests[0][0].headers
    assert seen["Authorization"] == "Bearer secret"
    assert seen["X-Mine"] == "1"
    assert seen["Host"] == f"127.0.0.1:{pod.port}"
    assert not {"X-Hop", "Proxy-Authorization", "TE"} & set(seen)
    assert headers["X-Engine"] == "yes"
    assert "Keep-Alive" not in headers
    assert seen["X-Request-Id"] == headers["X-Request-Id"] == "abc"


async def test_a_request_without_an_id_gets_one_that_both_sides_see(engine, gateway, post):
    pod = await engine()
    door = await gateway(pod)
    ids = set()
    for _ in range(2):
        _, _, headers = await post(door)
        assert pod.requests[-1][0].headers["X-Request-Id"] == headers["X-Request-Id"]
        ids.add(headers["X-Request-Id"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/tokenize?x=%20y"],
)
async def test_every_inference_path_reaches_the_engine_as_it_was(path, engine, gateway, post):
    pod = await engine()
    status, _, _ = await post(await gateway(pod), path)
    assert status == 200
    assert pod.requests[0][0].raw_path == path


async def test_the_body_reaches_the_engine_unchanged(engine, gateway, client):
    body = b'{ "model":"alias",\n "x": 1.0e0, "\\u0041": "\xc3\xa9" }'
    pod = await engine()
    async with client.post((await gateway(pod)).url + "/v1/completions", data=body) as got:
        assert got.status == 200
    assert pod.requests[0][1] == body


async def test_a_body_of_megabytes_is_found_its_model_wherever_it_stands(engine, gateway, post):
    pod = await engine()
    body = {"input": "x" * 2_500_000, "model": "m"}
    status, _, _ = await post(await gateway(pod), **body)
    assert status == 200
    assert json.loads(pod.requests[0][1])["input"] == body["input"]


async def test_a_compressed_body_is_unpacked_for_the_engine(engine, gateway, client):
    body = b'{"model": "m"}'
    pod = await engine()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    url = (await gateway(pod)).url + "/v1/completions"
    async with client.post(url, data=gzip.compress(body), headers=headers) as got:
        assert got.status == 200
    seen, received = pod.requests[0]
    assert received == body
    assert "Content-Encoding" not in seen.headers


async def test_a_client_that_expects_100_continue_gets_it(engine, gateway):
    pod = await engine()
    door = await gateway(pod)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    body = b'{"model": "m"}'
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    assert await asyncio.wait_for(reader.readline(), 2) == b"HTTP/1.1 100 Continue\r\n"
    writer.write(body)
    assert await reader.readline() == b"\r\n"
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert "Expect" not in pod.requests[0][0].headers
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("code", [400, 401, 404, 422, 429, 500])
async def test_the_engines_own_errors_pass_unchanged(code, engine, gateway, post):
    pod = await engine()
    pod.answer = pod.status(code)
    status, body, _ = await post(await gateway(pod))
    assert (status, body) == (code, b"engine says %d" % code)
    assert len(pod.requests) == 1


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize(
    "error",
    [
        b'{"error":{"message":"too large: \xe2\x80\xa6","type":"BadRequestError","code":400}}',
        b'{"object":"error","message":"No model `x`.","type":"NotFoundError","code":404}',
        b'{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}\n',
        b'{ "error" : "Input validation error",\t"error_type":"validation" }',
    ],
    ids=["nested", "flat", "detail", "blanks"],
)
async def test_an_engines_error_body_is_the_same_byte_for_byte(
    error, chunked, engine, gateway, post
):
    pod = await engine()
    head = b"HTTP/1.1 422 Unprocessable Entity\r\nContent-Type: application/problem+json\r\n"
    framed = b"Content-Length: %d\r\n\r\n%b" % (len(error), error)
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(error), error)
    pod.answer = pod.write(head + framed)
    status, body, headers = await post(await gateway(pod))
    assert (status, body) == (422, error)
    assert headers["Content-Type"] == "application/problem+json"


async def test_a_connection_serves_many_requests(engine, gateway, post):
    pod = await engine()
    door = await gateway(pod)
    for _ in range(3):
        await post(door, stream=True)
    assert len({request.transport for request, _ in pod.requests}) == 1


async def test_requests_spread_over_replicas_while_streams_are_open(engine, gateway, post, until):
    pods = [await engine(f"pod-{n}") for n in range(3)]
    for pod in pods:
        pod.gate.clear()
    door = await gateway(*pods)
    posts = [post(door, stream=True) for _ in range(6)]
    await until(lambda: sum(len(pod.requests) for pod in pods) == 6)
    assert [len(pod.requests) for pod in pods] == [2, 2, 2]
    assert [door.in_flight(f"pod-{n}") for n in range(3)] == [2, 2, 2]
    for pod in pods:
        pod.gate.set()
    assert {status for status, _, _ in await asyncio.gather(*posts)} == {200}
    assert door.stats("m").in_flight == 0
