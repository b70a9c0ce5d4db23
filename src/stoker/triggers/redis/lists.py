"""``redis``, ``redis-cluster`` and ``redis-sentinel``: how much is in a list, set or hash.

*Source*: ``pkg/scalers/redis_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from stoker.errors import StokerError
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, metric_name, unread
from stoker.triggers.connections import Lease
from stoker.triggers.parameters import Parameter, Parameters, parameter
from stoker.triggers.redis.connection import CONNECTION, Reach, RedisClient, asking

# One call, so that the type cannot change between the question for it and the count.
_LENGTH = """
local kind = redis.call('TYPE', KEYS[1]).ok
local count = ({list = 'LLEN', none = 'LLEN', set = 'SCARD', zset = 'ZCARD', hash = 'HLEN'})[kind]
if not count then
  return redis.error_reply('WRONGTYPE a ' .. kind .. ' has no length that counts')
end
return redis.call(count, KEYS[1])
"""


class RedisTrigger:
    """How much is in a list, set, sorted set or hash; a missing one has 0."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("listLength", "the target", "int64", default="5"),
        parameter("activationListLength", "a greater value wakes", "int64"),
        parameter("listName", "the key", required=True),
        *CONNECTION,
    )

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        given = Parameters(self.PARAMETERS, spec.metadata, context.auth, context.env)
        self.key = given.text("listName")
        self.reach = Reach.read(spec.type, given)
        self._target = given.whole("listLength")
        self._activation = given.whole("activationListLength")
        given.finish("redis")
        self._pool = context.pool
        self._client: Lease[RedisClient] | None = None

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric."""
        return metric_name(self.spec, f"redis-{self.key}")

    @property
    def target(self) -> float:
        """``listLength``."""
        return float(self._target)

    async def read(self, now: float) -> TriggerReading:  # noqa: ARG002 - Redis knows no time
        """The length, or why there is none."""
        reading = unread(
            self.spec, self.metric_name, self.target, f"length of {self.key}", self._activation
        )
        try:
            if self._client is None:
                self._client = RedisClient.lease(self._pool, self.reach)
            async with asking(self._client.value) as redis:
                length = int(await redis.eval(_LENGTH, 1, self.key))
        except StokerError as error:
            return replace(reading, error=error.message, answer=error.hint or "")
        return replace(
            reading, value=float(length), active=length > self._activation, answer=str(length)
        )

    async def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            await self._client.release()
            self._client = None
