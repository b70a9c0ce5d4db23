"""The OpenTelemetryCollector that KServe puts beside a service with metrics of its pods.

Source: ``otel_reconciler.go`` of KServe 0.20. The collector is a sidecar: it scrapes the container
next to it and pushes to the add-on that KEDA asks.
"""

from __future__ import annotations

from typing import Any

from stoker.resources.document import Manifest
from stoker.resources.kserve import names
from stoker.resources.kserve.config import KServeConfig
from stoker.resources.kserve.podtemplate import Component
from stoker.resources.kserve.scaling import metrics_of
from stoker.resources.translation import translated

_STATEMENTS = tuple(
    f'set(attributes["{label}"], resource.attributes["k8s.{label}.name"])'
    for label in ("namespace", "deployment", "pod")
)
_RESOURCES = {
    "limits": {"cpu": "1", "memory": "2Gi"},
    "requests": {"cpu": "200m", "memory": "512Mi"},
}


def render_collector(component: Component, config: KServeConfig) -> Manifest | None:
    """The collector, None where no metric of the pods is named."""
    wanted = [
        name
        for item in metrics_of(component.predictor)
        if item.podmetric is not None and item.podmetric.metric.backend == "opentelemetry"
        for name in item.podmetric.metric.metric_names or ()
    ]
    if not wanted:
        return None
    metadata = component.metadata()
    kept = {key: metadata[key] for key in ("name", "namespace", "annotations") if key in metadata}
    content = {
        "apiVersion": "opentelemetry.io/v1beta1",
        "kind": "OpenTelemetryCollector",
        "metadata": kept,
        "spec": {
            "mode": "sidecar",
            "config": {
                "receivers": {"prometheus": _receiver(component, config)},
                "processors": _processors(wanted),
                "exporters": {
                    "otlp": {
                        "endpoint": config.metric_receiver,
                        "compression": "none",
                        "tls": {"insecure": True},
                    }
                },
                "service": {
                    "pipelines": {
                        "metrics": {
                            "receivers": ["prometheus"],
                            "processors": [
                                "resourcedetection/env",
                                "transform",
                                "filter/metrics",
                            ],
                            "exporters": ["otlp"],
                        }
                    }
                },
            },
            "resources": _RESOURCES,
        },
    }
    default = ("spec", "predictor", "autoScaling", "metrics")
    return translated(component.manifest, content, default=default)


def _receiver(component: Component, config: KServeConfig) -> dict[str, Any]:
    runtime = component.runtime
    annotations = {**(runtime.annotations if runtime else {}), **component.annotations}
    port = annotations.get(names.RUNTIME_PORT, str(names.HTTP_PORT))
    labels = {"namespace": component.namespace, "deployment": component.name}
    return {
        "config": {
            "scrape_configs": [
                {
                    "job_name": "otel-collector",
                    "scrape_interval": config.collector_scrape_interval,
                    "static_configs": [{"targets": [f"localhost:{port}"]}],
                    "relabel_configs": [
                        {"source_labels": [], "target_label": label, "replacement": text}
                        for label, text in labels.items()
                    ],
                }
            ]
        }
    }


def _processors(wanted: list[str]) -> dict[str, Any]:
    return {
        "resourcedetection/env": {"detectors": ["env"], "timeout": "2s", "override": False},
        "transform": {
            "metric_statements": [{"context": "datapoint", "statements": list(_STATEMENTS)}]
        },
        "filter/metrics": {
            "metrics": {"include": {"match_type": "strict", "metric_names": wanted}}
        },
    }
