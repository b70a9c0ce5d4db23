"""Redis lists and streams, on real servers: one, a cluster, and one that sentinels watch."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.redis import RedisTrigger
from stoker.triggers.redis.connection import Reach

from .conftest import Build, Certificates
from .servers import redis_cli

pytestmark = pytest.mark.needs("redis-server", "redis-cli")


def at(port: int) -> dict[str, str]:
    return {"address": f"127.0.0.1:{port}"}


@pytest.mark.parametrize(
    ("commands", "length"),
    [
        ([], 0),
        ([["RPUSH", "q", "a", "b", "c"]], 3),
        ([["SADD", "q", "a", "b"]], 2),
        ([["ZADD", "q", "1", "a", "2", "b"]], 2),
        ([["HSET", "q", "a", "1"]], 1),
    ],
    ids=["missing", "list", "set", "sorted set", "hash"],
)
async def test_the_length_of_whatever_the_key_is(
    redis_server: Any, build: Build, commands: list[list[str]], length: int
) -> None:
    port, _ = redis_server
    redis_cli(port, "DEL", "q")
    for command in commands:
        redis_cli(port, *command)

    trigger = build("redis", listName="q", **at(port))
    reading = await trigger.read(0.0)

    assert (reading.value, reading.error) == (float(length), None)
    assert (reading.target, reading.active) == (5.0, length > 0)
    assert reading.metric_name == "s0-redis-q"


async def test_another_type_is_an_error(redis_server: Any, build: Build) -> None:
    port, _ = redis_server
    redis_cli(port, "SET", "text", "1")

    reading = await build("redis", listName="text", **at(port)).read(0.0)

    assert reading.value is None
    assert "WRONGTYPE a string has no length" in (reading.error or "")


async def test_activation_is_strictly_greater(redis_server: Any, build: Build) -> None:
    port, _ = redis_server
    redis_cli(port, "DEL", "act")
    redis_cli(port, "RPUSH", "act", "a", "b")
    trigger = build("redis", listName="act", activationListLength="2", listLength="9", **at(port))

    assert not (await trigger.read(0.0)).active
    redis_cli(port, "RPUSH", "act", "c")
    reading = await trigger.read(0.0)
    assert (reading.active, reading.target) == (True, 9.0)


async def test_a_database_and_a_user_of_its_own(redis_server: Any, build: Build) -> None:
    port, _ = redis_server
    redis_cli(port, "-n", "3", "RPUSH", "in3", "a")
    asked = {"listName": "in3", "databaseIndex": "3", "username": "reader", **at(port)}

    assert (await build("redis", auth={"password": "hunter2"}, **asked).read(0.0)).value == 1.0
    wrong = await build("redis", auth={"password": "hunter3"}, **asked).read(0.0)
    assert "WRONGPASS" in (wrong.error or "")
    assert "hunter3" not in str(wrong)


async def test_the_address_comes_from_a_variable_as_hosts_and_ports(
    redis_server: Any, build: Build
) -> None:
    port, _ = redis_server
    redis_cli(port, "DEL", "q2")
    env = {"HOST": "127.0.0.1", "PORT": str(port)}

    trigger = build("redis", env=env, listName="q2", hostFromEnv="HOST", portFromEnv="PORT")
    assert (await trigger.read(0.0)).value == 0.0


async def test_tls_with_a_clients_certificate(
    redis_server: Any, build: Build, certificates: Certificates
) -> None:
    port, secure = redis_server
    redis_cli(port, "DEL", "tls")
    pair = {"cert": certificates.cert, "key": certificates.key}
    asked = {"listName": "tls", **at(secure)}

    trusting = {"tls": "enable", "ca": certificates.ca}
    good = await build("redis", auth={**trusting, **pair}, **asked).read(0)
    assert (good.value, good.error) == (0.0, None)
    unsafe = build("redis", auth=pair, enableTLS="true", unsafeSsl="true", **asked)
    assert (await unsafe.read(0)).value == 0.0

    untrusted = await build("redis", auth={"tls": "enable", **pair}, **asked).read(0)
    assert "connection to redis failed" in (untrusted.error or "")
    nobody = await build("redis", auth=trusting, **asked).read(0)
    assert nobody.error is not None
    for reading in (untrusted, nobody):
        assert "PRIVATE KEY" not in str(reading)


async def test_a_cluster_finds_the_node_of_each_key(redis_cluster: Any, build: Build) -> None:
    for index in range(6):
        redis_cli(redis_cluster[0], "-c", "RPUSH", f"key{index}", *["x"] * (index + 1))
    addresses = ",".join(f"127.0.0.1:{port}" for port in redis_cluster[:2])

    values = [
        (await build("redis-cluster", addresses=addresses, listName=f"key{n}").read(0.0)).value
        for n in range(6)
    ]
    assert values == [1, 2, 3, 4, 5, 6]


async def test_sentinels_tell_the_master(redis_sentinel: Any, build: Build) -> None:
    port, watcher = redis_sentinel
    redis_cli(port, "-a", "hunter2", "--no-auth-warning", "RPUSH", "s", "a", "b")
    asked = {"listName": "s", "sentinelMaster": "mymaster", **at(watcher)}
    auth = {"password": "hunter2"}

    assert (await build("redis-sentinel", auth=auth, **asked).read(0.0)).value == 2.0
    unknown = await build("redis-sentinel", auth=auth, **{**asked, "sentinelMaster": "no"}).read(0)
    assert "No master found for 'no'" in (unknown.error or "")


async def test_streams_count_entries_pending_entries_or_lag(
    redis_server: Any, build: Build
) -> None:
    port, _ = redis_server
    redis_cli(port, "DEL", "st")
    for number in range(7):
        redis_cli(port, "XADD", "st", "*", "n", str(number))
    redis_cli(port, "XGROUP", "CREATE", "st", "g", "0")
    redis_cli(port, "XREADGROUP", "GROUP", "g", "c", "COUNT", "3", "STREAMS", "st", ">")
    stream = {"stream": "st", **at(port)}

    async def read(**more: str) -> tuple[float | None, float, str]:
        reading = await build("redis-streams", **{**stream, **more}).read(0.0)
        assert reading.error is None
        return reading.value, reading.target, reading.metric_name

    name = "s0-redis-streams-st"
    assert await read(streamLength="2") == (7.0, 2.0, name)
    assert await read(consumerGroup="g") == (3.0, 5.0, name)
    assert await read(consumerGroup="g", lagCount="4") == (4.0, 4.0, name)
    # a group that nobody has made yet will get all of them
    assert await read(consumerGroup="new", lagCount="4") == (7.0, 4.0, name)
    assert await read(stream="none", consumerGroup="g", lagCount="4") == (
        0.0, 4.0, "s0-redis-streams-none",
    )  # fmt: skip


async def test_pending_entries_of_a_group_that_is_not_there_are_an_error(
    redis_server: Any, build: Build
) -> None:
    asked = {"stream": "none", "consumerGroup": "g", **at(redis_server[0])}

    assert "NOGROUP" in ((await build("redis-streams", **asked).read(0.0)).error or "")


async def test_streams_of_a_cluster(redis_cluster: Any, build: Build) -> None:
    redis_cli(redis_cluster[0], "-c", "XADD", "cst", "*", "n", "1")
    asked = {"stream": "cst", **at(redis_cluster[1])}

    assert (await build("redis-cluster-streams", **asked).read(0.0)).value == 1.0
    lag = build("redis-cluster-streams", consumerGroup="g", lagCount="1", **asked)
    assert (await lag.read(0.0)).value == 1.0


async def test_a_refused_connection_is_told_as_keda_tells_it(build: Build) -> None:
    reading = await build("redis", listName="q", address="127.0.0.1:1").read(0.0)

    assert reading.error == (
        "connection to redis failed: dial tcp 127.0.0.1:1: connect: connection refused"
    )


@pytest.mark.parametrize("type_", ["redis", "redis-cluster", "redis-sentinel"])
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("q.ns.svc:6379", "dial tcp: lookup q.ns.svc: no such host"),
    ],
)
async def test_nobody_there_is_one_sentence(
    build: Build, type_: str, address: str, words: str
) -> None:
    asked = {"address": address, "listName": "q", "sentinelMaster": "m"}
    reading = await build(type_, auth={"password": "hunter2"}, **asked).read(0.0)

    if type_ == "redis-sentinel":
        words = "No master found for 'm'"
    assert reading.error == f"connection to redis failed: {words}"
    assert ("inside a cluster only" in reading.answer) is (".svc" in address)


def parse(type_: str = "redis", auth: dict[str, str] | None = None, **metadata: str) -> Reach:
    context = TriggerContext(lambda _: None, auth=auth or {})
    return RedisTrigger(TriggerSpec(0, type_, {"listName": "q", **metadata}), context).reach


@pytest.mark.parametrize(
    ("metadata", "auth", "words"),
    [
        ({}, {}, "no addresses or hosts given"),
        ({"address": "a"}, {}, "address a: missing port in address"),
        ({"host": "a,b", "port": "1"}, {}, "number of hosts should be equal"),
        ({"address": "a:1", "enableTLS": "true"}, {"tls": "enable"}, "unable to set `tls` in both"),
        ({"address": "a:1", "enableTLS": "yes"}, {}, "EnableTLS parsing error"),
        ({"address": "a:1"}, {"tls": "yes"}, "error incorrect TLS value given, got yes"),
        ({"address": "a:1", "listLength": "1.5"}, {}, "cannot unmarshal number 1.5"),
        ({"address": "a:1", "databaseIndex": "x"}, {}, 'unable to set param "databaseIndex"'),
    ],
)
def test_what_keda_refuses_is_refused(
    metadata: dict[str, str], auth: dict[str, str], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        parse(auth=auth, **metadata)

    assert words in caught.value.message


def test_metadata_wins_over_variables_and_these_over_the_authentication() -> None:
    reach = parse(auth={"username": "auth", "address": "auth:1"}, username="meta", address="m:2")
    assert (reach.username, reach.addresses) == ("meta", (("m", 2),))
    assert parse(auth={"username": "auth", "address": "auth:1"}).username == "auth"


def test_the_repr_of_what_is_reached_has_no_secret(certificates: Certificates) -> None:
    auth = {"password": "hunter2", "tls": "enable", "key": certificates.key, "cert": "c"}

    assert "hunter2" not in repr(parse(auth=auth, address="a:1"))
    assert "PRIVATE" not in repr(parse(auth=auth, address="a:1"))
