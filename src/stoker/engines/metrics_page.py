"""The ``/metrics`` page of a simulated replica: names, types, labels and buckets of vLLM 0.32.

What the engine model does not have (LoRA, multi-modal, KV transfer, estimated FLOPs) is zero, as on
a stock server that does not use it.
"""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.engines import metrics_catalogue as catalogue
from stoker.engines.exposition import (
    Counter,
    Counters,
    Family,
    Gauges,
    Histogram,
    Histograms,
    head,
    label_text,
    number,
    page,
)
from stoker.simulator.engine import Engine, Finished, Step, TokenEvent

_ENGINE = "0"  # rank in a data-parallel group


@dataclass(slots=True)
class _Live:
    arrived: float
    max_tokens: int
    last: float  # time of the newest token


class MetricsPage:
    """Collects what happens at an engine and writes it as a page. All times are of one clock."""

    def __init__(
        self, engine: Engine, model_name: str, config: Mapping[str, str], now: float
    ) -> None:
        self._engine = engine
        self._own = {"engine": _ENGINE, "model_name": model_name}
        self._created = now
        self._live: dict[str, _Live] = {}
        self._families: dict[str, Family] = {}  # in the order of the catalogue
        self._counters: dict[str, Counter] = {}  # by name, or name and the split label's value
        self._histograms: dict[str, Histogram] = {}
        lengths = catalogue.length_buckets(engine.limits.max_model_len)
        bounds = catalogue.BUCKETS | dict.fromkeys(catalogue.LENGTH_HISTOGRAMS, lengths)
        for name, text in catalogue.HELP.items():
            if name in bounds:
                self._add_histogram(name, text, bounds[name])
            elif name in _GAUGES:
                self._families[name] = Gauges(f"vllm:{name}", text)
            else:
                self._add_counter(name, text)
        self._set("cache_config_info", 1.0, {"engine": _ENGINE, **config})
        self._http_requests = Counters("http_requests", catalogue.HTTP_REQUESTS_HELP)
        self._http_durations = Histograms(
            "http_request_duration_seconds",
            catalogue.HTTP_DURATION_HELP,
            catalogue.HTTP_DURATION_BUCKETS,
        )

    def arrived(self, request_id: str, max_tokens: int, now: float) -> None:
        """A request was submitted."""
        self._live[request_id] = _Live(now, max_tokens, now)

    def produced(self, events: Iterable[TokenEvent]) -> None:
        """Tokens were produced."""
        first = self._histograms["time_to_first_token_seconds"]
        between = self._histograms["inter_token_latency_seconds"]
        for event in events:
            live = self._live[event.request_id]
            (first if event.index == 1 else between).observe(event.time - live.last)
            live.last = event.time
            if event.finished is not None:
                self.ended(event.request_id, event.finished)

    def step(self, step: Step) -> None:
        """A step of the engine is over."""
        tokens = step.prompt_tokens + step.generated_tokens
        self._histograms["iteration_tokens_total"].observe(tokens)

    def ended(self, request_id: str, end: Finished) -> None:
        """A request has its last token, or was cancelled."""
        live = self._live.pop(request_id)
        observe = self._observe
        self._counters[f"request_success {end.reason}"].value += 1
        observe("request_prompt_tokens", end.prompt_tokens)
        observe("request_generation_tokens", end.output_tokens)
        observe("request_max_num_generation_tokens", end.output_tokens)
        observe("request_params_n", 1)
        observe("request_params_max_tokens", live.max_tokens)
        observe("request_num_preemptions", end.preemptions)
        observe("e2e_request_latency_seconds", end.ended - end.arrived)
        if end.scheduled is None:
            return
        observe("request_queue_time_seconds", end.scheduled - end.arrived)
        observe("request_prefill_kv_computed_tokens", end.prompt_tokens - end.cached_tokens)
        if end.first_token is None or end.last_token is None:
            return
        decode = end.last_token - end.first_token
        observe("request_prefill_time_seconds", end.first_token - end.scheduled)
        observe("request_decode_time_seconds", decode)
        observe("request_inference_time_seconds", end.last_token - end.scheduled)
        per_token = decode / (end.output_tokens - 1) if end.output_tokens > 1 else 0.0
        observe("request_time_per_output_token_seconds", per_token)

    def rejected(self, reason: str) -> None:
        """A request was refused by a limit on the queue: ``max_num_queued_reqs``."""
        self._counters[f"admission_rejections {reason}"].value += 1

    def answered(self, handler: str, method: str, status: int, seconds: float, now: float) -> None:
        """An HTTP request was answered."""
        labels = {"handler": handler, "method": method}
        self._http_durations.labels(labels, now).observe(seconds)
        labels["status"] = f"{status // 100}xx"
        self._http_requests.labels(labels, now).value += 1

    def text(self) -> str:
        """The page as it is now."""
        self._read_engine()
        families = (*self._families.values(), self._http_requests, self._http_durations)
        return _process_lines(self._created) + page(families)

    def _read_engine(self) -> None:
        engine, totals = self._engine, self._engine.counters
        self._set("num_requests_running", engine.running)
        self._set("num_requests_waiting", engine.waiting)
        for reason, waiting in (("capacity", engine.waiting), ("deferred", 0)):
            self._set("num_requests_waiting_by_reason", waiting, self._own | {"reason": reason})
        for state in ("awake", "weights_offloaded", "discard_all"):
            labels = self._own | {"sleep_state": state}
            self._set("engine_sleep_state", float(state == "awake"), labels)
        self._set("kv_cache_usage_perc", engine.kv_cache.usage)
        for name, value in {
            "prefix_cache_queries": totals.prefix_queries,
            "prefix_cache_hits": totals.prefix_hits,
            "num_preemptions": totals.preemptions,
            "prompt_tokens": totals.prompt_tokens,
            "prompt_tokens_by_source local_compute": totals.prompt_tokens - totals.cached_tokens,
            "prompt_tokens_by_source local_cache_hit": totals.cached_tokens,
            "prompt_tokens_cached": totals.cached_tokens,
            "prompt_tokens_cached_by_source device": totals.prefix_hits,
            "generation_tokens": totals.generated_tokens,
        }.items():
            self._counters[name].value = value

    def _add_counter(self, name: str, text: str) -> None:
        family = Counters(f"vllm:{name}", text)
        self._families[name] = family
        if name not in catalogue.SPLIT_COUNTERS:
            self._counters[name] = family.labels(self._own, self._created)
            return
        label, values = catalogue.SPLIT_COUNTERS[name]
        own = dict(self._own)
        if name == "admission_rejections":  # counted before an engine is chosen
            del own["engine"]
        for value in values:
            counter = family.labels(own | {label: value}, self._created)
            self._counters[f"{name} {value}"] = counter

    def _add_histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> None:
        family = Histograms(f"vllm:{name}", text, bounds)
        self._families[name] = family
        self._histograms[name] = family.labels(self._own, self._created)

    def _observe(self, name: str, value: float) -> None:
        self._histograms[name].observe(value)

    def _set(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        gauge = self._families[name]
        if isinstance(gauge, Gauges):
            gauge.set(self._own if labels is None else labels, value)


_GAUGES = frozenset(
    {
        "num_requests_running",
        "num_requests_waiting",
        "num_requests_waiting_by_reason",
        "engine_sleep_state",
        "kv_cache_usage_perc",
        "cache_config_info",
    }
)


def _process_lines(started: float) -> str:
    """What a Python process says of itself. Linux only, as the real ones."""
    version = platform.python_version()
    python = {"implementation": platform.python_implementation(), "version": version}
    python |= zip(("major", "minor", "patchlevel"), version.split("."), strict=False)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = Path("/proc/self/statm")
    lines = [
        head("python_info", "Python platform information", "gauge"),
        f"python_info{label_text(python)} 1.0",
        head(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            "gauge",
        ),
        f"process_start_time_seconds {number(started)}",
        head(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            "counter",
        ),
        f"process_cpu_seconds_total {number(usage.ru_utime + usage.ru_stime)}",
    ]
    if pages.exists():
        resident = int(pages.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
        lines += [
            head("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge"),
            f"process_resident_memory_bytes {number(resident)}",
        ]
    return "\n".join(lines) + "\n"
