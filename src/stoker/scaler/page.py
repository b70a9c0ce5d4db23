"""``/metrics`` of the scaler."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.metrics.sample import format_value, quote
from stoker.scaler.service import ScalerService


def metrics_page(service: ScalerService, now: float) -> str:
    """Prometheus' text format."""
    return "".join(f"{line}\n" for line in _lines(service, now))


def _lines(service: ScalerService, now: float) -> Iterator[str]:
    yield "# HELP stoker_scaler_calls_total Calls of KEDA, by method and gRPC status."
    yield "# TYPE stoker_scaler_calls_total counter"
    for (method, code), count in sorted(service.calls.items()):
        yield f'stoker_scaler_calls_total{{method="{method}",code="{code}"}} {count}'
    yield "# HELP stoker_scaler_streams Streams that are open now."
    yield "# TYPE stoker_scaler_streams gauge"
    yield f"stoker_scaler_streams {service.streams}"
    yield "# HELP stoker_scaler_metric_value Newest value that is served."
    yield "# TYPE stoker_scaler_metric_value gauge"
    served = [
        (sampler, metric, f"scaledobject={quote(sampler.name)},metric={quote(metric.name)}")
        for sampler in service.samplers.values()
        for metric in sampler.metrics
    ]
    for sampler, metric, labels in served:
        value = sampler.newest(metric, now).value
        if value is not None:
            yield f"stoker_scaler_metric_value{{{labels}}} {format_value(value)}"
    yield "# HELP stoker_scaler_metric_age_seconds Since that value was read."
    yield "# TYPE stoker_scaler_metric_age_seconds gauge"
    for sampler, metric, labels in served:
        age = now - sampler.newest(metric, now).at
        yield f"stoker_scaler_metric_age_seconds{{{labels}}} {format_value(round(age, 3))}"
    yield "# HELP stoker_scaler_source_failures_total Reads of sources that failed."
    yield "# TYPE stoker_scaler_source_failures_total counter"
    for sampler in service.samplers.values():
        labels = f"scaledobject={quote(sampler.name)}"
        yield f"stoker_scaler_source_failures_total{{{labels}}} {sampler.failures}"
