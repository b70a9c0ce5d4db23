"""From requests to series, with an account of what was not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from stoker.errors import InputError
from stoker.metrics.exposition import Metadata
from stoker.metrics.otlp.histograms import explicit, exponential
from stoker.metrics.otlp.naming import Kind, bound, labels_of, metric_name, text_of
from stoker.metrics.otlp.streams import EXPIRATION, Point, Streams, Total, Value
from stoker.metrics.sample import METRIC_NAME, Labels
from stoker.metrics.series import to_ms
from stoker.metrics.storage import Storage

MAX_LABELS: Final = 128
MAX_LABEL_BYTES: Final = 16 * 1024
TARGET_INFO: Final = "target_info"
_SWEEP: Final = 60.0  # seconds between two looks for streams that have ended
_NO_VALUE: Final = 1  # DataPointFlags
_DELTA, _CUMULATIVE = 1, 2  # AggregationTemporality
_SERVICE: Final = frozenset({"service.name", "service.namespace", "service.instance.id"})
_SUFFIXES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "gauge": ("",),
    "counter": ("",),
    "sum": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
_SHAPES: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. *message* says why points were rejected."""

    taken: int = 0
    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class RawPoint:
    """A number as it was pushed, before names and labels become those of Prometheus.

    *attributes* are those of the point alone; *time* is seconds since the epoch.
    """

    name: str
    attributes: Mapping[str, str]
    value: float
    time: float


@dataclass(slots=True)
class _Account:
    """What happened to the points of one request."""

    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)
    raw: list[RawPoint] = field(default_factory=list)

    def outcome(self) -> Outcome:
        told = "; ".join(f"{count} x {reason}" for reason, count in self.refused.items())
        return Outcome(self.taken, self.refused.total(), told)


class OtlpReceiver:
    """Takes export requests into *storage*.

    Args:
        storage: where samples go.
        suffixes: ``add_metric_suffixes`` of the collector's exporter.
        resource_attributes: ``resource_to_telemetry_conversion``: all attributes of the resource
            become labels of each series, not of ``target_info`` alone.
        on_written: is called after each request with the names of the series it had.
        on_points: is called with the numbers as they were pushed.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        suffixes: bool = True,
        resource_attributes: bool = False,
        on_written: Callable[[frozenset[str]], None] = lambda _: None,
        on_points: Callable[[list[RawPoint], float], None] = lambda _points, _now: None,
    ) -> None:
        self._storage = storage
        self._suffixes = suffixes
        self._resource_attributes = resource_attributes
        self._on_written = on_written
        self._on_points = on_points
        self._streams = Streams()
        self._infos: dict[tuple[str, str], tuple[Labels, float]] = {}
        self._next_sweep: float | None = None

    def take(self, request: Any, now: float) -> Outcome:
        """Store the points of an ``ExportMetricsServiceRequest`` that arrived at *now*."""
        account = _Account()
        for resource_metrics in request.resource_metrics:
            try:
                resource = self._resource(resource_metrics.resource.attributes, now)
            except InputError as error:
                account.refused[f"resource: {error.message}"] += _points(resource_metrics)
                continue
            for scope_metrics in resource_metrics.scope_metrics:
                common = {**_scope(scope_metrics), **resource}
                for metric in scope_metrics.metrics:
                    self._metric(metric, common, now, account)
        self._sweep(now)
        if account.raw:
            self._on_points(account.raw, now)
        if account.names:
            self._on_written(frozenset(account.names))
        return account.outcome()

    # -- one metric ------------------------------------------------------------------------------

    def _metric(
        self, metric: Any, common: Mapping[str, str], now: float, account: _Account
    ) -> None:
        shape = metric.WhichOneof("data")
        if shape not in _SHAPES:
            account.refused[f"`{metric.name}` has no data of a kind that is known"] += 1
            return
        data = getattr(metric, shape)
        points = data.data_points
        kind = _kind(shape, data)
        name = metric_name(metric.name, metric.unit, kind, suffixes=self._suffixes)
        problem = _unusable(metric.name, name, shape, data)
        if problem:
            account.refused[problem] += len(points)
            return
        delta = getattr(data, "aggregation_temporality", _CUMULATIVE) == _DELTA
        type_ = "gauge" if kind == "sum" else kind
        self._storage.metadata[name] = Metadata(type_, metric.description, "")
        account.names.update(name + suffix for suffix in _SUFFIXES[kind])
        for point in points:
            try:
                self._point(point, shape, kind, name, common, delta=delta, now=now)
            except InputError as error:
                account.refused[f"`{metric.name}`: {error.message}"] += 1
                continue
            account.taken += 1
            account.raw.extend(_raw(metric.name, shape, point, now))

    def _point(
        self, point: Any, shape: str, kind: Kind, name: str, common: Mapping[str, str], *,
        delta: bool, now: float,
    ) -> None:  # fmt: skip
        """Store one point. Raises InputError when it cannot be taken."""
        labels = _checked({**labels_of(point.attributes), **common, METRIC_NAME: name})
        if point.flags & _NO_VALUE:
            for one in self._streams.forget(labels):
                self._storage.mark_stale(one, now)
            return
        at = point.time_unix_nano or int(now * 1e9)
        if shape == "summary":
            self._store(labels, Total(Point(0, at, 0.0)), _summary(labels, point), now)
            return
        value = _value(shape, point)
        # what can go down begins anywhere: no zero says where, and no fall is a restart
        counts = shape not in {"gauge", "sum"} or kind == "counter"
        start = point.start_time_unix_nano if counts else 0
        total = self._streams.add(labels, Point(start, at, value), delta=delta)
        if total is None:
            raise InputError("older than what is there, or overlaps it")
        self._store(labels, total, _samples(labels, total.point.value), now)

    def _store(
        self, labels: Labels, total: Total, samples: Mapping[Labels, float], now: float
    ) -> None:
        """Write a total, a zero before it where one is due, and ends of series that are gone."""
        known = self._streams.series(labels)
        t = self._streams.time(labels, total.point, now)
        if total.zero is not None and to_ms(total.zero / 1e9) < to_ms(t):
            self._storage.append_batch([(one, 0.0) for one in samples], total.zero / 1e9)
        elif total.before is not None and not known >= samples.keys():
            earlier = _earlier(total.before, samples.keys() - known)
            self._storage.append_batch(earlier, total.before.time / 1e9)
        self._write(samples, t)
        for gone in known - samples.keys():
            self._storage.mark_stale(gone, t)
        self._streams.keep(labels, total.point, frozenset(samples), now=now, written=t)

    def _write(self, samples: Mapping[Labels, float], t: float) -> None:
        """Raises InputError when the storage does not take all of them."""
        no_room = self._storage.refused["too_many_series"]
        if self._storage.append_batch(samples.items(), t) == len(samples):
            return
        if self._storage.refused["too_many_series"] > no_room:
            raise InputError(f"no room: there are {self._storage.max_series} series already")
        raise InputError("older than what is there, or another value for the same time")

    # -- resources -------------------------------------------------------------------------------

    def _resource(self, attributes: Iterable[Any], now: float) -> dict[str, str]:
        """``job`` and ``instance``; what else is known of the resource goes to target_info."""
        texts = {one.key: text_of(one.value) for one in attributes}
        found: dict[str, str] = {}
        if "service.name" in texts:
            namespace = texts.get("service.namespace", "")
            found["job"] = f"{namespace}/{texts['service.name']}".removeprefix("/")
        if "service.instance.id" in texts:
            found["instance"] = texts["service.instance.id"]
        others = labels_of(one for one in attributes if one.key not in _SERVICE)
        if found and others:
            self._target_info({**others, **found}, now)
        return {**others, **found} if self._resource_attributes else found

    def _target_info(self, labels: dict[str, str], now: float) -> None:
        info = _checked({**labels, METRIC_NAME: TARGET_INFO})
        key = (labels.get("job", ""), labels.get("instance", ""))
        before, _ = self._infos.get(key, (info, now))
        if before is not info:
            self._storage.mark_stale(before, now)
        if self._storage.append(info, now, 1.0):
            self._infos[key] = (info, now)
            self._storage.metadata[TARGET_INFO] = Metadata("gauge", "Target metadata", "")

    def _sweep(self, now: float) -> None:
        """End the series of streams that are no longer pushed."""
        if self._next_sweep is not None and now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP
        for labels in self._streams.expired(now):
            for one in self._streams.forget(labels):
                self._storage.mark_stale(one, now)
        for key, (info, seen) in list(self._infos.items()):
            if now - seen > EXPIRATION:
                del self._infos[key]
                self._storage.mark_stale(info, now)


def _scope(scope_metrics: Any) -> dict[str, str]:
    scope = scope_metrics.scope
    return {
        **labels_of(scope.attributes, prefix="otel_scope_"),
        "otel_scope_name": scope.name,
        "otel_scope_version": scope.version,
        "otel_scope_schema_url": scope_metrics.schema_url,
    }


def _kind(shape: str, data: Any) -> Kind:
    match shape:
        case "gauge":
            return "gauge"
        case "sum":
            return "counter" if data.is_monotonic else "sum"
        case "summary":
            return "summary"
    return "histogram"


def _unusable(name: str, built: str, shape: str, data: Any) -> str:
    """Why no point of a metric can be taken; "" when they can."""
    if not built:
        return f"`{name}` has no character that a metric name may have"
    if shape in {"gauge", "summary"}:
        return ""
    temporality = data.aggregation_temporality
    if temporality not in {_DELTA, _CUMULATIVE}:
        return f"`{name}` has no aggregation temporality"
    if shape == "sum" and temporality == _DELTA and not data.is_monotonic:
        return f"`{name}` is a delta of a sum that is not monotonic, push it cumulative"
    return ""


def _checked(pairs: dict[str, str]) -> Labels:
    """Labels within limits. Raises InputError."""
    if len(pairs) > MAX_LABELS:
        raise InputError(f"{len(pairs)} labels, at most {MAX_LABELS} are taken")
    for name, value in pairs.items():
        if len(name) + len(value) > MAX_LABEL_BYTES:
            raise InputError(f"label `{name[:40]}` is longer than {MAX_LABEL_BYTES} characters")
    return Labels(pairs)


def _number(point: Any) -> float:
    """An integer or a double; a point with neither counts as 0, as in the collector."""
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def _value(shape: str, point: Any) -> Value:
    if shape == "histogram":
        return explicit(point)
    if shape == "exponential_histogram":
        return exponential(point)
    return _number(point)


def _samples(labels: Labels, value: Value) -> dict[Labels, float]:
    """The series of a stream with their values."""
    if isinstance(value, float):
        return {labels: value}
    bounds, counts = zip(*value.cumulative(), strict=True)
    *buckets, total, count = _histogram_labels(labels, bounds)
    found = dict(zip(buckets, map(float, counts), strict=True))
    found[total] = value.sum
    found[count] = float(value.count)
    return found


@lru_cache(maxsize=8192)
def _histogram_labels(labels: Labels, bounds: tuple[float, ...]) -> tuple[Labels, ...]:
    """Of a bucket for each bound, of the sum and of the count; the same at every push."""
    bucket = _named(labels, "_bucket")
    return (
        *(bucket.with_label("le", bound(le)) for le in bounds),
        _named(labels, "_sum"),
        _named(labels, "_count"),
    )


def _summary(labels: Labels, point: Any) -> dict[Labels, float]:
    found = {
        labels.with_label("quantile", bound(one.quantile)): one.value
        for one in point.quantile_values
    }
    found[_named(labels, "_sum")] = point.sum
    found[_named(labels, "_count")] = float(point.count)
    return found


def _earlier(before: Point, new: Iterable[Labels]) -> Iterator[tuple[Labels, float]]:
    """What *new* buckets of a histogram had before they appeared, so that rates are right."""
    if isinstance(before.value, float):
        return
    known = before.value.cumulative()
    for one in new:
        le = one.get("le")
        if le:
            yield one, float(max((n for high, n in known if high <= float(le)), default=0))


def _named(labels: Labels, suffix: str) -> Labels:
    return labels.with_label(METRIC_NAME, labels.name + suffix)


def _raw(name: str, shape: str, point: Any, now: float) -> Iterator[RawPoint]:
    """The numbers of a point: of a histogram or a summary its count and its sum."""
    if point.flags & _NO_VALUE:
        return
    attributes = {one.key: text_of(one.value) for one in point.attributes}
    time = point.time_unix_nano / 1e9 or now
    if shape in {"gauge", "sum"}:
        yield RawPoint(name, attributes, _number(point), time)
        return
    yield RawPoint(f"{name}_count", attributes, float(point.count), time)
    yield RawPoint(f"{name}_sum", attributes, float(point.sum), time)


def _points(resource_metrics: Any) -> int:
    """How many data points a resource has."""
    return sum(
        len(getattr(metric, shape).data_points)
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        if (shape := metric.WhichOneof("data"))
    )
