"""Remote write over HTTP, and queries that wait for their turn."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from stoker.api import prometheus_queries
from stoker.api.prometheus import make_app
from stoker.api.prometheus_queries import Queries
from stoker.clock import FixedClock
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.promql.cost import cost
from stoker.promql.engine import Limits, QueryTimeoutError, instant
from stoker.promql.parsing import parse

cramjam = pytest.importorskip("cramjam")
NOW = 1_700_000_000.0
Client = TestClient[web.Request, web.Application]
V1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def sample(t_ms: int, value: float) -> bytes:
    return b"\x09" + struct.pack("<d", value) + b"\x10" + varint(t_ms)


def one_series(labels: dict[str, str], *samples: tuple[int, float]) -> bytes:
    pairs = [
        field(1, field(1, name.encode()) + field(2, value.encode()))
        for name, value in labels.items()
    ]
    return field(1, b"".join([*pairs, *(field(2, sample(*one)) for one in samples)]))


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
async def client(storage) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(storage, FixedClock(NOW)))) as client:
        yield client


async def post(client: Client, body: bytes, headers=V1) -> tuple[int, str]:
    packed = bytes(cramjam.snappy.compress_raw(body))
    async with client.post("/api/v1/write", data=packed, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_written_samples_can_be_queried(client, storage):
    ms = int(NOW * 1000)
    body = one_series({"__name__": "x", "pod": "a"}, (ms - 1000, 1.5), (ms, 2.5))
    assert await post(client, body) == (204, "")
    assert str(instant("x", storage, NOW)) == 'x{pod="a"} => 2.5 @[1700000000]'
    assert storage.sample_count() == 2


async def test_who_waits_for_pushes_learns_what_was_written(storage):
    names = []
    app = make_app(storage, FixedClock(NOW), on_written=names.append)
    async with TestClient(TestServer(app)) as client:
        ms = int(NOW * 1000)
        await post(client, one_series({"__name__": "x"}, (ms, 1)))
        await post(client, one_series({"__name__": "x"}, (ms - 1, 1)))  # too old
    assert names == [{"x"}]


async def test_second_version_refers_to_symbols(client, storage):
    symbols = [b"", b"__name__", b"x", b"pod", b"a"]
    series = field(1, bytes([1, 2, 3, 4])) + field(2, sample(int(NOW * 1000), 7))
    body = b"".join(field(4, one) for one in symbols) + field(5, series)
    kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    headers = {**V1, "Content-Type": kind}
    packed = bytes(cramjam.snappy.compress_raw(body))
    async with client.post("/api/v1/write", data=packed, headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == "1"
    assert storage.series() == [Labels({"__name__": "x", "pod": "a"})]


async def test_sample_that_is_too_old_is_refused_and_the_others_are_taken(client, storage):
    ms = int(NOW * 1000)
    await post(client, one_series({"__name__": "x"}, (ms, 1)))
    older = one_series({"__name__": "x"}, (ms - 5000, 1)) + one_series({"__name__": "y"}, (ms, 1))
    status, text = await post(client, older)
    assert (status, text.split()[0]) == (400, "1")
    assert storage.series_count() == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(one_series({"pod": "a"}, (1, 1)), "without `__name__`", id="no name"),
        pytest.param(b"\x0a\xff", "ends inside", id="torn"),
        pytest.param(b"\x0a\x7fx", "longer than the message", id="length"),
        pytest.param(b"\x08\x01", "a message was expected", id="kind"),
        pytest.param(b"\x0b", "wire type 3", id="group"),
    ],
)
async def test_damage_is_a_bad_request_and_nothing_is_taken(client, storage, body, words):
    status, text = await post(client, one_series({"__name__": "x"}, (1, 1)) + body)
    assert status == 400
    assert words in text
    assert storage.sample_count() == 0


async def test_bomb_is_refused_before_it_is_unpacked(client):
    bomb = varint(2**31) + b"\x00" * 10
    async with client.post("/api/v1/write", data=bomb, headers=V1) as answer:
        assert answer.status == 400
        assert "at most" in await answer.text()


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/plain"}, {**V1, "Content-Encoding": "gzip"}], ids=str
)
async def test_other_formats_are_unsupported(client, headers):
    body = b"" if "gzip" not in headers.values() else b"x"
    async with client.post(
        "/api/v1/write", data=body, headers={"Content-Encoding": "identity", **headers}
    ) as answer:
        assert answer.status in {400, 415}


async def test_large_query_runs_beside_the_event_loop(client, storage):
    for i in range(300):
        for t in range(0, 600, 15):
            storage.append(Labels({"__name__": "x", "pod": str(i)}), NOW - 600 + t, float(t))
    params = {"query": "sum(deriv(x[1m]))", "start": NOW - 500, "end": NOW, "step": 5}
    params = {name: str(value) for name, value in params.items()}
    asked = asyncio.ensure_future(client.get("/api/v1/query_range", params=params))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    answer = await asked
    result = (await answer.json())["data"]["result"]
    assert {value for _, value in result[0]["values"][20:]} == {"300"}
    assert turns > 100


@pytest.mark.looptime
async def test_query_that_gets_no_turn_times_out():
    queries = Queries(max_concurrency=0)
    with pytest.raises(QueryTimeoutError, match="query timed out in query queue"):
        await queries.run(Storage(), [], 0, Limits(timeout=2), lambda _: pytest.fail("ran"))


@pytest.mark.parametrize(
    ("query", "steps", "span_ms", "expected"),
    [
        ("x", 10, 9000, 30),
        ("rate(x[5m]) > bool 0", 10, 9000, 30),
        ("sum(deriv(x[5m]))", 10, 9000, 30 * 60),
        ("sum(rate(x[5m])) / sum(x)", 10, 9000, 60 + 60 * 6),
        ("1 + 2", 10, 9000, 0),
        ("max_over_time(x[1h:1s])", 1, 0, 3601 * 3),
        ("max_over_time(vector(1)[1h:1s])", 1, 0, 3601),
        ("max_over_time(x[1h:])", 2, 60_000, 62 * 3),
        ("max_over_time(max_over_time(x[1m:1s])[1m:1s])", 1, 0, 121 * 3),
        ("sum_over_time(" * 30 + "vector(1)" + "[1m:1m])" * 30, 1, 0, 31),
        ("info(x)", 2, 1000, 8 * 60),
    ],
)
def test_cost_of_a_query_is_known_before(query, steps, span_ms, expected):
    storage = Storage()
    for i in range(3):
        storage.append(Labels({"__name__": "x", "pod": str(i)}), NOW, 1.0)
    storage.append(Labels({"__name__": "target_info"}), NOW, 1.0)
    size = lambda matchers: len(storage.find(matchers).series)  # noqa: E731
    assert cost(parse(query), steps, span_ms, size) == expected


async def test_large_query_with_info_runs_beside_the_event_loop(client, storage):
    storage.append(Labels({"__name__": "target_info", "job": "j", "region": "eu"}), NOW, 1.0)
    for i in range(300):
        storage.append(Labels({"__name__": "x", "pod": str(i), "job": "j"}), NOW, 1.0)
    params = {"query": "count by (region) (info(x))", "start": NOW - 500, "end": NOW, "step": 5}
    params = {name: str(value) for name, value in params.items()}
    async with client.get("/api/v1/query_range", params=params) as answer:
        body = await answer.json()
    assert body["data"]["result"] == [{"metric": {"region": "eu"}, "values": [[NOW, "300"]]}]


async def test_answer_comes_in_time_when_a_thread_does_not(monkeypatch):
    monkeypatch.setattr(prometheus_queries, "_GRACE", 0.0)
    held, queries = threading.Event(), Queries()
    try:
        with pytest.raises(QueryTimeoutError, match="timed out in expression evaluation"):
            await queries.run(
                Storage(), [], 10**9, Limits(timeout=0.05), lambda _: held.wait(20) and None
            )
    finally:
        held.set()
        queries.close()
