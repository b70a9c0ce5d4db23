"""The small HTTP client: the same answer however the network cuts it."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.clock import FixedClock
from stoker.errors import InputError
from stoker.load.answer import Answer
from stoker.load.http import Connection, HttpFailure, Origin

EVENTS = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    b": a comment that keeps the connection alive\n",
    (
        b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\":null"},'
        b'"finish_reason":null}]}\n\n'
    ),
    b'data: {"choices":[{"delta":{"content":""}, "finish_reason": null}]}\r\n\r\n',
    b'data: {"choices":[{"delta":{"content":"\xc3\xa9"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n',
    b"data: [DONE]\n\n",
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"


def chunked(*payloads: bytes, trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in payloads)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"


WIRE = {
    "chunked": chunked(*EVENTS),
    "one-chunk-with-trailers": chunked(b"".join(EVENTS), trailer=b"X-A: 1\r\nX-B: 2\r\n"),
    "content-length": HEAD
    + b"Content-Length: %d\r\n\r\n" % sum(map(len, EVENTS))
    + b"".join(EVENTS),
    "after-a-100": b"HTTP/1.1 100 Continue\r\n\r\n" + chunked(*EVENTS),
}


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.aborted = True


async def exchange(pieces: list[bytes], *, close: bool = False) -> tuple[Answer, Connection]:
    """Feed *pieces* to a connection that waits for an answer."""
    connection, answer = Connection(FixedClock(5.0)), Answer()
    connection.connection_made(Wire())
    waiting = asyncio.create_task(connection.exchange(b"request", answer))
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
    if close:
        connection.connection_lost(None)
    await asyncio.wait_for(waiting, 1)
    return answer, connection


@pytest.mark.parametrize("wire", WIRE.values(), ids=WIRE)
@given(cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_the_answer_is_the_same_wherever_it_is_cut(wire, cuts):
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    pieces = [wire[a:b] for a, b in pairwise(edges)]
    with asyncio.Runner() as runner:
        answer, connection = runner.run(exchange(pieces))
    assert answer.verdict() == (None, "")
    assert (answer.tokens, answer.output_tokens, answer.input_tokens) == (3, 4, 9)
    assert connection.reusable


@pytest.mark.parametrize("wire", WIRE.values(), ids=WIRE)
async def test_the_answer_is_the_same_byte_by_byte(wire):
    answer, _ = await exchange([wire[i : i + 1] for i in range(len(wire))])
    assert answer.verdict() == (None, "")
    assert answer.tokens == 3


async def test_an_answer_that_ends_with_the_connection_is_whole_and_the_connection_gone():
    answer, connection = await exchange([HEAD + b"\r\n" + b"".join(EVENTS)], close=True)
    assert answer.verdict() == (None, "")
    assert not connection.reusable


async def test_a_connection_that_the_server_wants_closed_is_not_used_again():
    _, connection = await exchange(
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
    )
    assert not connection.reusable


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (chunked(*EVENTS)[:-5], "truncated"),
        (HEAD + b"Content-Length: 10\r\n\r\nxx", "truncated"),
        (HEAD[:20], "truncated"),
        (b"", "disconnected"),
    ],
    ids=["last-chunk-missing", "body-cut", "head-cut", "nothing"],
)
async def test_a_connection_that_is_lost_too_early_is_a_failure(wire, kind):
    with pytest.raises(HttpFailure) as failure:
        await exchange([wire] if wire else [], close=True)
    assert failure.value.kind == kind


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"x" * 70_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["not-http", "no-status", "endless-head", "no-chunk-size"],
)
async def test_an_answer_that_is_not_http_is_a_failure(wire):
    with pytest.raises(HttpFailure) as failure:
        await exchange([wire])
    assert failure.value.kind == "malformed"


async def test_gaps_are_between_tokens_and_the_role_is_none():
    answer, clock = Answer(), 10.0
    answer.begin(200, "text/event-stream")
    for event in EVENTS:
        answer.feed(event, clock)
        clock += 1.0
    assert answer.first_token == 12.0
    assert list(answer.gaps) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("localhost:8000", Origin("localhost", 8000, secure=False, prefix="")),
        ("http://h/v1", Origin("h", 80, secure=False, prefix="")),
        ("https://h:1/base/v1/", Origin("h", 1, secure=True, prefix="/base")),
        ("http://[::1]:8000", Origin("::1", 8000, secure=False, prefix="")),
    ],
)
def test_addresses_are_understood_as_people_write_them(url, origin):
    assert Origin.parse(url) == origin


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999", "", "http://[::1"])
def test_what_is_not_an_address_is_told(url):
    with pytest.raises(InputError, match="is not a URL"):
        Origin.parse(url)
