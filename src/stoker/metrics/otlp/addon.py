"""The store of the otel add-on for KEDA, which KServe's ``PodMetric`` scales by.

Its query is one metric, labels that are compared for equality, and one aggregation:
``sum(vllm:num_requests_running{namespace=llm, deployment=llama})``. Each series is reduced over
time first, then all of them to one number.

*Source*: ``metric/mem_store.go`` and ``metric/simple_parser.go`` of kedify/otel-add-on 0.1.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stoker.errors import InputError
from stoker.metrics.otlp.receiver import RawPoint
from stoker.metrics.sample import METRIC_NAME, Labels, equals, is_stale
from stoker.metrics.storage import Storage

RETENTION: Final = 120.0  # METRIC_STORE_RETENTION_SECONDS
AGGREGATIONS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "sum": math.fsum,
    "avg": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
}
OPERATIONS: Final = ("last_one", "rate", "count", "avg", "min", "max")
_QUOTES: Final = "\"' "


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """A ``metricQuery``, read."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    aggregation: str = "sum"

    @classmethod
    def parse(cls, text: str) -> MetricQuery:
        """Raises InputError in the add-on's words."""
        inner = text.strip()
        aggregation = "sum"
        for name in AGGREGATIONS:
            if inner.startswith(f"{name}(") and inner.endswith(")"):
                aggregation, inner = name, inner[len(name) + 1 : -1]
        first, last = inner.find("{"), inner.rfind("}")
        if not inner or last < first or (first == -1 and last > 0):
            raise InputError(f"unable to parse metric query: {text}")
        if first == -1:
            return cls(_escaped(inner), {}, aggregation)
        return cls(_escaped(inner[:first]), _labels(inner[first + 1 : last]), aggregation)


class MetricStore:
    """What was pushed in the last two minutes.

    A series whose sender has gone keeps its last value until it is :data:`RETENTION` old. One that
    lacks a label that is asked for matches: only another value excludes.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self.storage = storage if storage is not None else Storage(retention=RETENTION)

    def put(self, points: Iterable[RawPoint], now: float) -> frozenset[str]:
        """Remember *points*; a time ahead of *now* is *now*. Returns what they are called here."""
        names = set()
        for point in points:
            names.add(_escaped(point.name))
            labels = Labels({**point.attributes, METRIC_NAME: _escaped(point.name)})
            # the add-on takes the greater of the double and the integer: below zero reads 0
            self.storage.append(labels, min(point.time, now), max(point.value, 0.0))
        return frozenset(names)

    def get(self, query: MetricQuery, operation: str, now: float) -> tuple[float, int] | None:
        """The value and of how many series it is made; None: nothing of that name is known."""
        found = self.storage.select(equals(__name__=query.name), now - RETENTION, now)
        if not found:
            return None
        reduced = []
        for series in found:
            labels = dict(series.labels.pairs)
            if any(labels.get(name, value) != value for name, value in query.labels.items()):
                continue
            pairs = zip(series.times.tolist(), series.values.tolist(), strict=True)
            samples = [(t, value) for t, value in pairs if not is_stale(value)]
            if samples:
                reduced.append(_over_time(samples, operation))
        return (AGGREGATIONS[query.aggregation](reduced) if reduced else 0.0), len(reduced)


def _over_time(samples: Sequence[tuple[float, float]], operation: str) -> float:
    values = [value for _, value in samples]
    if operation == "rate":
        seconds = math.floor(samples[-1][0]) - math.floor(samples[0][0])  # it keeps whole ones
        return (values[-1] - values[0]) / seconds if seconds else 0.0
    if operation == "last_one":
        return values[-1]
    return AGGREGATIONS[operation](values)


def _escaped(name: str) -> str:
    return name.replace("/", "_").replace(".", "_")


def _labels(text: str) -> dict[str, str]:
    if not text.strip():
        raise InputError(f"unable to parse labels: {text.strip()}")
    found: dict[str, str] = {}
    for chunk in text.split(","):
        name, sign, value = chunk.partition("=")
        if not sign or "=" in value:
            raise InputError(
                "unable to parse labels, labels are expected at form {key1=val1, key2=val2}, "
                f"but got: {text.strip()}"
            )
        found[name.strip(_QUOTES)] = value.strip(_QUOTES)
    return found
