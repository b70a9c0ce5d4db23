"""Sources that go and come back: an error while they are away, and no trace of it afterwards."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from stoker.protocols.externalscaler import handler
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.connections import Pool
from stoker.triggers.polling import PolledTrigger

from . import servers
from .test_external import Peer


def polled(type_: str, told: list[str], **metadata: str) -> PolledTrigger:
    context = TriggerContext(lambda _: None, pool=Pool(), timeout=2.0)
    return PolledTrigger(
        TriggerSpec(0, type_, metadata),
        lambda _: context,
        on_change=lambda reason, sentence: told.append(f"{reason}: {sentence}"),
    )


@pytest.mark.needs("redis-server", "redis-cli")
async def test_a_redis_that_is_started_again_is_read_again(tmp_path: Path) -> None:
    (port,) = servers.free_ports(1)
    command = servers.redis_command(port, tmp_path / "data")
    told: list[str] = []
    trigger = polled("redis", told, address=f"127.0.0.1:{port}", listName="q")

    with servers.running(command, lambda: servers.accepts(port), log=tmp_path / "1"):
        servers.redis_cli(port, "RPUSH", "q", "a")
        assert (await trigger.read(0.0)).value == 1.0
    for now in (30.0, 60.0):
        assert "connection refused" in ((await trigger.read(now)).error or "")
    with servers.running(command, lambda: servers.accepts(port), log=tmp_path / "2"):
        # it kept nothing, and the first try finds a connection that is dead
        assert (await trigger.read(90.0)).value == 0.0
    await trigger.close()

    assert told == ["TriggerAnswersAgain: s0-redis-q after 2 failed reads in 60 s"]
    assert trigger.records["s0-redis-q"].errors == 2


async def test_a_peer_that_is_started_again_is_read_again() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler(Peer()),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    told: list[str] = []
    trigger = polled("external", told, scalerAddress=f"127.0.0.1:{port}")
    assert (await trigger.read(0.0)).value == 7.5

    await server.stop(None)
    gone = await trigger.read(30.0)
    assert "Unavailable" in (gone.error or "")
    # the HPA has a metric of this name, and fallback counts and replaces it
    assert (gone.metric_name, gone.target) == ("s0-queue", 2.5)
    again = grpc.aio.server()
    again.add_generic_rpc_handlers((handler(Peer()),))
    assert again.add_insecure_port(f"127.0.0.1:{port}") == port
    await again.start()
    # gRPC would wait a second before it connects again; a new channel does not
    assert (await trigger.read(60.0)).value == 7.5
    await again.stop(None)
    await trigger.close()

    assert told == ["TriggerAnswersAgain: s0-queue after 1 failed reads in 30 s"]


async def test_a_peer_that_comes_late_gives_its_metric_the_name() -> None:
    (port,) = servers.free_ports(1)
    told: list[str] = []
    trigger = polled("external", told, scalerAddress=f"127.0.0.1:{port}")

    assert (await trigger.read(0.0)).metric_name == "s0-external"
    assert list(trigger.records) == ["s0-external"]
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler(Peer()),))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    assert (await trigger.read(30.0)).metric_name == "s0-queue"
    await server.stop(None)
    await trigger.close()

    assert list(trigger.records) == ["s0-queue"]
    assert trigger.records["s0-queue"].errors == 1
    assert told == ["TriggerAnswersAgain: s0-queue after 1 failed reads in 30 s"]
