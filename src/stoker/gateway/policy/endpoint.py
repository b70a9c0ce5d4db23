"""One replica as the policy sees it: what it has, what it may have, how it is."""

from __future__ import annotations

import math
from hashlib import blake2b

from stoker.gateway.policy.circuit import Circuit
from stoker.gateway.policy.request import Request
from stoker.gateway.policy.settings import EndpointSpec, ModelSettings

UNLIMITED = 1 << 30
_ROUNDING = 0.001  # seconds; a moment that is a fraction too early would come again and again
_LEAST_SHARE = 0.1  # of its weight, for an endpoint that has just become ready


class Endpoint:
    """A replica of one model.

    Attributes:
        in_flight: Requests that it has.
        seed: A hash of its name, for affinity.
        elsewhere: Requests that it has from other gateway processes.
        draining: It gets nothing new.
        healthy: What the active health check says.
        unanswered: Those of its requests without a first byte, in the order in which they came.
        turn: Grows with each request that it gets; settles ties.
        cap: Requests that it may have when it is warm.
        weight: Its share when it is warm.
        ready_at: When it became ready; minus infinity: long ago.
    """

    __slots__ = (
        "_settings",
        "cap",
        "circuit",
        "draining",
        "elsewhere",
        "healthy",
        "in_flight",
        "name",
        "ready_at",
        "seed",
        "spec",
        "turn",
        "unanswered",
        "url",
        "weight",
    )

    def __init__(self, spec: EndpointSpec, settings: ModelSettings) -> None:
        self.name = spec.name
        self.update(spec, settings)
        self.seed = int.from_bytes(blake2b(spec.name.encode(), digest_size=4).digest(), "little")
        self.in_flight = 0
        self.elsewhere = 0
        self.draining = False
        self.healthy = True
        self.unanswered: dict[Request, None] = {}
        self.turn = 0
        self.circuit = Circuit()

    def update(self, spec: EndpointSpec, settings: ModelSettings) -> None:
        """New settings for the same replica."""
        self.spec = spec
        self.url = spec.url
        self.weight = spec.weight
        self.ready_at = -math.inf if spec.ready_at is None else spec.ready_at
        limit = spec.limit if spec.limit is not None else settings.limit
        self.cap = UNLIMITED if limit is None else limit
        self._settings = settings

    def warms_up(self, now: float) -> bool:
        """Whether it became ready a moment ago."""
        return now < self.ready_at + self._settings.slow_start

    def allowance(self, now: float) -> int:
        """Requests that it may have now."""
        if self.warms_up(now):
            grown = self._settings.pace * max(0.0, now - self.ready_at)
            return min(self._settings.burst + int(grown), self.cap)
        return self.cap

    def share(self, now: float) -> float:
        """Its weight now: a new endpoint gets a tenth at first, all of it after the slow start."""
        if not self.warms_up(now):
            return self.weight
        grown = max(0.0, now - self.ready_at) / self._settings.slow_start
        return self.weight * max(_LEAST_SHARE, grown)

    def room_at(self, now: float) -> float | None:
        """When it may have one more without one being done, None if time alone brings nothing."""
        load = self.in_flight + self.elsewhere
        if load >= self.cap or load < self.allowance(now):
            return None
        warm = self.ready_at + self._settings.slow_start
        if self._settings.pace <= 0:
            return warm
        grown = self.ready_at + (load + 1 - self._settings.burst) / self._settings.pace
        # asked again before that, the answer is the same; after it, rounding was in the way
        return min(grown if grown > now else now + _ROUNDING, warm)
