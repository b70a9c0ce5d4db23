"""What the control process tells a gateway process that has just come."""

from __future__ import annotations

import asyncio

from stoker.gateway import wire
from stoker.gateway.fleet import Fleet
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.seats import Seat
from stoker.gateway.stats import ModelCounters, past
from stoker.gateway.wire import WorkerConfig


async def test_a_process_that_starts_misses_no_change(tmp_path):
    """It has said hello and does not serve yet: whatever changes in that time reaches it."""
    fleet = Fleet(tmp_path, WorkerConfig(), host="127.0.0.1", port=0)
    seat = Seat(0, None)
    seat.pid = 7
    fleet._seats.add(seat)
    fleet.set_models([ModelSettings("m")])
    fleet.set_endpoints("m", [EndpointSpec("a", "http://127.0.0.1:1")])
    server = await asyncio.start_unix_server(fleet._connected, tmp_path / "link")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "link")
    hello = wire.line("hello", version=wire.VERSION, pid=7, number=0, address=["127.0.0.1", 1])
    writer.write(hello)
    ops = [(await wire.read_message(reader))["op"] for _ in range(3)]
    assert ops == ["hello", "models", "endpoints"]
    fleet.set_endpoints("m", [])
    told = await wire.read_message(reader)
    assert (told["op"], wire.read_endpoints(told)) == ("endpoints", [])
    assert fleet.in_flight("a") == 1  # it may send it requests until it says otherwise
    depths = {"models": {"m": [0, 0]}, "replicas": []}
    writer.write(wire.line("depths", seq=told["seq"], **depths))
    async with asyncio.timeout(5):
        while fleet.in_flight("a"):  # noqa: ASYNC110 - until it is heard
            await asyncio.sleep(0)
    writer.close()
    server.close()
    await fleet.abandon()


def test_what_a_killed_process_had_in_hand_is_counted():
    counters = ModelCounters(incoming=10)
    counters.by_code.update({200: 6, 499: 1})
    dumped = {"models": {"m": counters.dump(0.0)}}
    assert past(dumped)["models"]["m"]["lost"] == 3
