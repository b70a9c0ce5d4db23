"""What the gateway counts of each model. :mod:`.page` shows it to Prometheus."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import ItemsView, Iterator
from dataclasses import dataclass, field

# Buckets of vllm:time_to_first_token_seconds and vllm:e2e_request_latency_seconds, joined and
# thinned, so that quantiles from here and from the engines can be compared.
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5)
TTFT_BUCKETS = (*_TTFT, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0)
_SLOW = (20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0)
DURATION_BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, *_SLOW)
HOLD_BUCKETS = (0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_TTFT_WINDOW = 60.0
_RATE_WINDOW = 10  # whole seconds
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

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value*."""
        self._counts[bisect_left(self._bounds, value)] += 1
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


@dataclass(slots=True)
class ModelCounters:
    """Everything that is counted of one model."""

    incoming: int = 0
    in_flight: int = 0  # at a replica, draining ones included
    by_code: Counter[int] = field(default_factory=Counter)
    truncated: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    output_tokens: int = 0
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BUCKETS))
    duration: Histogram = field(default_factory=lambda: Histogram(DURATION_BUCKETS))
    hold: Histogram = field(default_factory=lambda: Histogram(HOLD_BUCKETS))
    recent_ttft: deque[tuple[float, float]] = field(default_factory=deque)  # (when, seconds)
    recent_tokens: deque[tuple[int, int]] = field(default_factory=deque)  # (whole second, tokens)

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
        while self.recent_ttft[0][0] < now - _TTFT_WINDOW:
            self.recent_ttft.popleft()

    def tokens(self, now: float, count: int) -> None:
        """*count* tokens went out."""
        self.output_tokens += count
        second = int(now)
        if self.recent_tokens and self.recent_tokens[-1][0] == second:
            count += self.recent_tokens.pop()[1]
        self.recent_tokens.append((second, count))
        while self.recent_tokens[0][0] < second - _RATE_WINDOW:
            self.recent_tokens.popleft()

    def ttft_percentiles(self, now: float) -> tuple[float | None, float | None]:
        """Median and 95th percentile, by nearest rank, of the last minute."""
        recent = sorted(ttft for when, ttft in self.recent_ttft if when >= now - _TTFT_WINDOW)
        if not recent:
            return None, None
        return recent[math.ceil(len(recent) * 0.5) - 1], recent[math.ceil(len(recent) * 0.95) - 1]

    def tokens_per_second(self, now: float) -> float:
        """Mean of the last ten whole seconds; the second that runs is not among them."""
        this = int(now)
        return sum(n for at, n in self.recent_tokens if this - _RATE_WINDOW <= at < this) / (
            _RATE_WINDOW
        )


class Stats:
    """The counters of all models that are or were known."""

    def __init__(self) -> None:
        self._models: defaultdict[str, ModelCounters] = defaultdict(ModelCounters)
        self.unknown_model = 0
        self.bad_requests = 0

    def __getitem__(self, model: str) -> ModelCounters:
        return self._models[model]

    def items(self) -> ItemsView[str, ModelCounters]:
        """Models and their counters."""
        return self._models.items()

    def snapshot(self, model: str, *, held: int, now: float) -> ModelStats:
        """The traffic of *model*, of which *held* requests wait."""
        counters = self._models[model]
        p50, p95 = counters.ttft_percentiles(now)
        return ModelStats(
            ok=counters.ok,
            failed=counters.failed,
            held=held,
            in_flight=counters.in_flight,
            ttft_p50=p50,
            ttft_p95=p95,
            tokens_per_second=counters.tokens_per_second(now),
        )
