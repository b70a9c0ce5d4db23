"""Runs against a real server: what is sent, when, and what is made of the answers."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from stoker.errors import ConflictError, InputError
from stoker.load import arrivals
from stoker.load.arrivals import Arrival
from stoker.load.runner import Plan, Progress, run


def once(count: int, *, input_tokens=4, output_tokens=3) -> list[Arrival]:
    return list(islice(arrivals.at_once(input_tokens, output_tokens), count))


def kinds(report) -> list[tuple[str, int]]:
    return [(error.kind, error.count) for error in report.errors]


async def test_the_tutorials_generator_sends_all_at_once(server):
    """`--num-requests 100 --prompt-len 3000`: `Hi ` 3000 times, 80 tokens, streamed."""
    started, release = 0, asyncio.Event()

    async def hold(request, writer):
        nonlocal started
        started += 1
        if started == 100:
            release.set()
        await release.wait()
        await server.stream(request, writer)

    server.reply = hold
    arrivals = once(100, input_tokens=3000, output_tokens=80)
    report = await run(Plan(arrivals, same_prompt=True), server.url)
    assert (report.ok, report.failed, report.output_tokens) == (100, 0, 8000)
    request = server.requests[0]
    assert request["messages"] == [{"role": "user", "content": "Hi " * 3000}]
    assert (request["max_tokens"], request["stream"], request["model"]) == (80, True, "m")
    assert report.ttft.count == 100
    assert report.inter_token_latency.count == 100 * 79


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_address_is_taken_with_or_without_v1(suffix, server):
    report = await run(Plan(once(1)), server.url + suffix)
    assert report.ok == 1
    assert server.heads[-1].startswith("POST /v1/chat/completions HTTP/1.1")


async def test_without_streaming_there_is_an_end_to_end_time_only(server):
    report = await run(Plan(once(3), stream=False), server.url)
    assert (report.ok, report.output_tokens) == (3, 9)
    assert report.ttft is None
    assert report.inter_token_latency is None
    assert report.end_to_end.count == 3
    assert "stream_options" not in server.requests[0]


async def test_all_models_of_the_server_take_turns(server):
    server.models = b'{"data":[{"id":"a"},{"id":"b"}]}'
    report = await run(Plan(once(4)), server.url)
    assert sorted(r["model"] for r in server.requests) == ["a", "a", "b", "b"]
    assert report.models == ("a", "b")


async def test_named_models_are_not_asked_for(server):
    await run(Plan(once(1), models=("x",)), server.url)
    assert [head.split(" ")[0] for head in server.heads] == ["POST"]
    assert server.requests[0]["model"] == "x"


async def test_the_key_is_sent_with_every_request(server):
    await run(Plan(once(1), api_key="k"), server.url)
    assert all("Authorization: Bearer k\r\n" in head for head in server.heads)


async def test_vllms_ignore_eos_is_sent_when_asked_for(server):
    await run(Plan(once(1), ignore_eos=True), server.url)
    await run(Plan(once(1)), server.url)
    assert server.requests[0]["ignore_eos"] is True
    assert "ignore_eos" not in server.requests[1]


async def test_a_closed_loop_keeps_so_many_requests_open_and_uses_their_connections_again(server):
    open_ = most = 0

    async def count(request, writer):
        nonlocal open_, most
        open_ += 1
        most = max(most, open_)
        await asyncio.sleep(0)
        await server.stream(request, writer)
        open_ -= 1

    server.reply = count
    report = await run(Plan(once(40), concurrency=4, models=("m",)), server.url)
    assert report.ok == 40
    assert most <= 4
    assert server.connections == 4


async def test_an_open_loop_does_not_slow_down_when_the_server_does(server):
    """The server stops answering; all requests are sent nevertheless, on time, and pay for it."""
    release = asyncio.Event()

    async def stall(request, writer):
        if len(server.requests) == 20:
            release.set()
        await release.wait()
        await server.stream(request, writer)

    server.reply = stall
    plan = Plan([Arrival(n * 0.01, 1, 1) for n in range(20)])
    report = await asyncio.wait_for(run(plan, server.url), 5)
    assert report.ok == 20
    assert report.end_to_end.max >= 0.19  # the first waited for the last
    assert report.end_to_end.p50 >= 0.09
    assert report.lag.p50 < 0.05


@pytest.mark.parametrize(
    ("reply", "kind", "detail"),
    [
        pytest.param(
            b'HTTP/1.1 503 X\r\nContent-Length: 34\r\n\r\n{"error": {"message": "too  busy"}}',
            "HTTP 503",
            "too busy",
            id="status",
        ),
        pytest.param(b"", "disconnected", "without an answer", id="no-answer"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "truncated", "within", id="cut-body"
        ),
        pytest.param(b"SSH-2.0\r\n\r\n", "malformed", "not HTTP", id="not-http"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "error in the answer",
            "no choices",
            id="empty-answer",
        ),
    ],
)
async def test_failures_are_told_by_kind(reply, kind, detail, server):
    async def answer(_request, writer):
        writer.write(reply)
        writer.close()

    server.reply = answer
    report = await run(Plan(once(2), models=("m",)), server.url)
    assert kinds(report) == [(kind, 2)]
    assert detail in report.errors[0].example


def sse(*lines: bytes) -> bytes:
    body = b"".join(b"data: %s\n\n" % line for line in lines)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body


TOKEN = b'{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}'
LAST = b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}'
ABORT = b'{"choices":[{"delta":{"content":""},"finish_reason":"abort"}]}'


@pytest.mark.parametrize(
    ("lines", "kind", "detail"),
    [
        ((TOKEN, LAST), "truncated", "without [DONE]"),
        ((TOKEN, b"[DONE]"), "truncated", "no finish_reason"),
        ((TOKEN, ABORT, b"[DONE]"), "truncated", "abort"),
        ((TOKEN, b'{"error":{"message":"out of memory"}}'), "error in the answer", "out of memory"),
        ((TOKEN, b"{half"), "error in the answer", "not JSON"),
    ],
    ids=["no-done", "no-finish-reason", "abort", "error-event", "garbage"],
)
async def test_a_stream_that_is_not_whole_is_a_failure(lines, kind, detail, server):
    async def answer(_request, writer):
        writer.write(sse(*lines))
        writer.close()

    server.reply = answer
    report = await run(Plan(once(1), models=("m",)), server.url)
    assert kinds(report) == [(kind, 1)]
    assert detail in report.errors[0].example


async def test_a_server_that_is_not_there_is_refused_for_each_request(unused_port):
    report = await run(Plan(once(3), models=("m",)), f"http://127.0.0.1:{unused_port}")
    assert kinds(report) == [("refused", 3)]


async def test_a_server_that_is_not_there_cannot_be_asked_for_its_models(unused_port):
    with pytest.raises(ConflictError, match="cannot reach http://"):
        await run(Plan(once(3)), f"http://127.0.0.1:{unused_port}")


async def test_a_server_without_models_is_an_input_error(server):
    server.models = b'{"data":[]}'
    with pytest.raises(InputError, match="lists no models") as error:
        await run(Plan(once(1)), server.url)
    assert "--model" in error.value.hint


async def test_a_request_that_takes_too_long_is_given_up_and_its_connection_closed(server):
    closed = asyncio.Event()

    async def never(_request, writer):
        await writer.wait_closed()
        closed.set()

    server.reply = never
    report = await run(Plan(once(1), models=("m",), timeout=0.05), server.url)
    assert kinds(report) == [("timeout", 1)]
    assert report.end_to_end is None


async def test_progress_adds_up_at_the_end(server):
    seen: list[Progress] = []
    await run(Plan(once(5), total=5), server.url, on_progress=seen.append)
    last = seen[-1]
    assert (last.sent, last.ok, last.failed, last.in_flight, last.total) == (5, 5, 0, 0, 5)
    assert last.output_tokens == 15


async def test_a_stop_cancels_what_is_open_and_reports_what_was(server):
    stop = asyncio.Event()

    async def some(request, writer):
        if len(server.requests) <= 2:
            await server.stream(request, writer)
        else:
            stop.set()
            await asyncio.Event().wait()

    server.reply = some
    plan = Plan(once(10), concurrency=1, models=("m",))
    report = await asyncio.wait_for(run(plan, server.url, stop=stop), 5)
    assert (report.ok, report.failed, report.cancelled) == (2, 0, 1)


@pytest.fixture
async def unused_port():
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
