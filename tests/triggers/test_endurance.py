"""Ten thousand failing reads leave nothing behind, and triggers of one source share connections."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.connections import Pool
from stoker.triggers.polling import PolledTrigger

from .conftest import Certificates, HttpServer

READS = 10_000
VECTOR = {"data": {"resultType": "vector", "result": [{"value": [0, "7"]}]}}


async def held() -> tuple[int, int, int]:
    """Open files, threads and tasks of this process."""
    gc.collect()
    await asyncio.sleep(0.05)  # what was collected closes itself in a task
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - not a disk
    # the server of the test is in the same loop, and ends its tasks in its own time
    tasks = [one for one in asyncio.all_tasks() if "RequestHandler" not in repr(one.get_coro())]
    return files, threading.active_count(), len(tasks)


def polled(type_: str, pool: Pool, auth: dict[str, str], **metadata: str) -> PolledTrigger:
    context = TriggerContext(lambda _: None, pool=pool, auth=auth, timeout=1.0)
    return PolledTrigger(TriggerSpec(0, type_, metadata), lambda _: context)


def failing(pool: Pool, certificates: Certificates, url: str) -> list[PolledTrigger]:
    """Each kind of source that is not there, with certificates where it takes them."""
    tls = {"ca": certificates.ca, "cert": certificates.cert, "key": certificates.key}
    queue = {"queueName": "q"}
    return [
        polled(
            "prometheus", pool, {}, serverAddress="http://127.0.0.1:1", query="q", threshold="1"
        ),
        polled("prometheus", pool, {}, serverAddress=url, query="q", threshold="1"),
        polled(
            "metrics-api", pool, tls, url="https://127.0.0.1:1", valueLocation="a",
            targetValue="1", authMode="tls",
        ),
        polled("redis", pool, {}, address="127.0.0.1:1", listName="q"),
        polled("rabbitmq", pool, {}, host="amqp://127.0.0.1:1/", **queue),
        polled("rabbitmq", pool, {}, host="http://127.0.0.1:1/", **queue),
    ]  # fmt: skip


@pytest.mark.timeout(170)
async def test_failing_reads_leak_no_socket_no_thread_and_no_task(
    certificates: Certificates, http_server: HttpServer
) -> None:
    http_server.handler = lambda _: web.Response(status=500)
    pool = Pool()
    triggers = failing(pool, certificates, http_server.url)
    for trigger in triggers:  # what libraries keep for good is there after the first time
        await trigger.read(0.0)
    http_server.requests.clear()
    before = await held()

    each = -(-READS // len(triggers))
    for now in range(each):
        readings = await asyncio.gather(*(trigger.read(float(now)) for trigger in triggers))
        assert all(reading.error for reading in readings)
        http_server.requests.clear()

    assert sum(record.errors for t in triggers for record in t.records.values()) >= READS
    for trigger in triggers:
        await trigger.close()
    after = await held()
    assert after[0] <= before[0] + 5, (before, after)
    assert after[1] <= before[1], (before, after)
    assert after[2] <= before[2], [repr(task) for task in asyncio.all_tasks()]
    assert len(pool) == 0


async def test_two_hundred_triggers_polled_at_once_share_connections(
    http_server: HttpServer,
) -> None:
    peers: set[Any] = set()

    def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response(VECTOR)

    http_server.handler = answer
    pool = Pool()
    triggers = [
        polled("prometheus", pool, {}, serverAddress=http_server.url, query=f"q{n}", threshold="1")
        for n in range(200)
    ]

    for now in range(5):
        readings = await asyncio.gather(*(trigger.read(float(now)) for trigger in triggers))
        assert {reading.value for reading in readings} == {7.0}

    assert len(http_server.requests) == 1000
    assert len(peers) <= 64
    assert len(pool) == 1
    for trigger in triggers:
        await trigger.close()
    assert len(pool) == 0


def test_the_test_can_see_a_leak() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    leak = os.open("/dev/null", os.O_RDONLY)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    os.close(leak)
