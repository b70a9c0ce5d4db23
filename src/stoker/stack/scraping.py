"""Which pages are scraped, with the labels that the Prometheus Operator would add.

The chart's ServiceMonitors are followed: ``job`` and ``service`` name the Service, ``endpoint`` the
port of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoker.metrics.sample import Labels
from stoker.metrics.scrape import ScrapeTarget
from stoker.resources.workload import Workload
from stoker.stack.options import Options
from stoker.targets.base import Pod

_SUFFIX = "-deployment-vllm"


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


def scrape_targets(
    workloads: Iterable[tuple[Workload, tuple[Pod, ...]]], options: Options
) -> list[ScrapeTarget]:
    """A target for each replica that runs: not ready ones too, as Prometheus discovers pods."""
    return [
        ScrapeTarget(
            url=f"{pod.url}/metrics",
            labels=Labels(replica_labels(workload, pod)),
            interval=options.scrape_interval,
            timeout=min(options.scrape_interval, 10.0),
        )
        for workload, pods in workloads
        for pod in pods
        if pod.url is not None and pod.phase == "Running"
    ]
