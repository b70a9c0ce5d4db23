"""What is scraped of an engine and of the gateway, as samples instead of pages.

Names, labels and buckets are those of :mod:`stoker.engines.metrics_page` and
:mod:`stoker.gateway.page`. Only what the files' queries can select is written (:class:`Demand`): a
page has four hundred series, and a query looks at one or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from stoker.engines import metrics_catalogue as catalogue
from stoker.engines.exposition import number as bound_text
from stoker.metrics.sample import METRIC_NAME, MatchOp
from stoker.promql.ast import Node, selectors
from stoker.simulator.engine import Limits
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet
from stoker.simulator.fleet.state import Floats, Ints

_ENGINE = "0"  # rank in a data-parallel group
_SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Demand:
    """The metric names that queries select. None: a query may select any."""

    names: frozenset[str] | None

    @classmethod
    def of(cls, queries: Iterable[Node]) -> Demand:
        """What *queries* need."""
        names: set[str] = set()
        for query in queries:
            for selector in selectors(query):
                equal = [
                    m.value
                    for m in selector.matchers
                    if m.name == METRIC_NAME and m.op is MatchOp.EQUAL
                ]
                if not equal:
                    return cls(None)
                names.add(equal[0])
        return cls(frozenset(names))

    def has(self, name: str) -> bool:
        """Whether a series of this name is needed."""
        return self.names is None or name in self.names

    def unknown(self) -> tuple[str, ...]:
        """Names that nothing in a replay has: their queries find nothing."""
        return tuple(sorted((self.names or frozenset()) - KNOWN))


@dataclass(slots=True)
class Histogram:
    """Observations of one replica in buckets; +Inf is the last."""

    bounds: np.ndarray
    counts: np.ndarray
    sum: float = 0.0

    def observe(self, values: np.ndarray) -> None:
        """Count *values*, each in the first bucket whose bound is not below it."""
        buckets = np.searchsorted(self.bounds, values, "left")
        np.add.at(self.counts, buckets, 1)
        self.sum += math.fsum(values)


def _times(column: int, since: int) -> Callable[[at.State, np.ndarray], np.ndarray]:
    return lambda s, rows: s.times[rows, column] - s.times[rows, since]


def _newest_token(s: at.State, rows: Ints) -> Floats:
    """When each request had its last token, or the newest if it was abandoned after one."""
    is_whole = s.request[rows, at.Q_STATUS] == at.DONE
    newest: Floats = np.where(is_whole, s.times[rows, at.T_LAST], s.times[rows, at.T_TOKEN])
    return newest


def _to_newest(since: int) -> Callable[[at.State, np.ndarray], np.ndarray]:
    return lambda s, rows: _newest_token(s, rows) - s.times[rows, since]


def _generated(s: at.State, rows: Ints) -> Floats:
    is_whole = s.request[rows, at.Q_STATUS] == at.DONE
    produced: Ints = np.where(
        is_whole, s.request[rows, at.Q_OUTPUT], s.request[rows, at.Q_PRODUCED]
    )
    return produced.astype(np.float64)


def _per_token(s: at.State, rows: np.ndarray) -> np.ndarray:
    decode = _newest_token(s, rows) - s.times[rows, at.T_FIRST]
    gaps = _generated(s, rows) - 1
    return np.where(gaps > 0, decode / np.maximum(gaps, 1), np.where(gaps == 0, 0.0, math.nan))


def _count(column: int) -> Callable[[at.State, np.ndarray], np.ndarray]:
    return lambda s, rows: s.request[rows, column].astype(np.float64)


_OBSERVED: Mapping[str, Callable[[at.State, np.ndarray], np.ndarray]] = {
    "e2e_request_latency_seconds": _times(at.T_LAST, at.T_SENT),
    "request_queue_time_seconds": _times(at.T_SCHEDULED, at.T_SENT),
    "request_inference_time_seconds": _to_newest(at.T_SCHEDULED),
    "request_prefill_time_seconds": _times(at.T_FIRST, at.T_SCHEDULED),
    "request_decode_time_seconds": _to_newest(at.T_FIRST),
    "request_time_per_output_token_seconds": _per_token,
    "request_prompt_tokens": _count(at.Q_PROMPT),
    "request_generation_tokens": _generated,
    "request_max_num_generation_tokens": _generated,
    "request_params_max_tokens": _count(at.Q_OUTPUT),
    "request_num_preemptions": _count(at.Q_PREEMPTED),
}
_BEGIN = "time_to_first_token_seconds"
_GAPS = "inter_token_latency_seconds"
_HISTOGRAMS = (*_OBSERVED, _BEGIN, _GAPS)
GAP_BUCKETS = catalogue.BUCKETS[_GAPS]

_GAUGES: Mapping[str, int] = {
    "vllm:num_requests_running": at.RUNS,
    "vllm:num_requests_waiting": at.QUEUED,
}
_COUNTERS: Mapping[str, int] = {
    "vllm:prefix_cache_queries_total": at.PREFIX_QUERIES,
    "vllm:prefix_cache_hits_total": at.PREFIX_HITS,
    "vllm:num_preemptions_total": at.PREEMPTIONS,
    "vllm:prompt_tokens_total": at.PROMPT_TOKENS,
    "vllm:prompt_tokens_cached_total": at.CACHED_TOKENS,
    "vllm:generation_tokens_total": at.GENERATED_TOKENS,
}
_USAGE = "vllm:kv_cache_usage_perc"
_REASONS = "vllm:num_requests_waiting_by_reason"
_SUCCESS = "vllm:request_success_total"
_ENGINE_NAMES = frozenset(
    {*_GAUGES, *_COUNTERS, _USAGE, _REASONS, _SUCCESS}
    | {f"vllm:{name}{suffix}" for name in _HISTOGRAMS for suffix in _SUFFIXES}
)
INCOMING = "vllm:num_incoming_requests_total"
HEALTHY = "vllm:healthy_pods_total"
GATEWAY_HELD = "stoker_gateway_held"
GATEWAY_IN_FLIGHT = "stoker_gateway_in_flight"
_REPORTS = ("up", "scrape_duration_seconds", "scrape_samples_scraped")
KNOWN = _ENGINE_NAMES | {INCOMING, HEALTHY, GATEWAY_HELD, GATEWAY_IN_FLIGHT, *_REPORTS}

Sample = tuple[dict[str, str], float]


@dataclass(slots=True, eq=False)
class EnginePage:
    """What one process shows. Histograms begin when it starts."""

    slot: int
    limits: Limits
    model: str
    demand: Demand
    histograms: dict[str, Histogram] = field(default_factory=dict)
    columns: tuple[int, ...] = field(init=False)  # of `number`, gauges and counters
    is_plain: bool = field(init=False)  # nothing else is shown

    def __post_init__(self) -> None:
        self.restart()
        plain = {**_GAUGES, **_COUNTERS}
        self.columns = tuple(plain[name] for name in plain if self.demand.has(name))
        self.is_plain = len(self.labels()) == len(self.columns)

    def restart(self) -> None:
        """Empty histograms, for a new process."""
        lengths = catalogue.length_buckets(self.limits.max_model_len)
        for name in (*_OBSERVED, _BEGIN):
            if any(self.demand.has(f"vllm:{name}{suffix}") for suffix in _SUFFIXES):
                bounds = lengths if name in catalogue.LENGTH_HISTOGRAMS else catalogue.BUCKETS[name]
                self.histograms[name] = Histogram(
                    np.array(bounds), np.zeros(len(bounds) + 1, np.int64)
                )

    def labels(self) -> list[dict[str, str]]:
        """The series that it has, in the order of :meth:`values`."""
        own = {"engine": _ENGINE, "model_name": self.model}
        return [{METRIC_NAME: name, **own, **more} for name, more in self._series()]

    def _series(self) -> Iterator[tuple[str, dict[str, str]]]:
        has = self.demand.has
        for name in (*_GAUGES, *_COUNTERS):
            if has(name):
                yield name, {}
        if has(_USAGE):
            yield _USAGE, {}
        if has(_REASONS):
            yield _REASONS, {"reason": "capacity"}
            yield _REASONS, {"reason": "deferred"}
        if has(_SUCCESS):
            for reason in ("length", "abort"):
                yield _SUCCESS, {"finished_reason": reason}
        for name, bounds in self._shown():
            for bound in (*bounds, float("inf")):
                yield f"vllm:{name}_bucket", {"le": bound_text(bound)}
            yield f"vllm:{name}_sum", {}
            yield f"vllm:{name}_count", {}

    def _shown(self) -> Iterator[tuple[str, tuple[float, ...]]]:
        for name, histogram in self.histograms.items():
            yield name, tuple(histogram.bounds.tolist())
        if any(self.demand.has(f"vllm:{_GAPS}{suffix}") for suffix in _SUFFIXES):
            yield _GAPS, GAP_BUCKETS

    def values(self, fleet: Fleet) -> list[float]:
        """The values now, in the order of :meth:`labels`."""
        s, slot, has = fleet.state, self.slot, self.demand.has
        number = s.number[slot]
        values = [float(number[column]) for column in self.columns]
        if self.is_plain:
            return values
        if has(_USAGE):
            values.append(fleet.used_blocks(slot) / (self.limits.num_gpu_blocks - 1))
        if has(_REASONS):
            values += [float(number[at.QUEUED]), 0.0]
        if has(_SUCCESS):
            values += [float(number[at.SUCCESSES]), float(number[at.ABORTS])]
        for name, _ in self._shown():
            if name == _GAPS:
                counts, total = s.gaps[slot], float(s.clock[slot, at.GAP_SUM])
            else:
                counts, total = self.histograms[name].counts, self.histograms[name].sum
            cumulative = np.cumsum(counts).tolist()
            values += [*map(float, cumulative), total, float(cumulative[-1])]
        return values


class Observer:
    """Gives each request that had its first token, or ended, to the page of its replica."""

    def __init__(self, fleet: Fleet, demand: Demand) -> None:
        self._fleet = fleet
        self._seen = [0, 0]
        names = (*_OBSERVED, _BEGIN)
        self._is_needed = any(
            demand.has(f"vllm:{name}{suffix}") for name in names for suffix in _SUFFIXES
        )

    def observe(self, pages: Mapping[int, EnginePage]) -> None:
        """Look at what is new. *pages* are those of all slots."""
        if not self._is_needed:
            return
        s = self._fleet.state
        for kind, column in ((0, at.FIRSTS), (1, at.ENDS)):
            end = int(s.world[column])
            rows = s.log[kind, self._seen[kind] : end]
            self._seen[kind] = end
            if not len(rows):
                continue
            slots = s.request[rows, at.Q_REPLICA]
            for slot in np.unique(slots).tolist():
                page = pages.get(slot)
                if page is not None:
                    _observe(page, kind, s, rows[slots == slot])


def _observe(page: EnginePage, kind: int, s: at.State, rows: np.ndarray) -> None:
    if kind == 0:
        if _BEGIN in page.histograms:
            waits = s.times[rows, at.T_FIRST] - s.times[rows, at.T_SENT]
            page.histograms[_BEGIN].observe(waits)
        return
    for name, histogram in page.histograms.items():
        if name != _BEGIN:
            values = _OBSERVED[name](s, rows)
            # Of a request that was abandoned before it came so far there is nothing to observe.
            histogram.observe(values[~np.isnan(values)])
