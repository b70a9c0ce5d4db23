"""How a Redis is reached: one server, a cluster, or whichever server the sentinels call master.

*Source*: ``pkg/scalers/redis_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from stoker.errors import MachineError, StokerError
from stoker.triggers.connections import Lease, Pool, PrivateFile, Tls
from stoker.triggers.http import service_hint
from stoker.triggers.parameters import AUTH, Parameter, Parameters, Source, parameter

CONNECT, READ = 5.0, 3.0  # seconds, as KEDA's client waits
CONNECTIONS = 64  # at once to one Redis

_MAE = (Source.METADATA, Source.AUTH, Source.ENV)
_MEA = (Source.METADATA, Source.ENV, Source.AUTH)

CONNECTION: Final[tuple[Parameter, ...]] = (
    parameter("address;addresses", "host:port; several of a cluster or of sentinels", "list",
              order=_MAE),
    parameter("username", "of the ACL", order=_MEA, secret=True),
    parameter("password", "of the server", order=_MEA, secret=True),
    parameter("sentinelUsername", "of the sentinels", order=_MAE, secret=True),
    parameter("sentinelPassword", "of the sentinels", order=_MAE, secret=True),
    parameter("sentinelMaster", "name of the master that the sentinels watch", order=_MAE),
    parameter("host;hosts", "in the place of `address`, with as many ports", "list", order=_MEA),
    parameter("port;ports", "in the place of `address`", "list", order=_MEA),
    parameter("enableTLS", "TLS; not together with `tls` of a TriggerAuthentication"),
    parameter("tls", "enable or disable", order=AUTH),
    parameter("unsafeSsl", "the server's certificate is not looked at", "bool", default="false"),
    parameter("cert;Cert", "PEM of a client's certificate", order=AUTH),
    parameter("key", "PEM of its key", order=AUTH, secret=True),
    parameter("keyPassword", "opens the key", order=AUTH, secret=True,
              note="refused for redis-cluster*: the key must be open"),
    parameter("ca", "PEM of an authority to trust besides the machine's", order=AUTH),
    parameter("databaseIndex", "number of the database; a cluster has only 0", "int64"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a Redis is, and how one gets in. Two triggers with the same one share connections."""

    kind: str  # "", cluster or sentinel
    addresses: tuple[tuple[str, int], ...]
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    sentinel_master: str = ""
    database: int = 0
    tls: Tls | None = None

    @classmethod
    def read(cls, type_: str, given: Parameters) -> Reach:
        """From the parameters; what is wrong is noted there."""
        kind = next((word for word in ("cluster", "sentinel") if word in type_.split("-")), "")
        tls = _tls(given) if _has_tls(given) else None
        if tls is not None and kind == "cluster" and tls.key_password:
            given.refuse("keyPassword is not supported with a cluster: give the key without one")
        return cls(
            kind=kind,
            addresses=_addresses(given),
            username=given.text("username"),
            password=given.text("password"),
            sentinel_username=given.text("sentinelUsername"),
            sentinel_password=given.text("sentinelPassword"),
            sentinel_master=given.text("sentinelMaster"),
            database=given.whole("databaseIndex") if kind != "cluster" else 0,
            tls=tls,
        )


def _addresses(given: Parameters) -> tuple[tuple[str, int], ...]:
    hosts, ports = given.items("host"), given.items("port")
    texts = list(given.items("address"))
    if hosts and ports:
        if len(hosts) != len(ports):
            given.refuse(
                "not enough hosts or ports given. number of hosts should be equal to the number "
                "of ports"
            )
        texts += [f"{host}:{port}" for host, port in zip(hosts, ports, strict=False)]
    if not texts or not texts[0]:
        given.refuse(
            "no addresses or hosts given. address should be a comma separated list of host:port "
            "or set the host/port values"
        )
    found = []
    for text in texts:
        host, _, port = text.rpartition(":")
        if host and port.isdecimal() and int(port) < 65536:
            found.append((host.strip("[]"), int(port)))
        elif text:
            given.refuse(f"address {text}: missing port in address")
    return tuple(found)


def _has_tls(given: Parameters) -> bool:
    written, auth = given.text("enableTLS"), given.text("tls")
    if written and auth:
        given.refuse("unable to set `tls` in both ScaledObject and TriggerAuthentication together")
    if auth not in ("", "enable", "disable"):
        given.refuse(f"error incorrect TLS value given, got {auth}")
    if written not in ("", *_TRUE, *_FALSE):
        given.refuse(
            f'EnableTLS parsing error strconv.ParseBool: parsing "{written}": invalid syntax'
        )
    return written in _TRUE or auth == "enable"


_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")


def _tls(given: Parameters) -> Tls:
    return Tls(
        given.text("ca"),
        given.text("cert"),
        given.text("key"),
        given.text("keyPassword"),
        unsafe=given.boolean("unsafeSsl"),
    )


class RedisClient:
    """A client of ``redis-py``; :meth:`lease` shares it."""

    def __init__(self, reach: Reach) -> None:
        self._files: list[PrivateFile] = []
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self.slots = asyncio.Semaphore(CONNECTIONS)
        try:
            self.redis = self._made(reach)
        except ImportError:
            raise MachineError(
                "the Python package `redis` is not installed",
                hint="pip install 'stoker[redis]'",
            ) from None
        self.host = reach.addresses[0][0]

    @classmethod
    def lease(cls, pool: Pool, reach: Reach) -> Lease[RedisClient]:
        """The client that all triggers of the same *reach* share.

        Raises:
            StokerError: the certificates cannot be used.
        """

        def make() -> tuple[RedisClient, Callable[[], Awaitable[object]]]:
            client = cls(reach)
            return client, client.close

        return pool.lease(("redis", reach), make)

    async def close(self) -> None:
        """Close all connections."""
        for close in self._closers:
            await close()
        for file in self._files:
            file.close()

    def _made(self, reach: Reach) -> Any:
        from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - an extra
        from redis.asyncio.cluster import ClusterNode  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        options: dict[str, Any] = {
            "username": reach.username or None,
            "password": reach.password or None,
            "socket_connect_timeout": CONNECT,
            "socket_timeout": READ,
            "decode_responses": True,
            "encoding_errors": "replace",
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),  # KEDA's retry is around the whole trigger
            **(self._tls_options(reach.tls) if reach.tls is not None else {}),
        }
        if reach.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in reach.addresses]
            cluster = RedisCluster(startup_nodes=nodes, **options)
            self._closers.append(cluster.aclose)
            return cluster
        if reach.kind == "sentinel":
            return self._master(reach, options)
        host, port = reach.addresses[0]
        client = Redis(host=host, port=port, db=reach.database, **options)
        self._closers.append(client.aclose)
        return client

    def _master(self, reach: Reach, options: dict[str, Any]) -> Any:
        from redis.asyncio import sentinel as sentinels  # noqa: PLC0415

        make: Any = sentinels.Sentinel  # it has no types
        own = {
            **options,
            "username": reach.sentinel_username or None,
            "password": reach.sentinel_password or None,
        }
        sentinel = make(list(reach.addresses), sentinel_kwargs=own, **options)
        master = sentinel.master_for(reach.sentinel_master, db=reach.database)
        self._closers += [master.aclose, *(one.aclose for one in sentinel.sentinels)]
        return master

    def _tls_options(self, tls: Tls) -> dict[str, Any]:
        tls.context()  # what is wrong with the certificates shows here, in our words
        options: dict[str, Any] = {"ssl": True}
        if tls.unsafe:
            options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        if tls.ca:
            options["ssl_ca_data"] = tls.ca
        if tls.cert:
            cert, key = PrivateFile(tls.cert), PrivateFile(tls.key)
            self._files += [cert, key]
            options |= {"ssl_certfile": cert.path, "ssl_keyfile": key.path}
            if tls.key_password:
                options["ssl_password"] = tls.key_password
        return options


@asynccontextmanager
async def asking(client: RedisClient) -> AsyncIterator[Any]:
    """The connected client; what fails inside becomes a StokerError."""
    from redis.exceptions import (  # noqa: PLC0415
        AuthenticationError,
        ConnectionError,  # noqa: A004 - redis' own
        RedisClusterException,
        RedisError,
        TimeoutError,  # noqa: A004
    )

    try:
        async with client.slots:
            yield client.redis
    except AuthenticationError as error:
        raise StokerError(
            f"connection to redis failed: {_with_code(str(error))}",
            hint="the credentials are missing or wrong: see username, password, authenticationRef",
        ) from None
    except (ConnectionError, TimeoutError, RedisClusterException) as error:
        raise StokerError(
            f"connection to redis failed: {_in_go(error)}", hint=service_hint(client.host)
        ) from None
    except (RedisError, OSError) as error:
        raise StokerError(str(error) or type(error).__name__) from None


def _with_code(text: str) -> str:
    """What the server said, with the code that redis-py takes away."""
    for words, code in _CODES:
        if text.startswith(words):
            return f"{code} {text}"
    return text


_CODES: Final = (("invalid username-password", "WRONGPASS"), ("Authentication required", "NOAUTH"))


def _in_go(error: Exception) -> str:
    """The words of KEDA's client for the same failure."""
    text = str(error)
    where = text.partition("connecting to ")[2].partition(". ")[0].rstrip(".")
    if "Connect call failed" in text or "Error 111" in text:
        return f"dial tcp {where or 'redis'}: connect: connection refused"
    if "Name or service not known" in text or "name resolution" in text:
        return f"dial tcp: lookup {where.rpartition(':')[0]}: no such host"
    if "Timeout" in text:
        return "i/o timeout"
    # which sentinel said what is told with the whole inside of a client
    return text.partition(" : <")[0] or type(error).__name__
