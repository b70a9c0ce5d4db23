"""The embedded Prometheus of a run: how triggers ask it, what step 1 says of it, its port."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from aiohttp import web

from stoker.api.otlp import PROMETHEUS_PATH, http_handler
from stoker.api.prometheus import make_app
from stoker.api.prometheus_wire import value_json
from stoker.clock import Clock
from stoker.errors import ConflictError
from stoker.metrics.otlp.receiver import OtlpReceiver
from stoker.metrics.scrape import Scraper
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant
from stoker.promql.value import Vector
from stoker.resources.workload import Workload
from stoker.stack.scraping import engine_selector, engine_series
from stoker.tick import Samples
from stoker.triggers.base import QueryAnswer, QueryFunction

_CLUSTER_SUFFIXES = (".svc", ".svc.cluster.local")


def is_cluster_address(address: str) -> bool:
    """Whether *address* is a Service name, which nothing outside a cluster can resolve."""
    host = urlsplit(address).hostname or ""
    return host.rstrip(".").endswith(_CLUSTER_SUFFIXES)


def query_for(storage: Storage) -> Callable[[str], QueryFunction | None]:
    """The embedded storage in the place of every Service name; other addresses are asked."""
    ask = ask_embedded(storage)
    return lambda address: ask if is_cluster_address(address) else None


def ask_embedded(storage: Storage) -> QueryFunction:
    """The embedded storage as one who asks over the network sees it."""

    async def ask(query: str, at: float) -> QueryAnswer:
        data = cast("dict[str, Any]", value_json(instant(query, storage, at)))
        return QueryAnswer(data["resultType"], data["result"])

    return ask


def number_of(query: str, storage: Storage, now: float) -> float | None:
    """The one number that *query* gives, None when it gives none."""
    answer = instant(query, storage, now)
    if not isinstance(answer, Vector) or len(answer.samples) != 1:
        return None
    return answer.samples[0].v


def samples_of(storage: Storage, workload: Workload, now: float) -> Samples:
    """What was scraped of *workload*: replicas that answer, series, and how long ago."""
    matchers = engine_series(workload)
    up = f"count(count by (pod) (up{engine_selector(workload)} == 1))"  # two monitors, one pod
    newest = storage.newest(matchers)
    return Samples(
        replicas_scraped=int(number_of(up, storage, now) or 0),
        series=storage.series_count(matchers),
        newest_age=None if newest is None else max(now - newest, 0.0),
    )


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """The Prometheus API with its port."""

    url: str
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening."""
        await self.runner.cleanup()


async def serve_prometheus(
    storage: Storage,
    clock: Clock,
    scraper: Scraper,
    *,
    host: str,
    port: int,
    page: Callable[[], str],
    receiver: OtlpReceiver,
    on_written: Callable[[frozenset[str]], None] = lambda _: None,
) -> PrometheusServer:
    """Listen on *host*:*port*; 0 is a free port. Raises ConflictError when it is taken.

    *page* is what ``/metrics`` says of the run itself; *receiver* takes OTLP where Prometheus does;
    *on_written* gets the names of metrics that came by remote write.
    """
    app = make_app(storage, clock, scraper, on_written=on_written)

    async def own_metrics(_: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=page().encode(), headers=headers)

    app.router.add_get("/metrics", own_metrics)
    app.router.add_post(PROMETHEUS_PATH, http_handler(receiver, clock))
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=0.5,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConflictError(
            f"the Prometheus API cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            hint="choose another port with `--prometheus-port`; does a Prometheus run here?",
        ) from None
    return PrometheusServer(f"http://{host}:{runner.addresses[0][1]}", runner)
