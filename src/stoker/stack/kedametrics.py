"""``/metrics``: what KEDA's operator tells of its scalers, under its own names.

*Source*: ``pkg/metricscollector/prommetrics.go`` of KEDA 2.20.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from stoker.metrics.exposition import format_sample
from stoker.metrics.sample import METRIC_NAME, Labels, format_value
from stoker.resources.authentication import Authentication
from stoker.scaling.annotations import is_paused
from stoker.stack.autoscaling import Autoscaling
from stoker.triggers.polling import PolledTrigger, TriggerRecord

# KEDA names a scaler after its type in Go, unless the trigger has a name.
_SCALERS = {
    "cron": "cronScaler",
    "external": "externalScaler",
    "external-push": "externalPushScaler",
    "kubernetes-workload": "kubernetesWorkloadScaler",
    "metrics-api": "metricsAPIScaler",
    "prometheus": "prometheusScaler",
    "rabbitmq": "rabbitMQScaler",
    "redis": "redisScaler",
    "redis-cluster": "redisScaler",
    "redis-cluster-streams": "redisStreamsScaler",
    "redis-sentinel": "redisScaler",
    "redis-sentinel-streams": "redisStreamsScaler",
    "redis-streams": "redisStreamsScaler",
}

Lines = Iterator[tuple[dict[str, str], float]]


def keda_page(scaled: Sequence[Autoscaling], authentications: Iterable[Authentication]) -> str:
    """The page in Prometheus' text format. KEDA knows nothing of HPAs that users wrote."""
    scaled = [one for one in scaled if not one.controller.spec.is_hpa]
    records = [
        (_labels(one, record), record)
        for one in scaled
        for polled in one.triggers
        if polled.is_kedas
        for record in polled.records.values()
    ]
    page = _Page()
    page.add(
        "keda_scaler_metrics_value",
        "gauge",
        "The value of a trigger's metric that the HPA is given.",
        ((labels, record.value) for labels, record in records if record.value is not None),
    )
    page.add(
        "keda_scaler_metrics_latency_seconds",
        "gauge",
        "Seconds that the last read of a trigger took, the retry included.",
        ((labels, record.latency) for labels, record in records if record.requests),
    )
    page.add(
        "keda_scaler_active",
        "gauge",
        "Whether a trigger is active (1) or not (0).",
        ((labels, float(record.active)) for labels, record in records if record.requests),
    )
    page.add(
        "keda_scaler_detail_errors_total",
        "counter",
        "Reads of a trigger that failed in spite of the retry.",
        ((labels, float(record.errors)) for labels, record in records),
    )
    page.add(
        "stoker_scaler_last_success_timestamp_seconds",
        "gauge",
        "When a trigger was last read without an error.",
        (
            (labels, record.last_success)
            for labels, record in records
            if record.last_success is not None
        ),
    )
    page.add(
        "keda_scaled_object_errors_total",
        "counter",
        "Failed reads of all triggers of a ScaledObject.",
        (
            (_object(one), float(sum(r.errors for t in _kedas(one) for r in t.records.values())))
            for one in scaled
        ),
    )
    page.add(
        "keda_scaled_object_paused",
        "gauge",
        "Whether a ScaledObject is paused (1) or not (0).",
        ((_object(one), float(is_paused(one.controller.spec))) for one in scaled),
    )
    types = Counter(trigger.spec.type for one in scaled for trigger in one.triggers)
    page.add(
        "keda_trigger_registered_total",
        "gauge",
        "Triggers of each type.",
        (({"type": type_}, float(count)) for type_, count in sorted(types.items())),
    )
    page.add(
        "keda_resource_registered_total",
        "gauge",
        "Resources of KEDA of each type and namespace.",
        _resources(scaled, authentications),
    )
    return page.text()


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(
        self, name: str, type_: str, about: str, samples: Iterable[tuple[dict[str, str], float]]
    ) -> None:
        """A family with its samples."""
        self._lines += [f"# HELP {name} {about}", f"# TYPE {name} {type_}"]
        for labels, value in samples:
            found = Labels({METRIC_NAME: name, **labels})
            self._lines.append(format_sample(found, format_value(value)))

    def text(self) -> str:
        """The page."""
        return "\n".join(self._lines) + "\n"


def _kedas(one: Autoscaling) -> list[PolledTrigger]:
    return [trigger for trigger in one.triggers if trigger.is_kedas]


def _labels(one: Autoscaling, record: TriggerRecord) -> dict[str, str]:
    own = record.spec
    return {
        **_object(one),
        "metric": record.metric_name,
        "scaler": own.name or _SCALERS.get(own.type, own.type),
        "triggerIndex": str(own.index),
        "type": "scaledobject",
    }


def _object(one: Autoscaling) -> dict[str, str]:
    spec = one.controller.spec
    return {"namespace": spec.namespace, "scaledObject": spec.name}


def _resources(scaled: Sequence[Autoscaling], found: Iterable[Authentication]) -> Lines:
    counted = Counter(("scaled_object", one.controller.spec.namespace) for one in scaled)
    for one in found:
        kind = "trigger_authentication"
        if not one.namespace:
            kind = f"cluster_{kind}"
        counted[kind, one.namespace or "default"] += 1
    for (type_, namespace), count in sorted(counted.items()):
        yield {"type": type_, "namespace": namespace}, float(count)
