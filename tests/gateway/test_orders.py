"""Things that happen in the same moment, or in an unlucky order: in memory, a turn at a time."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.gateway.fuzzing.readers import answers_by_h11, requests_by_h11
from tests.gateway.fuzzing.world import LIMITS, Loop, Wire, World, run, turns
from tests.gateway.vectors import HEAD

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
