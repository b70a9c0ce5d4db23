"""Everything of one run: built, started, followed and stopped.

What a run consists of, in the order in which it starts: the state directory with its lock, the
gateway and the Prometheus API with their ports, the Deployments with the replicas of an earlier
run, the loops that look, and the control API. What can be refused is refused before the first
replica starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Literal

from stoker.api.changes import Changes
from stoker.api.discovery import remove_discovery
from stoker.clock import Clock
from stoker.events import EventLog, ObjectRef
from stoker.gateway.server import Backend, Gateway
from stoker.gateway.wire import WorkerConfig
from stoker.metrics.sample import Labels
from stoker.metrics.scrape import Scraper
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.metrics.storage import Storage
from stoker.resources import Application, Bundle
from stoker.scaling.decision import Decision
from stoker.scaling.spec import ScalingSpec
from stoker.stack.applications import RunningApplication
from stoker.stack.autoscaling import Autoscaling, autoscaling_of
from stoker.stack.credentials import contexts, credential_notices
from stoker.stack.embedded import serve_prometheus
from stoker.stack.kedametrics import keda_page
from stoker.stack.neighbours import Neighbours
from stoker.stack.options import Options
from stoker.stack.pushes import Pushes
from stoker.stack.samples import KeptSamples
from stoker.stack.scraping import (
    DEFAULT_INTERVAL,
    router_labels,
    scrape_notices,
    scrape_targets,
)
from stoker.stack.startups import StartUps, failed
from stoker.stack.store import Remembered, ScalingStore
from stoker.targets.base import Engine
from stoker.targets.processes import Deployment, Node
from stoker.tick import Tick
from stoker.triggers.connections import Pool

_SOURCE = "stoker"


class Stack:
    """One run. :meth:`start` it, wait for :meth:`failed`, and :meth:`stop` it."""

    def __init__(
        self, bundle: Bundle, engine: Engine, gpus: int, options: Options, clock: Clock
    ) -> None:
        self.options = options
        self.clock = clock
        self.engine = engine
        self.gpus = gpus
        self.started_at = clock.now()
        self.changes = Changes()
        self.events = EventLog()
        self.storage = Storage()
        self.on_target: list[Callable[[ScrapeTarget, float], None]] = []
        self.scraper = Scraper(self.storage, clock, on_target=self._targeted)
        self._start_ups = StartUps()
        self.gateway = Gateway(
            options.state_dir,
            WorkerConfig(
                workers=options.gateway_workers,
                record=str(options.record.absolute()) if options.record else None,
                orphan_timeout=options.orphan_timeout,
                created=self.started_at,
            ),
            host=options.host,
            port=options.gateway_port,
            hold_timeout=options.hold_timeout,
        )
        self.node = Node(
            options.state_dir,
            gpus,
            clock,
            self.events,
            engine,
            self.gateway,
            namespace=options.namespace,
            drain_timeout=options.drain_timeout,
            orphan_timeout=options.orphan_timeout,
        )
        self.applications: list[RunningApplication] = []
        self.on_tick: list[Callable[[Tick], None]] = []
        self.bundle = bundle
        self._store = ScalingStore(options.state_dir, on_trouble=self._trouble)
        self._samples = KeptSamples(
            self.storage, clock, options.state_dir, on_trouble=self._trouble
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._servers = AsyncExitStack()
        self._pool = Pool()
        self._neighbours = Neighbours(self.applications, bundle)
        self.pushes = Pushes(self.storage, clock, bundle, options.otlp, on_written=self._written)
        self.prometheus_url = ""
        self.otlp_urls: dict[str, str] = {}  # by protocol

    # -- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything. Raises a StokerError, with nothing left running, if that cannot be."""
        await self.node.start()
        try:
            await self._serve()
            remembered = self._store.load()
            self._samples.load()
            for application in self.bundle.applications:
                await self._run(application, remembered)
            self.node.end_unclaimed()
            self.scraper.set_targets(self._scrape_targets())
            self._tell_what_is_missing()
            self._background(self.scraper.run())
            self._background(self.pushes.run())
            self._background(self._samples.run())
            self._background(self._scrape_gateway())
        except BaseException:
            await self.stop(force=True)
            raise

    async def stop(self, *, force: bool = False) -> None:
        """End requests, then replicas, then everything else. *force* does not wait for any."""
        remove_discovery(self.options.state_dir)
        await self._end_tasks()
        grace = 0.0 if force else self.options.drain_timeout
        await self.gateway.stop(grace)
        await self.node.stop(force=force)
        self._store.forget()
        self._samples.forget()
        for application in self.applications:
            if application.autoscaling:
                await application.autoscaling.controller.close()
        await self._pool.close()
        await self._servers.aclose()

    async def failed(self) -> None:
        """Wait for what must not happen: a part of the run that ends with an error."""
        await self._broken

    # -- the parts -------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Take the ports."""
        self.gateway.set_models(
            {a.workload.model: a.workload.aliases for a in self.bundle.applications}
        )
        await self.gateway.start()
        self.gateway.on_held = self._request_held
        prometheus = await serve_prometheus(
            self.storage,
            self.clock,
            self.scraper,
            host=self.options.host,
            port=self.options.prometheus_port,
            page=lambda: keda_page(self.autoscalings, self.bundle.authentications),
            receiver=self.pushes.receiver,
            on_written=self._written,
        )
        self._servers.push_async_callback(prometheus.close)
        self.prometheus_url = prometheus.url
        otlp = await self.pushes.serve(self.options.host)
        if otlp is not None:
            self._servers.push_async_callback(otlp.close)
            self.otlp_urls = otlp.urls

    async def _run(self, application: Application, remembered: dict[str, Remembered]) -> None:
        """Start one Deployment and, if it has a ScaledObject, the loops that look after it."""
        workload, now = application.workload, self.clock.now()
        deployment = Deployment(self.node, workload)
        running = RunningApplication(workload, deployment, now)
        if application.translation is not None:
            running.source = application.translation.source.content
        self.applications.append(running)
        deployment.on_change(lambda: self._replicas_changed(running))
        await deployment.start()
        if application.scaling is None:
            return
        scaling = application.scaling
        about = ObjectRef("ScaledObject", scaling.name, scaling.namespace)

        def tell(type_: Literal["Normal", "Warning"], reason: str, sentence: str) -> None:
            self.events.record(type_, reason, sentence, about, _SOURCE, self.clock.now())

        running.autoscaling = scaled = autoscaling_of(
            scaling,
            workload,
            deployment,
            remembered.get(scaling.name),
            storage=self.storage,
            store=self.pushes.store,
            clock=self.clock,
            options=self.options,
            background=self._background,
            held=lambda: self.options.activate_on_request and self.gateway.held(workload.model) > 0,
            context_for=lambda context, spec: contexts(
                replace(
                    context,
                    pool=self._pool,
                    pods=self._neighbours.pods,
                    endpoints=self._neighbours.endpoints,
                ),
                spec,
                application,
                self.bundle,
            ),
            on_change=lambda reason, sentence: tell("Normal", reason, sentence),
            on_tick=self._ticked,
            on_error=self._look_failed,
        )
        for sentence in credential_notices(scaling, application, self.bundle):
            tell("Warning", "CredentialsMissing", sentence)
        self._record(scaled.controller.spec, await scaled.controller.reconcile(now))
        self._background(scaled.loops.run())

    def on_stop(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call *close* when everything else has stopped."""
        self._servers.push_async_callback(close)

    async def _scrape_gateway(self) -> None:
        """The gateway's page, as the router would be scraped, without the detour."""
        labels = Labels(router_labels(self.options, self.gateway.port))
        while True:
            self.scraper.ingest(await self.gateway.page(), labels, self.clock.now())
            await self.clock.sleep(self.options.scrape_interval or DEFAULT_INTERVAL)

    # -- what happens ----------------------------------------------------------------------------

    @property
    def autoscalings(self) -> list[Autoscaling]:
        """Everything that scales."""
        return [a.autoscaling for a in self.applications if a.autoscaling]

    def find(self, name: str) -> Autoscaling | None:
        """The ScaledObject or the user's HPA of that name."""
        return next((one for one in self.autoscalings if one.name == name), None)

    async def annotate(self, scaled: Autoscaling, annotations: dict[str, str | None]) -> None:
        """Set or remove annotations of a ScaledObject, with what follows from them."""
        scaled.annotate(annotations)
        decision = await scaled.controller.reconcile(self.clock.now())
        self._record(scaled.controller.spec, decision)
        self._save()
        scaled.loops.wake()
        self.changes.notify()

    def _replicas_changed(self, changed: RunningApplication) -> None:
        """A pod came, went, became ready or ceased to be: routing and scraping follow."""
        model = changed.workload.model
        pods = [
            pod
            for application in self.applications
            if application.workload.model == model
            for pod in application.deployment.pods()
        ]
        ready = [
            Backend(pod.name, pod.url)
            for pod in pods
            if pod.ready and not pod.terminating and pod.url is not None
        ]
        self.gateway.set_backends(model, ready)
        if (seconds := self._start_ups.typical(model, pods)) is not None:
            self.gateway.set_start_up(model, seconds)
        if (why := failed(pods)) is not None:
            self.gateway.start_failed(model, why)
        self.scraper.set_targets(self._scrape_targets())
        self.pushes.set_pods((a.workload, a.deployment.pods()) for a in self.applications)
        self.changes.notify()

    def _written(self, names: frozenset[str]) -> None:
        """Something was pushed: whoever asks for it may want to look now."""
        for application in self.applications:
            scaled = application.autoscaling
            if scaled is not None and scaled.waker is not None:
                scaled.waker.written(names)

    def _targeted(self, target: ScrapeTarget, first: float) -> None:
        for tell in self.on_target:
            tell(target, first)

    def _scrape_targets(self) -> list[ScrapeTarget]:
        return scrape_targets(
            ((a.workload, a.deployment.pods()) for a in self.applications),
            self.options,
            self.bundle.monitors,
            self.bundle.services,
        )

    def _tell_what_is_missing(self) -> None:
        about = ObjectRef("Node", "localhost", self.options.namespace)
        workloads = [application.workload for application in self.bundle.applications]
        for sentence in scrape_notices(workloads, self.bundle.monitors, self.bundle.services):
            self.events.record("Warning", "NotScraped", sentence, about, _SOURCE, self.clock.now())
        for sentence in self.pushes.notices(self.otlp_urls):
            self.events.record("Warning", "NotPushed", sentence, about, _SOURCE, self.clock.now())

    def _request_held(self, model: str) -> None:
        """A request waits and no replica is ready: activate now rather than at the next poll."""
        if not self.options.activate_on_request:
            return
        for application in self.applications:
            scaled = application.autoscaling
            at_zero = application.deployment.status().spec_replicas == 0
            # an HPA of the user's own wakes by itself or not at all
            by_keda = scaled is not None and not scaled.controller.spec.is_hpa
            if application.workload.model == model and scaled and by_keda and at_zero:
                self._background(scaled.loops.push())

    def _ticked(self, tick: Tick) -> None:
        """A look is over: remember it, tell it."""
        scaled = self.find(tick.name)
        if scaled is None:
            return
        scaled.ticks.append(tick)
        self._record(scaled.controller.spec, tick.decision)
        self._save()
        for tell in self.on_tick:
            tell(tick)
        self.changes.notify()

    def _record(self, spec: ScalingSpec, decision: Decision) -> None:
        for event in decision.events:
            name = spec.name if event.about == "ScaledObject" else spec.hpa_name
            about = ObjectRef(event.about, name, spec.namespace)
            self.events.record(
                event.type, event.reason, event.message, about, event.source, self.clock.now()
            )
        self.changes.notify()

    def _save(self) -> None:
        self._store.save(
            {
                a.autoscaling.name: a.autoscaling.remembered()
                for a in self.applications
                if a.autoscaling
            }
        )

    def _trouble(self, sentence: str) -> None:
        about = ObjectRef("Node", "localhost", self.options.namespace)
        self.events.record("Warning", "StateDirectory", sentence, about, _SOURCE, self.clock.now())

    def _look_failed(self, name: str, error: Exception) -> None:
        about = ObjectRef("ScaledObject", name, self.options.namespace)
        message = f"an unforeseen error, please report it: {type(error).__name__}: {error}"
        self.events.record("Warning", "InternalError", message, about, _SOURCE, self.clock.now())

    # -- tasks -----------------------------------------------------------------------------------

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._broken.done():
            return
        error = task.exception()
        if error is not None:
            self._broken.set_exception(error)

    async def _end_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self._broken.done():
            self._broken.cancel()
