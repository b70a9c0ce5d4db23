"""What is pushed to a run: OTLP, and the collectors that KServe puts beside its pods.

KServe's sidecar scrapes the container every 5 s and pushes what it found to the otel add-on. Here
both ends are Stoker, so that nothing goes over a wire: pages are scraped into the add-on's store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.api.otlp import OtlpServers, serve_otlp
from stoker.clock import Clock
from stoker.metrics.otlp.addon import MetricStore
from stoker.metrics.otlp.receiver import OtlpReceiver, RawPoint
from stoker.metrics.relabel import Relabeling
from stoker.metrics.sample import METRIC_NAME, Labels
from stoker.metrics.scrape import Scraper
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.metrics.storage import Storage
from stoker.resources import Bundle
from stoker.resources.quantity import parse_duration
from stoker.resources.workload import Workload
from stoker.scaling.spec import ScalingSpec
from stoker.stack.options import OtlpOptions
from stoker.targets.base import Pod
from stoker.triggers.opentelemetry import asks_the_addon

GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318
_INJECT: Final = "sidecar.opentelemetry.io/inject"
_TIMEOUT: Final = 3.0
_DEFAULT_INTERVAL: Final = "1m"  # of a scrape_config that names none


@dataclass(frozen=True, slots=True)
class Sidecar:
    """An OpenTelemetryCollector beside the pods of a workload. *interval* is in seconds."""

    workload: str
    interval: float
    metrics: tuple[str, ...]


class Pushes:
    """Receives, scrapes for collectors, and tells which series have new values."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        bundle: Bundle,
        options: OtlpOptions,
        *,
        on_written: Callable[[frozenset[str]], None],
    ) -> None:
        self.store = MetricStore()
        self.sidecars = {one.workload: one for one in sidecars(bundle)}
        self._on_written = on_written
        self._options = options
        self._clock = clock
        self._unfed = unfed(bundle, self.sidecars)
        self.receiver = OtlpReceiver(
            storage,
            suffixes=options.suffixes,
            resource_attributes=options.resource_attributes,
            on_written=on_written,
            on_points=self._put,
        )
        names = frozenset(
            name + suffix
            for one in self.sidecars.values()
            for name in one.metrics
            for suffix in ("", "_count", "_sum")
        )
        self._collector = Scraper(self.store.storage, clock, on_page=lambda: on_written(names))

    async def serve(self, host: str) -> OtlpServers | None:
        """Listen, if anybody wants it. Raises ConflictError, InputError, MachineError."""
        grpc_port = self._port(self._options.grpc_port, GRPC_PORT)
        http_port = self._port(self._options.http_port, HTTP_PORT)
        if grpc_port is None and http_port is None:
            return None
        return await serve_otlp(
            self.receiver,
            self._clock,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            tls=self._options.tls,
        )

    def set_pods(self, pods: Iterable[tuple[Workload, tuple[Pod, ...]]]) -> None:
        """The pods that collectors are beside of."""
        self._collector.set_targets(
            sidecar_target(workload, pod, self.sidecars[workload.name])
            for workload, some in pods
            if workload.name in self.sidecars
            for pod in some
            if pod.url is not None and pod.phase == "Running"
        )

    async def run(self) -> None:
        """Scrape for the collectors until cancelled."""
        await self._collector.run()

    def notices(self, urls: Mapping[str, str]) -> list[str]:
        """What reads 0 until somebody pushes, a sentence each; *urls* are those of the receiver."""
        where = " or ".join(urls.values()) or "OTLP, which is off (--otlp-grpc-port)"
        return [
            f"{spec.name} asks for what is pushed, and no collector of these files is injected "
            f'({_INJECT}: "NAME" on the pods): it reads 0 until something is pushed to {where}'
            for spec in self._unfed
        ]

    def _port(self, asked: int | str, usual: int) -> int | None:
        if isinstance(asked, int):
            return asked
        return usual if asked == "auto" and self._unfed else None

    def _put(self, points: list[RawPoint], now: float) -> None:
        self._on_written(self.store.put(points, now))


def sidecars(bundle: Bundle) -> list[Sidecar]:
    """The collectors of a bundle that are injected into the pods of its workloads."""
    collectors = {
        str(_at(one.content, "metadata", "name")): one.content
        for one in bundle.objects
        if one.content.get("kind") == "OpenTelemetryCollector"
    }
    workloads = [application.workload for application in bundle.applications]
    return [
        _sidecar(content, workload)
        for name, content in collectors.items()
        for workload in workloads
        if workload.pod_annotations.get(_INJECT) in {name, "true"}
    ]


def _sidecar(content: Mapping[str, Any], workload: Workload) -> Sidecar:
    config = _at(content, "spec", "config")
    scrapes = _list(_at(config, "receivers", "prometheus", "config", "scrape_configs"))
    first = scrapes[0] if scrapes else None
    interval = parse_duration(str(_at(first, "scrape_interval") or _DEFAULT_INTERVAL))
    wanted = _at(config, "processors", "filter/metrics", "metrics", "include", "metric_names")
    return Sidecar(workload.name, interval, tuple(str(name) for name in _list(wanted)))


def sidecar_target(workload: Workload, pod: Pod, sidecar: Sidecar) -> ScrapeTarget:
    """What the sidecar of *pod* scrapes, labelled as its processors label it."""
    labels = {
        "namespace": workload.namespace,
        "deployment": workload.name,
        "pod": pod.name,
    }
    named = "|".join(re.escape(name) for name in sidecar.metrics)
    keep = Relabeling("keep", (METRIC_NAME,), regex=f"({named})(_count|_sum)?")
    return ScrapeTarget(
        f"{pod.url}/metrics",
        Labels(labels),
        sidecar.interval,
        min(sidecar.interval, _TIMEOUT),
        metric_relabelings=(keep,) if sidecar.metrics else (),
    )


def unfed(bundle: Bundle, sidecars: Collection[str]) -> list[ScalingSpec]:
    """ScaledObjects that ask the add-on, and have no collector here that pushes to it."""
    return [
        application.scaling
        for application in bundle.applications
        if application.scaling is not None and application.workload.name not in sidecars
        if any(asks_the_addon(one.type, one.metadata) for one in application.scaling.triggers)
    ]


def _at(content: Any, *path: str) -> Any:
    """What stands at *path*, None if there is nothing."""
    for key in path:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []
