"""What production-stack's chart makes beside an engine: Service, ServiceMonitor, Secret, ConfigMap.

The order of fields is that of the chart's templates.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from stoker.resources.chart import CHART, labels
from stoker.resources.chartcontainer import EngineRelease
from stoker.resources.document import Document, Manifest, Origin, Path

_ENGINE: Path = ("servingEngineSpec",)


def render_service(release: EngineRelease, document: Document) -> Manifest:
    """The Service of a model, before whatever the router is."""
    name = f"{release.name}-{release.model.name}-engine-service"
    given = labels(release)
    selector = {key: given[key] for key in ("model", "helm-release-name")}
    content = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": release.namespace,
            "labels": {key: text for key, text in given.items() if key not in selector},
        },
        "spec": {
            "type": "ClusterIP",
            "ports": [
                {
                    "name": "service-port",
                    "port": release.engine_written.get("servicePort") or 80,
                    "targetPort": "container-port",
                    "protocol": "TCP",
                },
                {
                    "name": "zmq-port",
                    "port": 55555,
                    "targetPort": "zmq-port",
                    "protocol": "TCP",
                },
                {"name": "ucx-port", "port": 9999, "targetPort": "ucx-port", "protocol": "TCP"},
            ],
            "selector": selector,
        },
    }
    place: Path = (*_ENGINE, "modelSpec", release.index)
    return Manifest(content, Origin(document, lambda _: place))


def render_of_release(releases: Sequence[EngineRelease], document: Document) -> list[Manifest]:
    """What all models of a release have in common. *releases* must not be empty."""
    first = releases[0]
    found = [_monitor(first), _secret(releases), _config_map(first)]
    return [
        Manifest(content, Origin(document, _written(key)))
        for content, key in found
        if content is not None
    ]


def _written(key: str) -> Any:
    place: Path = (*_ENGINE, key)
    return lambda path: (*place, *path[1:]) if path[:1] == ("spec",) else place


def _monitor(release: EngineRelease) -> tuple[Mapping[str, Any] | None, str]:
    """The ServiceMonitor, where it is enabled."""
    given = release.engine_written.get("serviceMonitor")
    if not isinstance(given, Mapping) or given.get("enabled") is not True:
        return None, "serviceMonitor"
    own = release.engine.labels or {}
    endpoint = {
        "port": "service-port",
        "honorLabels": given.get("honorLabels", False),
        "interval": given.get("interval", "30s"),
        "scrapeTimeout": given.get("scrapeTimeout", "25s"),
    }
    for key in ("metricRelabelings", "relabelings"):
        if given.get(key):
            endpoint[key] = given[key]
    selected = {
        "app.kubernetes.io/instance": release.name,
        "app.kubernetes.io/component": "serving-engine",
        "app.kubernetes.io/part-of": CHART,
        **own,
    }
    metadata = {
        "name": f"{release.name}-engine-servicemonitor",
        "namespace": release.namespace,
        "labels": {**selected, **(given.get("additionalLabels") or {})},
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata,
        "spec": {"endpoints": [endpoint], "selector": {"matchLabels": selected}},
    }, "serviceMonitor"


def _secret(releases: Sequence[EngineRelease]) -> tuple[Mapping[str, Any] | None, str]:
    """The Secret of tokens and keys that stand in the values as text."""
    first, values = releases[0], {}
    if isinstance(first.engine.vllm_api_key, str) and first.engine.vllm_api_key:
        values["vllmApiKey"] = first.engine.vllm_api_key
    for one in releases:
        if isinstance(one.model.hf_token, str) and one.model.hf_token:
            values[f"hf_token_{one.model.name}"] = one.model.hf_token
    if not values:
        return None, "vllmApiKey"
    data = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{first.name}-secrets", "namespace": first.namespace},
        "type": "Opaque",
        "data": data,
    }, "vllmApiKey"


def _config_map(release: EngineRelease) -> tuple[Mapping[str, Any] | None, str]:
    if not release.engine.configs:
        return None, "configs"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{release.name}-configs", "namespace": release.namespace},
        "data": dict(release.engine.configs),
    }, "configs"
