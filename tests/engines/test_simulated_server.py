"""The simulated server over HTTP, in the test's own process."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from stoker.engines.simulated_server.answers import Answer, Chunks
from stoker.engines.simulated_server.api import read_job
from stoker.engines.simulated_server.lifecycle import Replica
from stoker.engines.simulated_server.options import parse
from stoker.engines.simulated_server.sinks import Stream
from stoker.simulator.engine import TokenEvent

CHAT = {"messages": [{"role": "user", "content": "Hi there"}]}


class Served:
    """A replica and a client of it."""

    def __init__(self, replica: Replica, client: aiohttp.ClientSession) -> None:
        self.replica = replica
        self.client = client

    async def page(self) -> str:
        async with self.client.get("/metrics") as response:
            return await response.text()

    async def metric(self, line: str) -> float:
        """The value on the one line that begins so."""
        (found,) = (text for text in (await self.page()).splitlines() if text.startswith(line))
        return float(found.rsplit(" ", 1)[1])

    async def stream(self, path: str = "/v1/chat/completions", **body) -> list[str]:
        async with self.client.post(path, json={**CHAT, "stream": True, **body}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            text = await response.text()
        return [event.removeprefix("data: ") for event in text.removesuffix("\n\n").split("\n\n")]

    async def chat(self, **body) -> tuple[int, dict]:
        async with self.client.post("/v1/chat/completions", json={**CHAT, **body}) as response:
            return response.status, await response.json()


@asynccontextmanager
async def serve(*arguments: str) -> AsyncIterator[Served]:
    """A replica of the tiny profile, a hundred times as fast unless told otherwise."""
    speed = () if "--speed" in arguments else ("--speed", "100")
    replica = Replica(parse(["serve", "org/tiny", "--profile", "tiny", *speed, *arguments], {}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await replica.open(listener)
        async with aiohttp.ClientSession(url) as client:
            yield Served(replica, client)
        await replica.close()


async def until(condition: Callable[[], object]) -> None:
    """Give the server turns of the event loop until *condition* holds."""
    while not condition():  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0)


def reasons(events: list[str]) -> list[str]:
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_health_is_200_and_empty(path):
    async with serve() as served, served.client.get(path) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_models_tell_the_length_of_the_context():
    arguments = ("--served-model-name", "tiny", "--max-model-len", "700")
    async with serve(*arguments) as served, served.client.get("/v1/models") as response:
        (card,) = (await response.json())["data"]
    assert (card["id"], card["root"], card["max_model_len"]) == ("tiny", "org/tiny", 700)


async def test_a_chat_answers_with_exactly_max_tokens():
    async with serve() as served:
        status, body = await served.chat(max_tokens=9)
    assert status == 200
    assert body["usage"]["completion_tokens"] == 9
    assert len(body["choices"][0]["message"]["content"].split()) == 9
    assert body["choices"][0]["finish_reason"] == "length"


async def test_a_stream_has_one_chunk_a_token():
    async with serve() as served:
        events = await served.stream(max_tokens=20, stream_options={"include_usage": True})
    assert len(events) == 1 + 20 + 1 + 1  # the role, the tokens, usage, the end
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 20
    assert reasons(events) == ["length"]


async def test_without_max_tokens_the_answer_stops_by_itself():
    async with serve() as served:
        assert reasons(await served.stream()) == ["stop"]


async def test_a_completion_streams_text():
    async with serve() as served:
        events = await served.stream("/v1/completions", prompt="Hi", max_tokens=3)
    assert [bool(json.loads(event)["choices"][0]["text"]) for event in events[:-1]] == [True] * 3
    assert events[-1] == "[DONE]"


async def test_the_id_of_a_request_may_come_from_the_client_and_be_used_twice():
    headers = {"X-Request-Id": "mine"}
    async with serve() as served:
        posts = [
            served.client.post(
                "/v1/chat/completions", json={**CHAT, "max_tokens": 5}, headers=headers
            )
            for _ in range(2)
        ]
        ids = [(await response.json())["id"] for response in await asyncio.gather(*posts)]
    assert ids == ["chatcmpl-mine", "chatcmpl-mine"]


async def test_many_streams_at_once_lose_no_token():
    async with serve("--max-num-seqs", "8") as served:
        answers = await asyncio.gather(*(served.stream(max_tokens=30 + n) for n in range(40)))
        total = await served.metric("vllm:generation_tokens_total")
    assert [len(events) - 2 for events in answers] == [30 + n for n in range(40)]
    assert total == sum(30 + n for n in range(40))


async def test_the_headers_of_a_stream_come_while_the_request_still_waits():
    async with serve("--max-num-seqs", "1", "--speed", "0.1") as served:
        first = asyncio.ensure_future(served.stream(max_tokens=4000))
        await until(lambda: served.replica.batching.engine.running)
        async with (
            asyncio.timeout(5),
            served.client.post(
                "/v1/chat/completions", json={**CHAT, "stream": True, "max_tokens": 1}
            ) as response,
        ):
            assert response.status == 200
            assert served.replica.batching.engine.waiting == 1
        first.cancel()


class ClosingTransport(asyncio.Transport):
    """A connection whose client has gone; uvloop raises when one writes to it."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        raise RuntimeError(f"unable to write {data!r}: the handler is closed")


async def test_a_token_for_a_client_that_has_just_gone_is_dropped():
    ended = asyncio.get_running_loop().create_future()
    job = read_job(json.dumps(CHAT).encode(), parse(["m"], {}), chat=True)
    sink = Stream(ended, Chunks(Answer(job, "x-1", 5)), ClosingTransport(), framed=True)
    sink.token(TokenEvent(0.0, "x", 1))
    assert not ended.done()


async def test_a_client_of_http_1_0_gets_a_stream_without_chunks():
    async with serve() as served:
        body = json.dumps({**CHAT, "stream": True, "max_tokens": 4}).encode()
        reader, writer = await asyncio.open_connection(
            served.client._base_url.host, served.client._base_url.port
        )
        writer.write(
            b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        head, _, data = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert b"chunked" not in head.lower()
    assert data.startswith(b"data: {")
    assert data.endswith(b"data: [DONE]\n\n")
    assert data.count(b"data: ") == 6


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_client_that_goes_leaves_the_batch_and_frees_its_blocks(stream):
    # Ten tokens a second: the answer would take minutes.
    async with serve("--speed", "0.1") as served:
        request = asyncio.ensure_future(served.chat(max_tokens=4000, stream=stream))
        await until(lambda: served.replica.batching.engine.running)
        request.cancel()
        async with asyncio.timeout(5):
            await served.replica.batching.drained()
        assert served.replica.batching.engine.kv_cache.used == 0
        aborted = 'vllm:request_success_total{engine="0",finished_reason="abort"'
        assert await served.metric(aborted) == 1.0


async def test_a_client_that_goes_does_not_disturb_the_others():
    async with serve("--speed", "10") as served:
        others = [asyncio.ensure_future(served.stream(max_tokens=200)) for _ in range(4)]
        async with served.client.post(
            "/v1/chat/completions", json={**CHAT, "stream": True, "max_tokens": 4000}
        ) as response:
            await response.content.readany()
            assert response.connection is not None
            response.connection.transport.abort()
        assert [len(events) for events in await asyncio.gather(*others)] == [202] * 4


async def test_an_unknown_model_is_404_and_a_bad_body_400():
    async with serve() as served:
        status, body = await served.chat(model="gpt-5")
        assert (status, body["error"]["type"]) == (404, "NotFoundError")
        async with served.client.post("/v1/chat/completions", data=b"{") as response:
            assert response.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v2", 404), ("GET", "/v1/chat/completions", 405)]
)
async def test_an_unknown_route_is_refused_in_json(method, path, status):
    async with serve() as served, served.client.request(method, path) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == status


async def test_a_key_is_asked_for_on_v1_and_not_on_health():
    async with serve("--api-key", "secret") as served:
        assert (await served.chat())[0] == 401
        headers = {"Authorization": "Bearer secret"}
        async with served.client.get("/v1/models", headers=headers) as response:
            assert response.status == 200
        async with served.client.get("/health") as response:
            assert response.status == 200


async def test_a_full_queue_is_503_when_vllm_was_told_so():
    async with serve("--max-num-seqs", "1", "--max-num-queued-reqs", "1", "--speed", "1") as served:
        engine = served.replica.batching.engine
        running = [asyncio.ensure_future(served.chat(max_tokens=10))]
        await until(lambda: engine.running)
        running.append(asyncio.ensure_future(served.chat(max_tokens=10)))
        await until(lambda: engine.waiting)
        status, body = await served.chat(max_tokens=10)
        assert (status, body["error"]["type"]) == (503, "Service Unavailable")
        reason = 'reason="max_num_queued_reqs"} '
        assert f"{reason}1.0" in await served.page()
        assert [status for status, _ in await asyncio.gather(*running)] == [200, 200]


async def test_load_is_tracked_only_when_asked_for():
    for flags, load in (((), 0), (("--enable-server-load-tracking",), 1)):
        async with serve("--speed", "1", *flags) as served:
            running = asyncio.ensure_future(served.chat(max_tokens=20))
            await until(lambda: served.replica.batching.in_flight)
            async with served.client.get("/load") as response:
                assert await response.json() == {"server_load": load}
            await running


async def test_draining_finishes_what_is_in_flight_and_refuses_what_is_new():
    async with serve("--speed", "1", "--shutdown-timeout", "30") as served:
        running = asyncio.ensure_future(served.stream(max_tokens=40))
        await until(lambda: served.replica.batching.in_flight)
        closing = asyncio.ensure_future(served.replica.close())
        await asyncio.sleep(0)
        async with served.client.get("/health") as response:
            assert response.status == 200
        status, body = await served.chat()
        assert (status, body["error"]["type"]) == (503, "Service Unavailable")
        events = await running
        assert (len(events), reasons(events)) == (42, ["length"])
        await closing


@pytest.mark.parametrize("seconds", ["0", "0.05"], ids=["abort", "drain-too-short"])
async def test_what_cannot_be_finished_is_cut_and_says_abort(seconds):
    async with serve("--speed", "1", "--shutdown-timeout", seconds) as served:
        streamed = asyncio.ensure_future(served.stream(max_tokens=4000))
        whole = asyncio.ensure_future(served.chat(max_tokens=4000))
        await until(lambda: served.replica.batching.in_flight == 2)
        await served.replica.close()
        events = await streamed
        assert reasons(events) == ["abort"]
        assert events[-1] == "[DONE]"
        status, body = await whole
        assert (status, body["choices"][0]["finish_reason"]) == (200, "abort")


async def test_http_requests_are_counted_by_their_route():
    async with serve() as served:
        await served.chat(max_tokens=1)
        await served.chat(model="nobody")
        text = await served.page()
    chat = 'http_requests_total{handler="/v1/chat/completions",method="POST",status='
    assert f'{chat}"2xx"}} 1.0' in text
    assert f'{chat}"4xx"}} 1.0' in text
    assert 'handler="/metrics"' not in text
