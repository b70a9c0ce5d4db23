"""``redis``, ``redis-cluster``, ``redis-sentinel``, and the three for streams."""

from stoker.triggers.redis.lists import RedisTrigger
from stoker.triggers.redis.streams import RedisStreamsTrigger

__all__ = ["RedisStreamsTrigger", "RedisTrigger"]
