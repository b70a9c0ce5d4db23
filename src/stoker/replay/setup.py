"""What a replay is given besides files and a trace."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, field
from statistics import NormalDist

from stoker.errors import InputError
from stoker.replay.moments import NO_MOMENTS, Moments
from stoker.scaling.settings import ControllerSettings

# A Monday, so that cron triggers of working days mean something.
DEFAULT_START = 1_767_571_200.0  # 2026-01-05T00:00:00Z
_SPREAD = re.compile(r"(?P<median>.+?)\.\.(?P<p95>.+)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


@dataclass(frozen=True, slots=True)
class Spread:
    """A duration that differs from time to time: log-normal with a median and a 95th percentile.

    Equal bounds are a fixed duration.
    """

    median: float
    p95: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.median <= self.p95 < math.inf:
            raise InputError(
                f"`{self}` is not a spread of durations",
                hint="the median comes first and the 95th percentile is not below it: 80s..200s",
            )

    def __str__(self) -> str:
        return (
            f"{self.median:g}s" if self.median == self.p95 else f"{self.median:g}s..{self.p95:g}s"
        )

    @classmethod
    def parse(cls, text: str) -> Spread:
        """``80s``, or median and 95th percentile as ``80s..200s``."""
        match = _SPREAD.fullmatch(text.strip())
        if match is None:
            seconds = _seconds(text)
            return cls(seconds, seconds)
        return cls(_seconds(match["median"]), _seconds(match["p95"]))

    def draw(self, numbers: random.Random) -> float:
        """One of them, in whole milliseconds so that it is the same on every machine."""
        at = numbers.random()
        if self.median in (self.p95, 0.0):
            return self.median
        sigma = math.log(self.p95 / self.median) / _Z95
        return round(
            self.median * math.exp(sigma * NormalDist().inv_cdf(min(max(at, 1e-9), 1 - 1e-9))), 3
        )


@dataclass(frozen=True, slots=True)
class Phases:
    """A cold start made of named parts, one after the other; their sum counts."""

    parts: tuple[tuple[str, Spread], ...]

    def __str__(self) -> str:
        return ",".join(f"{name}={spread}" for name, spread in self.parts)

    @property
    def median(self) -> float:
        """Seconds: the sum of the medians."""
        return sum(spread.median for _, spread in self.parts)

    def draw(self, numbers: random.Random) -> float:
        """The sum of one draw of each part, in whole milliseconds."""
        return round(sum(spread.draw(numbers) for _, spread in self.parts), 3)


def parse_startup(text: str) -> Spread | Phases:
    """``80s``, ``80s..200s``, or phases: ``weights=40s..60s,compile=25s,graphs=15s``."""
    if "=" not in text:
        return Spread.parse(text)
    parts: dict[str, Spread] = {}
    for part in text.split(","):
        name, _, duration = (piece.strip() for piece in part.partition("="))
        if not name or not duration or name in parts:
            raise InputError(
                f"`{part}` in `{text}` is not a phase with a name of its own",
                hint="write weights=40s,compile=25s..50s,graphs=15s",
            )
        parts[name] = Spread.parse(duration)
    return Phases(tuple(parts.items()))


_Z95 = NormalDist().inv_cdf(0.95)


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text.strip())
    parts = [part for part in parts if part[0]]
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise InputError(f"`{text}` is not a duration", hint="write 80s, 1m30s, or 80s..200s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to run. Durations in seconds; None is what the files or the profile say."""

    profile: str | None = None
    max_num_seqs: int | None = None
    startup: Spread | Phases | None = None  # from the start of the process to its open port
    scheduling: Spread = Spread(0.0, 0.0)  # from a new pod to the start of its process
    node_startup: Spread = Spread(0.0, 0.0)  # of a node for a pod that fits on no other one
    node_gpus: int = 8  # GPUs a node has
    nodes: int | None = None  # nodes that are always there; None: as many as are needed
    gpus: int | None = None  # that there are at all; None: no limit
    stopping: float = 1.0  # from SIGTERM to the end of an engine that has no requests
    sleepers: int = 0  # replicas that sleep, at most, in place of ending when they are scaled down
    wake: Spread = Spread(1.0, 6.0)  # from the decision to a replica that answers again
    asleep_cost: float = 1.0  # share of its price that a sleeping replica costs
    failures: float | None = None  # mean seconds between crashes of a replica; None: none
    replicas: int | None = None  # at the start
    cold: bool = False  # these have to be started first
    start: float = DEFAULT_START  # seconds since the Unix epoch
    scrape_interval: float | None = None
    polling_interval: float | None = None
    stabilization_window: float | None = None
    hold_timeout: float = 600.0
    hold_limit: int | None = 1000
    first_token_timeout: float | None = None  # clients go when no token has come in this time
    client_timeout: float | None = None  # or when the answer is not whole in this time
    drain_timeout: float = 300.0
    activate_on_request: bool = True
    release: str = "vllm"
    namespace: str = "default"
    seed: int = 0
    moments: Moments = NO_MOMENTS  # of a live run, which it is to follow
    settings: ControllerSettings = field(default_factory=ControllerSettings)
