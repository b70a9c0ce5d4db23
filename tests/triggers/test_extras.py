"""Without the packages of an extra a trigger says which one it needs."""

from __future__ import annotations

import sys

import pytest

from .conftest import Build


@pytest.mark.parametrize(
    ("missing", "type_", "metadata", "extra"),
    [
        ("redis.asyncio", "redis", {"address": "h:1", "listName": "q"}, "stoker[redis]"),
        ("redis.asyncio", "redis-streams", {"address": "h:1", "stream": "q"}, "stoker[redis]"),
        ("aio_pika.exceptions", "rabbitmq", {"host": "amqp://h", "queueName": "q"}, "stoker[rabbi"),
        ("stoker.protocols.externalscaler", "external", {"scalerAddress": "h:1"}, "stoker[grpc]"),
    ],
)
async def test_a_missing_package_is_named_with_its_extra(
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    type_: str,
    metadata: dict[str, str],
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    reading = await build(type_, **metadata).read(0.0)

    assert "is not installed" in (reading.error or "")
    assert extra in reading.answer
