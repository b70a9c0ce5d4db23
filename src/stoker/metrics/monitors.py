"""What a cluster says about scraping: PodMonitor, ServiceMonitor, ``prometheus.io/*`` annotations.

Pure: from a document and a pod to what is scraped, with the labels that the Prometheus Operator's
generated configuration gives (``namespace pod container endpoint job instance service``).
Source: Prometheus Operator, ``pkg/prometheus/promcfg.go`` and its API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from stoker.errors import InputError
from stoker.metrics.relabel import Relabeling, read_relabeling, relabelled
from stoker.metrics.sample import Labels

DEFAULT_INTERVAL: Final = 30.0
DEFAULT_TIMEOUT: Final = 10.0
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS: Final = (7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)
_NOT_NAME = re.compile(r"[^a-zA-Z0-9_]")

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PodPort:
    """A container port."""

    number: int
    name: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What scraping asks of a pod. *host* is its address."""

    name: str
    namespace: str
    host: str
    ports: tuple[PodPort, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What scraping asks of a Service. *ports*: name -> the pod's port, a number or a name."""

    name: str
    namespace: str
    ports: Mapping[str, int | str]
    selector: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scrape:
    """One page to scrape. *interval* and *timeout* are seconds."""

    url: str
    labels: Labels
    interval: float
    timeout: float
    honor_labels: bool = False
    honor_timestamps: bool = True
    metric_relabelings: tuple[Relabeling, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of ``podMetricsEndpoints`` or ``endpoints``."""

    port: str | int
    path: str
    scheme: str
    interval: float
    timeout: float
    honor_labels: bool
    honor_timestamps: bool
    relabelings: tuple[Relabeling, ...]
    metric_relabelings: tuple[Relabeling, ...]


@dataclass(frozen=True, slots=True)
class Monitor:
    """A PodMonitor or ServiceMonitor. *namespaces* None: all."""

    kind: Literal["PodMonitor", "ServiceMonitor"]
    name: str
    namespace: str
    selector: Document
    namespaces: frozenset[str] | None
    endpoints: tuple[Endpoint, ...]
    job_label: str = ""
    target_labels: tuple[str, ...] = ()
    pod_target_labels: tuple[str, ...] = ()


# -- reading -------------------------------------------------------------------------------------


def read_monitor(
    document: Document, *, interval: float = DEFAULT_INTERVAL, namespace: str = "default"
) -> Monitor:
    """A document of kind PodMonitor or ServiceMonitor. Raises InputError that names the field.

    Args:
        document: the object.
        interval: seconds, of endpoints that name none.
        namespace: of an object that names none.
    """
    kind = document.get("kind")
    if kind not in {"PodMonitor", "ServiceMonitor"}:
        raise InputError(f"expected a PodMonitor or a ServiceMonitor, got `{kind}`")
    metadata, spec = _map(document, "metadata", ""), _map(document, "spec", "")
    namespace = str(metadata.get("namespace") or namespace)
    key = "podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"
    listed = _list(spec, key, "spec")
    chosen = _map(spec, "namespaceSelector", "spec")
    names = [str(one) for one in _list(chosen, "matchNames", "spec.namespaceSelector")]
    selector = _map(spec, "selector", "spec")
    _map(selector, "matchLabels", "spec.selector")
    for one in _list(selector, "matchExpressions", "spec.selector"):
        _meets(one, {})  # what is wrong with it shows here, not while pods come and go
    return Monitor(
        "PodMonitor" if kind == "PodMonitor" else "ServiceMonitor",
        str(metadata.get("name", "")),
        namespace,
        selector,
        None if chosen.get("any") else frozenset(names or [namespace]),
        tuple(_endpoint(one, f"spec.{key}[{i}]", interval) for i, one in enumerate(listed)),
        str(spec.get("jobLabel") or ""),
        tuple(str(one) for one in _list(spec, "targetLabels", "spec")),
        tuple(str(one) for one in _list(spec, "podTargetLabels", "spec")),
    )


def _endpoint(document: object, where: str, interval: float) -> Endpoint:
    if not isinstance(document, Mapping):
        raise InputError(f"`{where}` must be a mapping")
    port = document.get("port") or document.get("portNumber") or document.get("targetPort")
    if not isinstance(port, str | int):
        raise InputError(f"`{where}` names no port", hint="`port:` is the name of a port")
    every = _seconds(document, "interval", where) or interval
    timeout = _seconds(document, "scrapeTimeout", where) or min(DEFAULT_TIMEOUT, every)
    if timeout > every:
        raise InputError(f"`{where}.scrapeTimeout` is longer than the interval")
    steps = [
        tuple(
            read_relabeling(one, f"{where}.{key}[{i}]")
            for i, one in enumerate(_list(document, key, where))
        )
        for key in ("relabelings", "metricRelabelings")
    ]
    return Endpoint(
        port,
        str(document.get("path") or "/metrics"),
        str(document.get("scheme") or "http").lower(),
        every,
        timeout,
        bool(document.get("honorLabels", False)),
        document.get("honorTimestamps") is not False,
        steps[0],
        steps[1],
    )


def _map(document: Document, key: str, where: str) -> Document:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"`{where}.{key}` must be a mapping".replace("`.", "`"))
    return value


def _list(document: Document, key: str, where: str) -> list[object]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"`{where}.{key}` must be a list")
    return value


def _seconds(document: Document, key: str, where: str) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    parts = _DURATION.fullmatch(str(value))
    if parts is None or not any(parts.groups()):
        raise InputError(f"`{where}.{key}`: `{value}` is not a duration", hint="for example 15s")
    return sum(
        int(count) * unit for count, unit in zip(parts.groups(), _UNITS, strict=True) if count
    )


# -- translating ---------------------------------------------------------------------------------


def scrapes(monitor: Monitor, pod: PodFacts, services: Iterable[ServiceFacts] = ()) -> list[Scrape]:
    """What *monitor* scrapes of *pod*; for a ServiceMonitor through the Services before it."""
    if monitor.kind == "PodMonitor":
        if not _in_namespace(monitor, pod.namespace) or not selects(monitor.selector, pod.labels):
            return []
        found = [
            _scrape(monitor, endpoint, pod, port, None)
            for endpoint in monitor.endpoints
            for port in _pod_ports(pod, endpoint.port)
        ]
    else:
        found = [
            _scrape(monitor, endpoint, pod, port, service)
            for service in services
            if _in_namespace(monitor, service.namespace)
            and service.namespace == pod.namespace
            and selects(monitor.selector, service.labels)
            and service.selector
            and all(pod.labels.get(name) == text for name, text in service.selector.items())
            for endpoint in monitor.endpoints
            for port in _pod_ports(pod, service.ports.get(str(endpoint.port), endpoint.port))
        ]
    return [one for one in found if one is not None]


def _in_namespace(monitor: Monitor, namespace: str) -> bool:
    return monitor.namespaces is None or namespace in monitor.namespaces


def _pod_ports(pod: PodFacts, wanted: str | int) -> list[PodPort]:
    return [port for port in pod.ports if wanted in {port.name, port.number}]


def _scrape(
    monitor: Monitor, endpoint: Endpoint, pod: PodFacts, port: PodPort, service: ServiceFacts | None
) -> Scrape | None:
    labels = _meta(pod, port, service)
    labels |= {
        "__scheme__": endpoint.scheme,
        "__metrics_path__": endpoint.path,
        "__address__": f"{pod.host}:{port.number}",
        "namespace": pod.namespace,
        "pod": pod.name,
        "container": port.container,
        "endpoint": str(endpoint.port),
        "job": f"{monitor.namespace}/{monitor.name}",
    }
    of_job: Mapping[str, str] = pod.labels
    if service is not None:
        labels |= {"service": service.name, "job": service.name}
        of_job = service.labels
        labels |= {_label(one): service.labels.get(one, "") for one in monitor.target_labels}
    labels |= {_label(one): pod.labels.get(one, "") for one in monitor.pod_target_labels}
    labels["job"] = of_job.get(monitor.job_label, "") or labels["job"]
    return _finished(labels, endpoint)


def _finished(labels: dict[str, str], endpoint: Endpoint) -> Scrape | None:
    found = relabelled(labels, endpoint.relabelings)
    if found is None or not found.get("__address__"):
        return None
    address = found["__address__"]
    url = (
        f"{found.get('__scheme__', 'http')}://{address}{found.get('__metrics_path__', '/metrics')}"
    )
    kept = {name: text for name, text in found.items() if not name.startswith("__")}
    kept.setdefault("instance", address)
    return Scrape(
        url,
        Labels(kept),
        endpoint.interval,
        endpoint.timeout,
        endpoint.honor_labels,
        endpoint.honor_timestamps,
        endpoint.metric_relabelings,
    )


def _meta(pod: PodFacts, port: PodPort, service: ServiceFacts | None) -> dict[str, str]:
    """What service discovery knows, for relabellings to read."""
    prefix = "__meta_kubernetes_"
    labels = {
        f"{prefix}namespace": pod.namespace,
        f"{prefix}pod_name": pod.name,
        f"{prefix}pod_ip": pod.host,
        f"{prefix}pod_container_name": port.container,
        f"{prefix}pod_container_port_name": port.name,
        f"{prefix}pod_container_port_number": str(port.number),
    }
    for kind, pairs in (("label", pod.labels), ("annotation", pod.annotations)):
        labels |= {f"{prefix}pod_{kind}_{_label(name)}": text for name, text in pairs.items()}
    if service is not None:
        labels[f"{prefix}service_name"] = service.name
        labels |= {
            f"{prefix}service_label_{_label(name)}": text for name, text in service.labels.items()
        }
    return labels


def annotated(pod: PodFacts, *, interval: float = DEFAULT_INTERVAL) -> Scrape | None:
    """What ``prometheus.io/scrape|port|path|scheme`` ask for; None if nothing.

    Labels are those of the job ``kubernetes-pods`` in Prometheus' own example configuration, which
    KServe's annotations are written for: the pod's labels, ``namespace`` and ``pod``.
    """
    if pod.annotations.get("prometheus.io/scrape", "").lower() != "true":
        return None
    number = pod.annotations.get("prometheus.io/port", "")
    if number and not number.isdecimal():
        raise InputError(f"annotation `prometheus.io/port` of pod {pod.name}: `{number}`")
    if not number and not pod.ports:
        return None
    port = int(number) if number else pod.ports[0].number
    path = pod.annotations.get("prometheus.io/path", "/metrics")
    scheme = pod.annotations.get("prometheus.io/scheme", "http")
    labels = {_label(name): text for name, text in pod.labels.items()}
    labels |= {
        "namespace": pod.namespace,
        "pod": pod.name,
        "job": "kubernetes-pods",
        "instance": f"{pod.host}:{port}",
    }
    url = f"{scheme}://{pod.host}:{port}/{path.lstrip('/')}"
    return Scrape(url, Labels(labels), interval, min(DEFAULT_TIMEOUT, interval))


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels, matchExpressions) meets *labels*. Empty meets all."""
    wanted = _map(selector, "matchLabels", "spec.selector")
    if any(labels.get(str(name)) != text for name, text in wanted.items()):
        return False
    return all(_meets(one, labels) for one in _list(selector, "matchExpressions", "spec.selector"))


def _meets(expression: object, labels: Mapping[str, str]) -> bool:
    if not isinstance(expression, Mapping):
        raise InputError("`spec.selector.matchExpressions` must be a list of mappings")
    value = labels.get(str(expression.get("key")))
    values = _list(expression, "values", "spec.selector.matchExpressions")
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            raise InputError(
                f"unknown operator `{operator}` in `spec.selector.matchExpressions`",
                hint="one of In, NotIn, Exists, DoesNotExist",
            )


def _label(name: str) -> str:
    """A Kubernetes label as one of Prometheus: ``app.kubernetes.io/name`` has underscores."""
    return _NOT_NAME.sub("_", name)
