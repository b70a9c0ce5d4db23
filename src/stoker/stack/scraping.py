"""Which pages are scraped, with the labels that the Prometheus Operator would add.

PodMonitors, ServiceMonitors and annotations of the files are followed. Where they say nothing, the
chart's ServiceMonitors are: ``job`` and ``service`` name the Service, ``endpoint`` the port of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from stoker.metrics.monitors import (
    DEFAULT_TIMEOUT,
    PodFacts,
    Scrape,
    ServiceFacts,
    annotated,
    scrapes,
)
from stoker.metrics.sample import Labels, Matcher, MatchOp, equals
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.resources import PlacedMonitor
from stoker.resources.workload import Workload
from stoker.stack.options import Options
from stoker.targets.base import Pod

DEFAULT_INTERVAL: Final = 5.0  # seconds, of what no monitor scrapes
_SUFFIX = "-deployment-vllm"
_LOCAL = "127.0.0.1"


def engine_service(workload: Workload) -> str:
    """The chart's Service in front of a Deployment: ``vllm-llama3-engine-service``."""
    if workload.name.endswith(_SUFFIX):
        return f"{workload.name.removesuffix(_SUFFIX)}-engine-service"
    return workload.name


def replica_labels(workload: Workload, pod: Pod) -> dict[str, str]:
    """Labels of all that *pod* exposes."""
    service = engine_service(workload)
    return {
        "namespace": pod.namespace,
        "pod": pod.name,
        "container": workload.container,
        "job": service,
        "service": service,
        "endpoint": "service-port",
        "instance": f"{pod.host}:{pod.port}",
    }


def router_labels(options: Options, gateway_port: int) -> dict[str, str]:
    """Labels of the gateway's page: those of the chart's router."""
    service = f"{options.release}-router-service"
    return {
        "namespace": options.namespace,
        "pod": f"{options.release}-deployment-router-0",
        "container": "router-container",
        "job": service,
        "service": service,
        "endpoint": "router-sport",
        "instance": f"{options.host}:{gateway_port}",
    }


def engine_series(workload: Workload) -> tuple[Matcher, ...]:
    """Matches the series of a Deployment's pods, whatever ``job`` a monitor gives them."""
    # Template hash and suffix as a ReplicaSet writes them: another Deployment whose name begins
    # alike, or the router's pod, does not match.
    pods = rf"{re.escape(workload.name)}-[0-9a-f]{{10}}-[a-z0-9]{{5}}"
    return Matcher("pod", MatchOp.REGEX, pods), *equals(namespace=workload.namespace)


def engine_selector(workload: Workload) -> str:
    """:func:`engine_series` as PromQL writes it."""
    return "{" + ",".join(str(matcher) for matcher in engine_series(workload)) + "}"


def scrape_targets(
    workloads: Iterable[tuple[Workload, tuple[Pod, ...]]],
    options: Options,
    monitors: Sequence[PlacedMonitor] = (),
    services: Sequence[ServiceFacts] = (),
) -> list[ScrapeTarget]:
    """The targets of each replica that runs: not ready ones too, as Prometheus discovers pods.

    A replica is scraped as the monitors and annotations say, or as the chart's ServiceMonitor
    would if they say nothing of the one port that it has on this machine.
    """
    return [
        target
        for workload, pods in workloads
        for pod in pods
        if pod.url is not None and pod.phase == "Running"
        for target in _of_pod(workload, pod, options, monitors, services)
    ]


def _of_pod(
    workload: Workload,
    pod: Pod,
    options: Options,
    monitors: Sequence[PlacedMonitor],
    services: Sequence[ServiceFacts],
) -> list[ScrapeTarget]:
    facts = _facts(workload, pod.name, pod.host, pod.labels)
    asked = [
        one for _, one in _asked(facts, monitors, services) if _is_here(one, workload, pod.host)
    ]
    if asked:
        return [_target(scrape, workload, pod, options) for scrape in asked]
    every = options.scrape_interval or DEFAULT_INTERVAL
    labels = Labels(replica_labels(workload, pod))
    return [ScrapeTarget(f"{pod.url}/metrics", labels, every, min(every, DEFAULT_TIMEOUT))]


def _facts(workload: Workload, name: str, host: str, labels: Mapping[str, str]) -> PodFacts:
    """The pod as a cluster would show it: with the ports that its containers declare."""
    return PodFacts(
        name, workload.namespace, host, workload.ports, labels, workload.pod_annotations
    )


def _asked(
    pod: PodFacts, monitors: Sequence[PlacedMonitor], services: Sequence[ServiceFacts]
) -> Iterator[tuple[str, Scrape]]:
    """Who asks for a page of *pod*, and for which."""
    for placed in monitors:
        for scrape in scrapes(placed.monitor, pod, services):
            yield str(placed), scrape
    page = annotated(pod, interval=DEFAULT_INTERVAL)
    if page is not None:
        yield "annotation prometheus.io/scrape", page


def _is_here(scrape: Scrape, workload: Workload, host: str) -> bool:
    return urlsplit(scrape.url).netloc == f"{host}:{workload.port}"


def _target(scrape: Scrape, workload: Workload, pod: Pod, options: Options) -> ScrapeTarget:
    """The page with the replica's port on this machine in place of the container's."""
    declared, real = f"{pod.host}:{workload.port}", f"{pod.host}:{pod.port}"
    labels = scrape.labels
    if labels.get("instance") == declared:
        labels = labels.with_label("instance", real)
    every = options.scrape_interval or scrape.interval
    return ScrapeTarget(
        urlsplit(scrape.url)._replace(netloc=real).geturl(),
        labels,
        every,
        min(every, scrape.timeout),
        scrape.honor_labels,
        scrape.honor_timestamps,
        scrape.metric_relabelings,
    )


def scrape_notices(
    workloads: Iterable[Workload],
    monitors: Sequence[PlacedMonitor],
    services: Sequence[ServiceFacts],
) -> list[str]:
    """What the files ask to scrape and this machine does not have, a sentence each."""
    told: dict[str, None] = {}  # in their order, each once
    pods = [(one, _facts(one, one.name, _LOCAL, one.pod_labels)) for one in workloads]
    for workload, facts in pods:
        for who, scrape in _asked(facts, monitors, services):
            if not _is_here(scrape, workload, _LOCAL):
                page = urlsplit(scrape.url)
                sentence = (
                    f"{who} asks for {page.netloc}{page.path} of {workload.name}: not scraped, "
                    f"a replica here has the engine's port {workload.port} alone"
                )
                told[sentence] = None
    for placed in monitors:
        if not any(scrapes(placed.monitor, facts, services) for _, facts in pods):
            told[f"{placed} ({placed.origin}) selects no port of any model server"] = None
    return list(told)
