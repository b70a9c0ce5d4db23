"""From the results of single requests to the numbers of a run. Nothing here does input or output.

Percentiles are exact and by nearest rank: the smallest value that at least *q* of all values do not
exceed. Each is therefore a value that was measured.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """How one request went. Times are of the run's clock, in seconds.

    ``planned`` is when the request should have been sent; all latencies count from there. In a
    closed loop it is when it was sent. ``first_token`` is None without streaming or when none came.
    """

    model: str
    planned: float
    started: float  # when the generator turned to it; later than planned if it fell behind
    finished: float
    first_token: float | None = None
    gaps: array[float] = field(default_factory=lambda: array("d"))  # between tokens
    input_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None  # its kind; None when the answer is whole
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds. ``count`` values, at least one."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Requests that failed the same way. ``example`` is what the first of them was told."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A run in numbers. Times in seconds; None where nothing was measured.

    ``duration`` goes from the first planned request to the last answer, rates are over it.
    Latencies are of requests that succeeded. ``lag`` is the generator's own: how much later than
    planned it turned to a request.
    """

    requests: int
    ok: int
    failed: int
    cancelled: int
    duration: float
    requests_per_second: float  # answered in full
    input_tokens: int
    output_tokens: int
    output_tokens_per_second: float
    ttft: Distribution | None
    inter_token_latency: Distribution | None
    end_to_end: Distribution | None
    lag: Distribution | None
    errors: tuple[ErrorKind, ...]
    models: tuple[str, ...]

    @property
    def fell_behind(self) -> bool:
        """Whether the generator itself was late by a time that a reader of latencies would see."""
        return self.lag is not None and self.lag.p99 > 0.05

    def to_dict(self) -> dict[str, Any]:
        """As ``--output json`` prints it."""
        return asdict(self) | {"fell_behind": self.fell_behind}


CANCELLED = "cancelled"  # by the person at the keyboard: neither good nor bad


def percentile(ordered: Sequence[float], q: float) -> float:
    """The *q* quantile, 0 < q <= 1, of values in ascending order, by nearest rank."""
    rank = math.ceil(round(q * len(ordered), 9))  # 0.55 * 20 is a little more than 11 in floats
    return ordered[max(rank, 1) - 1]


def distribution(values: Iterable[float]) -> Distribution | None:
    """Of *values* in any order, None when there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Distribution(
        count=len(ordered),
        mean=math.fsum(ordered) / len(ordered),
        p50=percentile(ordered, 0.50),
        p90=percentile(ordered, 0.90),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        max=ordered[-1],
    )


def summarize(results: Sequence[Result]) -> LoadReport:
    """The numbers of a run."""
    good = [result for result in results if result.error is None]
    cancelled = sum(result.error == CANCELLED for result in results)
    duration = _duration(results)
    output_tokens = sum(result.output_tokens for result in results)
    return LoadReport(
        requests=len(results),
        ok=len(good),
        failed=len(results) - len(good) - cancelled,
        cancelled=cancelled,
        duration=duration,
        requests_per_second=_rate(len(good), duration),
        input_tokens=sum(result.input_tokens for result in good),
        output_tokens=output_tokens,
        output_tokens_per_second=_rate(output_tokens, duration),
        ttft=distribution(r.first_token - r.planned for r in good if r.first_token is not None),
        inter_token_latency=distribution(gap for r in good for gap in r.gaps),
        end_to_end=distribution(r.finished - r.planned for r in good),
        lag=distribution(r.started - r.planned for r in results),
        errors=_errors(results),
        models=tuple(sorted({result.model for result in results})),
    )


def _duration(results: Sequence[Result]) -> float:
    if not results:
        return 0.0
    return max(r.finished for r in results) - min(r.planned for r in results)


def _rate(count: int, duration: float) -> float:
    return count / duration if duration > 0 else 0.0


def _errors(results: Sequence[Result]) -> tuple[ErrorKind, ...]:
    failed = [r for r in results if r.error is not None and r.error != CANCELLED]
    counts = Counter(r.error for r in failed if r.error is not None)
    examples: dict[str, str] = {}
    for result in failed:
        if result.error is not None:
            examples.setdefault(result.error, result.detail)
    return tuple(
        ErrorKind(kind, count, examples[kind])
        for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
