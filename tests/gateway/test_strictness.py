"""Requests that have more than one reading are refused, and answers that do are not passed on.

Each vector is what one hop may take for one request and another for two.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.gateway.vectors import AMBIGUOUS, ANSWERS, BODY, HEAD


async def talk(door, data: bytes) -> bytes:
    """Send *data* and read until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_has_two_readings_is_refused(name, engine, gateway):
    pod = await engine()
    door = await gateway(pod)
    answer = await talk(door, AMBIGUOUS[name])
    assert answer.split(b" ")[1] in {b"400", b"405", b"501", b"505"}, answer
    # Nothing behind it was taken for a request.
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d", answer)) == 1
    assert b'"error":{"message":' in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert pod.requests == []


async def test_a_good_request_before_a_bad_one_is_answered(engine, gateway):
    pod = await engine()
    door = await gateway(pod)
    good = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    answer = await talk(door, good + b"NONSENSE\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert answer.count(b"HTTP/1.1 400 Bad Request") == 1
    assert len(pod.requests) == 1


async def test_pipelined_requests_are_answered_in_order(engine, gateway):
    pod = await engine()
    door = await gateway(pod)
    asked = [
        b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ]
    answer = await talk(door, b"".join(asked))
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"404", b"200"]
    assert answer.index(b'"id":"m"') < answer.index(b"pod-1") < answer.index(b"No such path")


async def test_a_thousand_pipelined_requests_need_no_stack(gateway):
    door = await gateway()
    one = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = await talk(door, one * 1000 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 1001


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_a_request_may_come_in_pieces(size, engine, gateway):
    pod = await engine()
    door = await gateway(pod)
    data = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"%x\r\n%b\r\n0\r\nX-Trailer: t\r\n\r\n" % (len(BODY), BODY)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    for start in range(0, len(data), size):
        writer.write(data[start : start + size])
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    [(request, body)] = pod.requests
    assert body == BODY
    assert "X-Trailer" not in request.headers
    assert request.headers["Content-Length"] == str(len(BODY))


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


async def test_an_offer_to_upgrade_is_not_taken(engine, gateway):
    pod = await engine()
    pod.answer = pod.status(200)
    door = await gateway(pod)
    answer = await talk(door, b"GET /engines/m/v1/models HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    [(request, _)] = pod.requests
    assert not {"Upgrade", "HTTP2-Settings"} & set(request.headers)


async def test_an_offer_to_upgrade_with_a_body_is_refused(engine, gateway):
    """Whether the body is of this protocol or of the other cannot be known."""
    pod = await engine()
    data = HEAD + OFFER + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    answer = await talk(await gateway(pod), data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"`Upgrade`" in answer
    assert pod.requests == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: %b\r\n" % (b"a" * 70_000),
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 101,
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000,  # and never ends
    ],
    ids=["long", "many", "endless"],
)
async def test_a_head_has_a_limit(head, gateway):
    answer = await talk(await gateway(), head + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_target_has_a_limit(gateway):
    answer = await talk(await gateway(), b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000))
    assert answer.startswith(b"HTTP/1.1 414 ")


async def test_a_head_that_does_not_end_in_time_is_given_up(gateway):
    answer = await talk(await gateway(head_timeout=0.1), b"GET /health HTTP/1.1\r\nHost: x\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_does_not_come_is_given_up(gateway):
    answer = await talk(await gateway(body_timeout=0.1), HEAD + b"Content-Length: 5\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_without_a_word(gateway):
    door = await gateway(keep_alive=0.1)
    answer = await talk(door, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_with_two_readings_is_retried_elsewhere(answer, engine, gateway, post):
    bad, good = await engine("bad"), await engine("good")
    bad.answer = bad.write(answer)
    door = await gateway(bad, good)
    results = [await post(door) for _ in range(2)]
    assert [(status, b"good" in body) for status, body, _ in results] == [(200, True)] * 2
    assert b"smuggled" not in b"".join(body for _, body, _ in results)


async def test_a_stream_that_goes_on_after_its_end_is_cut(engine, gateway):
    pod = await engine()

    async def answer(request, body):
        request.transport.write(STREAM + b"5\r\ndata:\r\n")
        await pod.gate.wait()
        return await pod.write(b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nsmuggled")(request, body)

    pod.answer = answer
    pod.gate.clear()
    door = await gateway(pod)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY))
    assert b"200 OK" in await reader.readuntil(b"data:")
    pod.gate.set()
    assert b"smuggled" not in await reader.read()
    writer.close()
    assert 'stoker_gateway_truncated_total{model="m"} 1' in door.page()


async def test_interim_answers_are_left_out(engine, gateway, post):
    pod = await engine()
    pod.answer = pod.write(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
    )
    status, body, headers = await post(await gateway(pod))
    assert (status, body) == (200, b"{}")
    assert "Link" not in headers
