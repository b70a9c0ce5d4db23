"""Things that happen in the same moment, or in an unlucky order: in memory, a turn at a time."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.gateway.fuzzing.readers import answers_by_h11, requests_by_h11
from tests.gateway.fuzzing.world import HORIZON, LIMITS, Loop, Wire, World, run, turns
from tests.gateway.vectors import HEAD

from stoker.gateway.access_log import AccessLog
from stoker.gateway.pool import KEEP_ALIVE
from stoker.gateway.sweep import SWEEP

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chat(**fields: object) -> bytes:
    body = json.dumps({"model": "m"} | fields).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Stage(World):
    """A world whose replicas say what the test says; `replicas` are their wires, as dialled."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.replicas: list[Wire] = []
        self.ill: set[int] = set()  # dials that are reset before whoever dialled knows of them
        loop.dial = self._dial

    def _dial(self, protocol: asyncio.Protocol, _port: int) -> Wire:
        wire = Wire(self.loop)
        wire.protocol = protocol
        if len(self.replicas) in self.ill:
            wire.delay = 0.1
            wire.reset()
        self.replicas.append(wire)
        return wire

    def heard(self) -> list[bytes]:
        """The bodies of the requests that replicas have."""
        found = [requests_by_h11(bytes(wire.sent)) for wire in self.replicas]
        assert not any(why for _, why in found), found
        return [one.body for requests, _ in found for one in requests]


def on_stage(scene) -> None:
    """Play *scene*, then see that all ends well."""

    async def whole(loop: Loop) -> None:
        stage = Stage(loop)
        await scene(stage)
        for wire in stage.clients:
            if not wire.lost:
                wire.feed(None)
        await stage.settle()
        assert not stage.plane.inbounds
        assert not stage.plane.outbounds
        assert all(counters.in_flight == 0 for counters in stage.plane.counters.values())
        await stage.end()

    run(whole)


def statuses(wire: Wire) -> list[int]:
    return [one.status for one in answers_by_h11(bytes(wire.sent), [], closed=wire.lost)]


def test_what_comes_while_an_answer_ends_keeps_its_place():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat(number=1))
        await turns(4)
        second = chat(number=2)
        client.feed(second[:50])
        stage.replicas[0].feed(OK)  # the first is over: the second may be read in the next turn,
        client.feed(second[50:])  # and its rest is there in this one
        await turns(4)
        stage.replicas[0].feed(OK)
        await turns(4)
        assert [json.loads(body)["number"] for body in stage.heard()] == [1, 2]
        assert statuses(client) == [200, 200]

    on_stage(scene)


def test_a_connection_that_takes_long_is_closed_when_it_has_been_idle_too():
    async def scene(stage: Stage) -> None:
        dial = stage.loop.dial

        def slowly(protocol: asyncio.Protocol, port: int) -> Wire:
            wire = dial(protocol, port)
            wire.late = 1.6 * SWEEP  # the gateway looks for replicas without connections meanwhile
            return wire

        stage.loop.dial = slowly
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat())
        await asyncio.sleep(2 * SWEEP)
        stage.replicas[0].feed(OK)
        await asyncio.sleep(2 * KEEP_ALIVE)
        assert statuses(client) == [200]
        assert stage.replicas[0].lost

    on_stage(scene)


def test_a_client_that_does_not_read_gets_no_second_answer_begun():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.slow = True
        client.feed(chat(number=1) + chat(number=2) + chat(number=3))
        await turns(4)
        long = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n\r\n"
        stage.replicas[0].feed(long + b"x" * 70000)
        await asyncio.sleep(0.5)
        assert len(stage.heard()) == 1
        client.read()
        for _ in range(2):
            await turns(4)
            stage.replicas[0].feed(OK)
        await turns(4)
        assert statuses(client) == [200, 200, 200]

    on_stage(scene)


def test_a_client_that_does_not_read_gets_no_more_of_the_gateways_own_pages_than_one():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        client.slow = True
        client.feed(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        await turns(4)
        one = client.get_write_buffer_size()
        client.read()
        await turns(20)
        assert len(client.sent) > 4 * one
        assert statuses(client) == [200] * 5

    on_stage(scene)


def test_a_long_body_does_not_count_for_the_head_behind_it():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        second = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
        client.feed(chat(model="none", text="x" * 2 * LIMITS.max_head) + second[:20])
        client.feed(second[20:])
        await turns(2)
        assert statuses(client) == [404, 200]

    on_stage(scene)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /version HTTP/1.1\r\nHost: x\r\n" + b"Connection: close\r\n" * 60 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 500,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 3000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 3000,
    ],
    ids=["lines that are not passed on", "trailers", "a trailer", "an extension"],
)
def test_nothing_around_a_body_is_endless(data):
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        for start in range(0, len(data), 100):
            client.feed(data[start : start + 100])
        assert statuses(client) == [431]

    on_stage(scene)


def test_half_a_head_behind_a_request_is_given_up_in_time():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat() + b"GET /version")
        await turns(4)
        client.feed(b" HTTP/1.1\r\n")  # waits for its turn
        stage.replicas[0].feed(OK)
        await asyncio.sleep(LIMITS.head_timeout + 1.0)
        assert statuses(client) == [200, 408]
        assert client.lost

    on_stage(scene)


@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        (b"GET /version HTTP/1.1\r\nX-A: " + b"a" * 500, LIMITS.head_timeout),
        (HEAD + b"Content-Length: 500\r\n\r\n" + b" " * 500, LIMITS.body_total),
    ],
    ids=["head", "body"],
)
def test_a_byte_now_and_then_keeps_no_connection(data, allowed):
    """Slowloris: each byte is in time, the whole is not."""

    async def scene(stage: Stage) -> None:
        client = stage.connect()
        start = data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 1
        client.feed(data[:start])
        for at in range(start, start + int((allowed + 1.0) / 0.25)):
            client.feed(data[at : at + 1])
            await asyncio.sleep(0.25)
        assert statuses(client) == [408]
        assert client.lost

    on_stage(scene)


def test_trailers_of_an_answer_arrive_and_end_it():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat(stream=True) + chat(number=2))
        await turns(4)
        stage.replicas[0].feed(STREAM + b"a\r\ndata: {}\n\n\r\n0\r\nX-Tokens: 1\r\n")
        stage.replicas[0].feed(b"\r\n")
        await turns(4)
        stage.replicas[0].feed(OK)
        await turns(4)
        assert statuses(client) == [200, 200]
        assert b"0\r\nX-Tokens: 1\r\n\r\nHTTP/1.1 200 OK" in client.sent

    on_stage(scene)


def test_the_time_for_a_body_begins_with_its_turn():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        second = chat(number=2)
        client.feed(chat(stream=True) + second[:-5])
        await turns(4)
        stage.replicas[0].feed(STREAM)
        for _ in range(8):
            await asyncio.sleep(LIMITS.body_total / 4)
            stage.replicas[0].feed(b"a\r\ndata: {}\n\n\r\n")
        stage.replicas[0].feed(b"0\r\n\r\n")
        await asyncio.sleep(LIMITS.body_timeout / 2)
        client.feed(second[-5:])
        await turns(4)
        stage.replicas[0].feed(OK)
        await turns(4)
        assert statuses(client) == [200, 200]

    on_stage(scene)


def test_a_replica_that_resets_before_the_request_is_written_loses_none():
    async def scene(stage: Stage) -> None:
        stage.ill = {0}
        stage.ready("m", 1, 2)
        client = stage.connect()
        client.feed(chat())
        await asyncio.sleep(0.3)
        assert len(stage.replicas) == 2
        stage.replicas[1].feed(OK)
        await turns(4)
        assert statuses(client) == [200]
        assert stage.plane.counters["m"].retries == {"connect": 1}

    on_stage(scene)


def test_a_replica_that_answers_before_it_has_the_whole_body_gets_no_other_on_that_connection():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        client.feed(chat(text="x" * LIMITS.spool))  # it waits on disk
        await turns(4)
        stage.ready("m", 1)
        await turns(1)
        while not stage.replicas or not stage.replicas[0].sent:
            await turns(1)
        stage.replicas[0].feed(OK)  # it has the head
        client.feed(chat(number=2))
        await asyncio.sleep(0.1)
        stage.replicas[-1].feed(OK)
        await turns(4)
        assert len(stage.replicas) == 2
        assert json.loads(stage.heard()[-1])["number"] == 2
        assert statuses(client) == [200, 200]

    on_stage(scene)


def test_a_client_that_goes_while_its_body_is_read_from_disk_leaves_no_error():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        client.feed(chat(text="x" * LIMITS.spool))
        await turns(4)
        stage.ready("m", 1)
        while not stage.replicas or not stage.replicas[0].sent:
            await turns(1)
        client.reset()
        await asyncio.sleep(0.1)

    on_stage(scene)


def test_a_client_of_http_1_0_hears_no_interim_answer():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        head = (
            b"POST /v1/chat/completions HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
        )
        client.feed(head + b"\r\n")
        assert not client.sent
        client.feed(b"{}")
        await turns(2)
        assert client.sent.startswith(b"HTTP/1.1 400 ")

    on_stage(scene)


def test_a_head_request_that_is_refused_has_no_body():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        client.feed(b"HEAD /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
        await turns(2)
        assert client.sent.startswith(b"HTTP/1.1 400 ")
        assert client.sent.endswith(b"\r\n\r\n")

    on_stage(scene)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_no_chunks_are_announced_where_none_come(version):
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat().replace(b"HTTP/1.1", b"HTTP/" + version))
        await turns(4)
        stage.replicas[0].feed(b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n")
        await turns(4)
        assert client.sent.startswith(b"HTTP/1.1 204 X\r\nX-A: b\r\n")
        assert b"Transfer-Encoding" not in client.sent

    on_stage(scene)


def test_an_error_that_ends_with_its_connection_becomes_an_event_of_a_stream_that_has_begun():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        client.feed(chat(stream=True))
        await asyncio.sleep(2 * LIMITS.heartbeat)
        stage.ready("m", 1)
        await turns(4)
        stage.replicas[0].feed(b'HTTP/1.1 500 X\r\n\r\n{"error": "no')
        stage.replicas[0].feed(b' memory"}')
        stage.replicas[0].feed(None)
        await turns(4)
        [answer] = answers_by_h11(bytes(client.sent), [], closed=False)
        assert answer.whole
        assert answer.body.endswith(b'data: {"error": "no memory"}\n\n')

    on_stage(scene)


def test_an_answer_without_a_body_ends_a_stream_that_has_had_signs_of_life():
    async def scene(stage: Stage) -> None:
        client = stage.connect()
        client.feed(chat(stream=True) + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(2 * LIMITS.heartbeat)
        stage.ready("m", 1)
        await turns(4)
        stage.replicas[0].feed(b"HTTP/1.1 204 No Content\r\n\r\n")
        await turns(4)
        assert statuses(client) == [200, 200]

    on_stage(scene)


def test_a_stream_with_a_length_that_breaks_off_is_not_filled_up():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
        await turns(4)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 40\r\n\r\n"
        stage.replicas[0].feed(head + b"data: {}\n\n")
        stage.replicas[0].reset()
        await turns(4)
        assert client.sent.endswith(b"\r\n\r\ndata: {}\n\n")
        assert client.lost

    on_stage(scene)


def test_an_upgrade_that_nobody_asked_for_is_a_bad_answer_and_no_fault_of_the_gateway():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1, 2)
        client = stage.connect()
        client.feed(chat())
        await turns(4)
        stage.replicas[0].feed(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        await turns(4)
        stage.replicas[1].feed(OK)
        await turns(4)
        assert statuses(client) == [200]

    on_stage(scene)


def test_the_horizon_is_beyond_all_time_limits():
    """Else the fuzzer would look before everything is over."""
    of_limits = (LIMITS.head_timeout, LIMITS.body_total, LIMITS.keep_alive, LIMITS.idle_timeout)
    assert sum(of_limits) * 2 < HORIZON


def test_requests_that_are_cut_off_at_the_end_are_in_the_access_log(tmp_path):
    async def scene(stage: Stage) -> None:
        log = tmp_path / "access.jsonl"
        stage.plane.access_log.close()
        stage.plane.access_log = AccessLog(log, 0.0)
        stage.ready("m", 1)
        stage.connect().feed(chat())
        await turns(4)
        await stage.plane.stop(0.1)
        await turns(4)
        assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [499]

    on_stage(scene)


def test_no_error_event_stands_inside_a_chunk_that_has_not_ended():
    async def scene(stage: Stage) -> None:
        stage.ready("m", 1)
        client = stage.connect()
        client.feed(chat(stream=True))
        await turns(4)
        event = b'data: {"choices":[]}\n\n'
        stage.replicas[0].feed(STREAM + b"%x\r\n%b\r\n" % (len(event) + 2, event))  # two bytes less
        await turns(4)
        stage.replicas[0].feed(None)
        await turns(4)
        assert client.lost
        assert bytes(client.sent).endswith(event + b"\r\n")

    on_stage(scene)
