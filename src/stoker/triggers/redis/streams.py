"""``redis-streams``, ``redis-cluster-streams`` and ``redis-sentinel-streams``.

What counts follows from the parameters: without a consumer group the entries of the stream, with
one its pending entries, and with ``lagCount`` what was not delivered to it yet.

*Source*: ``pkg/scalers/redis_streams_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any, ClassVar

from stoker.errors import StokerError
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, metric_name, unread
from stoker.triggers.connections import Lease
from stoker.triggers.parameters import Parameter, Parameters, parameter
from stoker.triggers.redis.connection import CONNECTION, Reach, RedisClient, asking

_LAG_SINCE = 7  # major version of the Redis that has a lag


class Count(StrEnum):
    """What counts, and the parameter that is its target."""

    LENGTH = "streamLength"
    PENDING = "pendingEntriesCount"
    LAG = "lagCount"


class RedisStreamsTrigger:
    """Entries of a stream: all, those pending of a consumer group, or those it has yet to get."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("pendingEntriesCount", "the target of pending entries", "int64", default="5"),
        parameter("streamLength", "the target of entries, without a group", "int64", default="5"),
        parameter("lagCount", "the target of the group's lag (Redis 7 and newer)", "int64"),
        parameter("stream", "the key", required=True),
        parameter("consumerGroup", "of the stream"),
        parameter("activationLagCount", "a greater value wakes", "int64", default="0"),
        *CONNECTION,
    )

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        given = Parameters(self.PARAMETERS, spec.metadata, context.auth, context.env)
        self.stream, self.group = given.text("stream"), given.text("consumerGroup")
        self.reach = Reach.read(spec.type, given)
        self.count = Count.LENGTH
        if self.group:
            self.count = Count.LAG if given.whole("lagCount") else Count.PENDING
        self._target = given.whole(self.count)
        self._activation = given.whole("activationLagCount")
        given.finish("redis stream")
        self._pool = context.pool
        self._client: Lease[RedisClient] | None = None

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric."""
        return metric_name(self.spec, f"redis-streams-{self.stream}")

    @property
    def target(self) -> float:
        """Of what counts."""
        return float(self._target)

    async def read(self, now: float) -> TriggerReading:  # noqa: ARG002 - Redis knows no time
        """The count, or why there is none."""
        of_group = f" of group {self.group}" if self.group else ""
        source = f"{self.count.name.lower()} of {self.stream}{of_group}"
        reading = unread(self.spec, self.metric_name, self.target, source, self._activation)
        try:
            if self._client is None:
                self._client = RedisClient.lease(self._pool, self.reach)
            async with asking(self._client.value) as redis:
                found = await self._counted(redis)
        except StokerError as error:
            return replace(reading, error=error.message, answer=error.hint or "")
        return replace(
            reading, value=float(found), active=found > self._activation, answer=str(found)
        )

    async def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            await self._client.release()
            self._client = None

    async def _counted(self, redis: Any) -> int:
        if self.count is Count.LENGTH:
            return int(await redis.xlen(self.stream))
        if self.count is Count.PENDING:
            return int((await redis.xpending(self.stream, self.group))["pending"])
        return await self._lag(redis)

    async def _lag(self, redis: Any) -> int:
        """Of a group that nobody has made yet: all entries, for all will be delivered to it."""
        info = await redis.info("server")
        if self.reach.kind == "cluster":  # an answer a node, unless there is only one
            info = next(iter(info.values())) if "redis_version" not in info else info
        version = str(info.get("redis_version", ""))
        if not version[:1].isdecimal():
            raise StokerError("could not find Redis version number")
        if int(version.partition(".")[0]) < _LAG_SINCE:
            raise StokerError("redis version 7+ required for lag", hint=f"this is {version}")
        if not await redis.exists(self.stream):
            return 0
        for group in await redis.xinfo_groups(self.stream):
            if group["name"] == self.group:
                return int(group.get("lag") or 0)  # null: Redis cannot tell
        return int(await redis.xlen(self.stream))
