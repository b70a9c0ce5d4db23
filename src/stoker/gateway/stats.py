"""What the gateway counts of each model. :mod:`.page` shows it to Prometheus.

Several processes count for themselves; `Snapshot` is what they tell and what adds up.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Buckets of vllm:time_to_first_token_seconds and vllm:e2e_request_latency_seconds, joined and
# thinned, so that quantiles from here and from the engines can be compared.
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5)
TTFT_BUCKETS = (*_TTFT, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0)
_SLOW = (20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0)
DURATION_BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, *_SLOW)
HOLD_BUCKETS = (0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
CHUNK_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)

_TTFT_WINDOW = 60.0
_RATE_WINDOW = 10  # whole seconds
_RECENT_MOST = 4096  # first tokens that are remembered one by one
CLIENT_GONE = 499  # nginx's code for a client that went before its answer


@dataclass(frozen=True, slots=True)
class ModelStats:
    """A model's traffic now. TTFT is of streams of the last minute, None when there were none.

    ``failed`` counts answers of 500 and more, and those that broke off. 4xx are the client's.
    """

    ok: int
    failed: int
    held: int
    in_flight: int
    ttft_p50: float | None
    ttft_p95: float | None
    tokens_per_second: float  # mean of the last ten seconds


class Histogram:
    """A cumulative histogram."""

    __slots__ = ("_bounds", "_counts", "_lowest", "_sum")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._bounds = buckets
        self._lowest = buckets[0]
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value*."""
        index = 0 if value <= self._lowest else bisect_left(self._bounds, value)
        self._counts[index] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Its samples in the text format."""
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            le = "+Inf" if bound == math.inf else repr(bound)
            yield f'{name}_bucket{{{labels},le="{le}"}} {total}'
        yield f"{name}_sum{{{labels}}} {self._sum!r}"
        yield f"{name}_count{{{labels}}} {total}"

    def dump(self) -> list[float]:
        """Counts and, last, the sum."""
        return [*self._counts, self._sum]

    def add(self, dumped: list[float]) -> None:
        """Add what another one dumped."""
        for index, count in enumerate(dumped[:-1]):
            self._counts[index] += int(count)
        self._sum += dumped[-1]


@dataclass(slots=True)
class ModelCounters:
    """Everything that is counted of one model."""

    incoming: int = 0
    in_flight: int = 0  # at a replica, draining ones included
    by_code: Counter[int] = field(default_factory=Counter)
    truncated: int = 0
    lost: int = 0  # with a process that was killed before it said how they ended
    retries: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # by the gateway itself, by code
    replicas: Counter[tuple[str, str]] = field(default_factory=Counter)  # pod, outcome
    output_tokens: int = 0
    chunks: int = 0
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BUCKETS))
    duration: Histogram = field(default_factory=lambda: Histogram(DURATION_BUCKETS))
    hold: Histogram = field(default_factory=lambda: Histogram(HOLD_BUCKETS))
    inter_chunk: Histogram = field(default_factory=lambda: Histogram(CHUNK_BUCKETS))
    recent_ttft: deque[tuple[float, float]] = field(  # (when, seconds)
        default_factory=lambda: deque(maxlen=_RECENT_MOST)
    )
    recent_tokens: deque[tuple[int, int]] = field(default_factory=deque)  # (whole second, total)

    @property
    def failed(self) -> int:
        """Answers of 500 and more, and those that broke off."""
        return self.truncated + sum(n for code, n in self.by_code.items() if code >= 500)

    @property
    def ok(self) -> int:
        """Whole answers below 400."""
        return sum(n for code, n in self.by_code.items() if code < 400) - self.truncated

    def first_token(self, now: float, seconds: float) -> None:
        """A stream began *seconds* after its request came."""
        self.ttft.observe(seconds)
        self.recent_ttft.append((now, seconds))

    def mark_tokens(self, now: float) -> None:
        """Remember how many tokens there were, at least once a second."""
        second = int(now)
        if not self.recent_tokens or self.recent_tokens[-1][0] < second:
            self.recent_tokens.append((second, self.output_tokens))
        while self.recent_tokens[0][0] < second - _RATE_WINDOW:
            self.recent_tokens.popleft()

    def tokens_per_second(self, now: float) -> float:
        """Mean of the last ten seconds."""
        before = [total for second, total in self.recent_tokens if second <= now]
        return max(self.output_tokens - before[0], 0) / _RATE_WINDOW if before else 0.0

    def dump(self, now: float) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "incoming": self.incoming,
            "in_flight": self.in_flight,
            "by_code": {str(code): count for code, count in self.by_code.items()},
            "truncated": self.truncated,
            "lost": self.lost,
            "retries": self.retries,
            "refused": self.refused,
            "replicas": [[*key, count] for key, count in self.replicas.items()],
            "output_tokens": self.output_tokens,
            "chunks": self.chunks,
            "ttft": self.ttft.dump(),
            "duration": self.duration.dump(),
            "hold": self.hold.dump(),
            "inter_chunk": self.inter_chunk.dump(),
            "recent_ttft": [s for when, s in self.recent_ttft if when >= now - _TTFT_WINDOW],
            "tokens_per_second": self.tokens_per_second(now),
        }

    def add(self, dumped: Mapping[str, Any]) -> None:
        """Add what another one dumped; `recent_ttft` and the token rate are for `Snapshot`."""
        self.incoming += dumped["incoming"]
        self.in_flight += dumped["in_flight"]
        self.by_code.update({int(code): count for code, count in dumped["by_code"].items()})
        self.truncated += dumped["truncated"]
        self.lost += dumped.get("lost", 0)
        self.retries.update(dumped["retries"])
        self.refused.update(dumped["refused"])
        self.replicas.update({(pod, outcome): n for pod, outcome, n in dumped["replicas"]})
        self.output_tokens += dumped["output_tokens"]
        self.chunks += dumped["chunks"]
        self.ttft.add(dumped["ttft"])
        self.duration.add(dumped["duration"])
        self.hold.add(dumped["hold"])
        self.inter_chunk.add(dumped["inter_chunk"])


@dataclass(slots=True)
class EndpointCounts:
    """One replica in a snapshot."""

    model: str
    name: str
    url: str
    ready: bool
    in_flight: int
    circuit_open: bool = False


@dataclass(slots=True)
class Snapshot:
    """The counters of one gateway process, or of several together."""

    models: dict[str, ModelCounters] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    held_bytes: Counter[str] = field(default_factory=Counter)
    endpoints: dict[tuple[str, str], EndpointCounts] = field(default_factory=dict)
    recent_ttft: dict[str, list[float]] = field(default_factory=dict)
    tokens_per_second: dict[str, float] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)  # without a model
    connections: int = 0

    @classmethod
    def of(cls, dumps: Iterable[Mapping[str, Any]]) -> Snapshot:
        """What several processes dumped, added up."""
        total = cls()
        for dumped in dumps:
            total.add(dumped)
        return total

    def add(self, dumped: Mapping[str, Any]) -> None:
        """Add what a process dumped."""
        for name, counters in dumped["models"].items():
            self.models.setdefault(name, ModelCounters()).add(counters)
            self.recent_ttft.setdefault(name, []).extend(counters["recent_ttft"])
            rate = self.tokens_per_second.get(name, 0.0) + counters["tokens_per_second"]
            self.tokens_per_second[name] = rate
        self.held.update(dumped["held"])
        self.held_bytes.update(dumped["held_bytes"])
        self.other.update(dumped["other"])
        self.connections += dumped["connections"]
        for model, name, url, ready, in_flight, circuit_open in dumped["endpoints"]:
            known = self.endpoints.setdefault(
                (model, name), EndpointCounts(model, name, url, ready=False, in_flight=0)
            )
            known.ready = known.ready or ready
            known.in_flight += in_flight
            known.circuit_open = known.circuit_open or circuit_open

    def stats(self, model: str) -> ModelStats:
        """The traffic of *model*."""
        counters = self.models.get(model, ModelCounters())
        recent = sorted(self.recent_ttft.get(model, ()))
        return ModelStats(
            ok=counters.ok,
            failed=counters.failed,
            held=self.held[model],
            in_flight=counters.in_flight,
            ttft_p50=_nearest_rank(recent, 0.5),
            ttft_p95=_nearest_rank(recent, 0.95),
            tokens_per_second=self.tokens_per_second.get(model, 0.0),
        )


def past(dumped: Mapping[str, Any]) -> dict[str, Any]:
    """What remains of a process that has ended: its counts, nothing of what it had in hand."""
    models = {
        name: dict(counters)
        | {"in_flight": 0, "recent_ttft": [], "tokens_per_second": 0.0}
        | {"lost": max(counters["incoming"] - sum(counters["by_code"].values()), 0)}
        for name, counters in dumped["models"].items()
    }
    return dict(dumped) | {
        "models": models,
        "held": {},
        "held_bytes": {},
        "endpoints": [],
        "connections": 0,
    }


def _nearest_rank(recent: list[float], quantile: float) -> float | None:
    return recent[math.ceil(len(recent) * quantile) - 1] if recent else None
