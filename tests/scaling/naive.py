"""KEDA's loop and the HPA once more, as slow and as plain as the rules are told.

Written from a description of the controllers, not from `stoker`: nothing of it is imported here.
Nothing is pruned where that cannot be seen from outside, nothing is kept that can be counted again.
Times are seconds, values of metrics thousandths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal


@dataclass
class Policy:
    pods: bool  # else percent
    value: int
    period: int


FOUR_PODS = Policy(pods=True, value=4, period=15)
DOUBLE = Policy(pods=False, value=100, period=15)  # or, on the way down, all of them


@dataclass
class Direction:
    window: int | None  # None: the controller's
    select: str
    policies: list[Policy]
    tolerance: float | None = None


@dataclass
class Metric:
    name: str
    target: float
    shared_out: bool  # AverageValue, else Value
    cached: bool = False


@dataclass
class Fallback:
    threshold: int
    replicas: int
    behavior: str


@dataclass
class Rules:
    """What the user wrote."""

    metrics: list[Metric]
    minimum: int | None
    maximum: int
    idle: int | None
    cooldown: int
    initial_cooldown: int
    fallback: Fallback | None
    up: Direction | None  # both or none of the two
    down: Direction | None
    forced: bool
    no_scale_in: bool
    no_scale_out: bool
    tolerance: float
    window: float


@dataclass
class World:
    """What both controllers see of the target."""

    wanted: int
    there: int
    ready: int


@dataclass
class Answer:
    """Of one metric at one moment. *value* None: the source failed."""

    value: float | None
    active: bool = False


@dataclass
class _Seen:
    milli: int | None  # None: an error
    active: bool


@dataclass
class Naive:
    """Everything that both controllers remember of one object."""

    rules: Rules
    created: float
    last_active: int | None = None
    failures: dict[str, int] = field(default_factory=dict)
    cache: dict[str, _Seen] = field(default_factory=dict)
    wishes: list[tuple[float, int]] = field(default_factory=list)  # all of them, for ever
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)
    synced: bool = False

    # -- what a reader makes of its answers ------------------------------------------------------

    def _see(self, answers: dict[str, Answer], world: World, *, by_hpa: bool) -> dict[str, _Seen]:
        seen = {}
        for metric in self.rules.metrics:
            if by_hpa and metric.cached and metric.name in self.cache:
                seen[metric.name] = self.cache[metric.name]
                self.failures[metric.name] = 0
            else:
                seen[metric.name] = self._one(metric, answers[metric.name], world)
        failed = any(one.milli is None for one in seen.values())
        if failed:
            self.cache = {}
        if not by_hpa:
            self.cache = {
                m.name: seen[m.name]
                for m in self.rules.metrics
                if m.cached and seen[m.name].milli is not None
            }
        return seen

    def _one(self, metric: Metric, answer: Answer, world: World) -> _Seen:
        if answer.value is not None:
            self.failures[metric.name] = 0
            return _Seen(thousandths(answer.value), answer.active)
        self.failures[metric.name] = self.failures.get(metric.name, 0) + 1
        fallback = self.rules.fallback
        if fallback is None or self.failures[metric.name] <= fallback.threshold:
            return _Seen(None, active=False)
        replicas: float = {
            "static": fallback.replicas,
            "currentReplicas": world.wanted,
            "currentReplicasIfHigher": max(world.wanted, fallback.replicas),
            "currentReplicasIfLower": min(world.wanted, fallback.replicas),
        }[fallback.behavior]
        if not metric.shared_out:
            if world.ready == 0:
                return _Seen(None, active=False)
            replicas /= world.ready
        return _Seen(int(metric.target * 1000 * replicas), active=True)

    # -- KEDA ------------------------------------------------------------------------------------

    def poll(self, now: float, world: World, answers: dict[str, Answer]) -> int:
        """How many replicas KEDA leaves behind."""
        seen = self._see(answers, world, by_hpa=False)
        failed = any(one.milli is None for one in seen.values())
        if any(one.active for one in seen.values()) or self.rules.forced:
            return self._awake(now, world.wanted, failed=failed)
        return self._silent(now, world.wanted, failed=failed)

    def _awake(self, now: float, size: int, *, failed: bool) -> int:
        rules, minimum = self.rules, self.rules.minimum or 0
        asleep = size == 0 or (rules.idle is not None and size < minimum)
        if asleep and rules.no_scale_out:
            return size
        if asleep or not failed:
            self.last_active = int(now)
        return (minimum or 1) if asleep else size

    def _silent(self, now: float, size: int, *, failed: bool) -> int:
        rules, minimum = self.rules, self.rules.minimum or 0
        if failed and (rules.fallback is None or rules.fallback.replicas > 0):
            return size
        may_idle = rules.idle is not None and size > rules.idle
        may_sleep = size > 0 and minimum == 0
        if may_idle or may_sleep:
            if rules.no_scale_in or not self._cooled_down(now):
                return size
            return minimum if rules.idle is None else rules.idle
        if rules.idle is None and size < minimum:
            return minimum
        return size

    def _cooled_down(self, now: float) -> bool:
        if self.last_active is None:
            return int(self.created) + self.rules.initial_cooldown < now
        return self.last_active + self.rules.cooldown < now

    # -- the HPA ---------------------------------------------------------------------------------

    def sync(self, now: float, world: World, answers: dict[str, Answer]) -> int:
        """How many replicas the HPA leaves behind."""
        rules, size = self.rules, world.wanted
        lowest = max(rules.minimum or 0, 1)
        if not self.synced:
            self.synced = True
            self.wishes.append((now, size))
        if size == 0:
            return 0
        up, down = self._directions()
        if not lowest <= size <= rules.maximum:
            new = min(max(size, lowest), rules.maximum)
        else:
            seen = self._see(answers, world, by_hpa=True)
            wishes = [self._wish(m, seen[m.name].milli, world) for m in rules.metrics]
            known = [wish for wish in wishes if wish is not None]
            if not known or (len(known) < len(wishes) and max(known) < size):
                return size
            wish = max(known)
            if up is None or down is None:
                new = self._without_behavior(now, size, wish, lowest)
            else:
                new = self._with_behavior(now, size, wish, lowest, up, down)
            self.wishes.append((now, wish))
        if new != size and up is not None and down is not None:
            events, same = (self.ups, up) if new > size else (self.downs, down)
            remember(events, (now, abs(new - size)), max(p.period for p in same.policies))
        return new

    def _directions(self) -> tuple[Direction | None, Direction | None]:
        """A pause of one direction brings a behavior with it."""
        rules = self.rules
        if rules.up is None and not rules.no_scale_in and not rules.no_scale_out:
            return None, None
        up = rules.up or Direction(0, "Max", [FOUR_PODS, DOUBLE])
        down = rules.down or Direction(None, "Max", [DOUBLE])
        if rules.no_scale_out:
            up = Direction(up.window, "Disabled", up.policies, up.tolerance)
        if rules.no_scale_in:
            down = Direction(down.window, "Disabled", down.policies, down.tolerance)
        return up, down

    def _wish(self, metric: Metric, milli: int | None, world: World) -> int | None:
        """What one metric alone would want. None: it has no answer."""
        if milli is None:
            return None
        target = thousandths(metric.target)
        if metric.shared_out:
            if world.there and self._close(milli / (target * world.there)):
                return world.there
            return math.ceil(milli / target)
        if self._close(milli / target):
            return world.wanted
        # without a pod there is nothing to count
        return math.ceil(milli / target * world.ready) if world.there else None

    def _close(self, ratio: float) -> bool:
        up, down = self._directions()
        above = below = self.rules.tolerance
        if up is not None and up.tolerance is not None:
            above = up.tolerance
        if down is not None and down.tolerance is not None:
            below = down.tolerance
        return 1.0 - below <= ratio <= 1.0 + above

    def _without_behavior(self, now: float, size: int, wish: int, lowest: int) -> int:
        """The highest wish of the window, this one included; a step doubles, or reaches four."""
        recent = [wanted for at, wanted in self.wishes if now - at <= self.rules.window]
        highest = min(self.rules.maximum, max(2 * size, 4))
        return max(min(max([wish, *recent]), highest), lowest)

    def _with_behavior(
        self, now: float, size: int, wish: int, lowest: int, up: Direction, down: Direction
    ) -> int:
        up_window = self.rules.window if up.window is None else up.window
        down_window = self.rules.window if down.window is None else down.window
        floor = min([wish, *(n for at, n in self.wishes if now - at < up_window)])
        ceiling = max([wish, *(n for at, n in self.wishes if now - at < down_window)])
        stable = min(max(size, floor), ceiling)
        if stable > size:
            allowed = max(self._allowed(now, size, up, rising=True), size)
            return min(stable, allowed, self.rules.maximum)
        if stable < size:
            allowed = min(self._allowed(now, size, down, rising=False), size)
            return max(stable, allowed, lowest)
        return size

    def _allowed(self, now: float, size: int, one: Direction, *, rising: bool) -> int:
        if one.select == "Disabled":
            return size
        limits = []
        for policy in one.policies:
            before = size
            before -= sum(n for at, n in self.ups if now - at < policy.period)
            before += sum(n for at, n in self.downs if now - at < policy.period)
            sign = 1 if rising else -1
            if policy.pods:
                limits.append(before + sign * policy.value)
            elif rising:
                limits.append(math.ceil(before * (1 + policy.value / 100)))
            else:
                limits.append(int(before * (1 - policy.value / 100)))
        furthest_first = sorted(limits, reverse=rising)
        return furthest_first[-1 if one.select == "Min" else 0]


def remember(events: list[tuple[float, int]], new: tuple[float, int], period: float) -> None:
    """An event takes the place of the last one that is older than the policies of its direction.

    That shows: policies of the other direction may look back further.
    """
    old = [i for i, (at, _) in enumerate(events) if new[0] - at > period]
    if old:
        events[old[-1]] = new
    else:
        events.append(new)


def thousandths(value: float) -> int:
    """As KEDA writes a number for the HPA."""
    if math.isnan(value) or math.isinf(value) or value < 0:
        return 0
    exact = Decimal(value).quantize(Decimal("0.001"), rounding=ROUND_HALF_EVEN)
    return int(exact * 1000)
