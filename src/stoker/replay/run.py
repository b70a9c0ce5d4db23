"""The walk through virtual time: traffic, scrapes, polls and syncs, replicas that come and go.

Between two things that are to happen the fleet runs by itself. At one moment the order is: pods,
then scrapes, then KEDA's poll, then the HPA's sync; a request that comes at that moment comes after
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from stoker.backtest.run import Plan, Walk
from stoker.errors import InputError
from stoker.metrics.otlp.addon import MetricStore
from stoker.metrics.storage import LOOKBACK, Storage
from stoker.replay.agenda import Agenda
from stoker.replay.exposition import (
    GATEWAY_HELD,
    GATEWAY_IN_FLIGHT,
    HEALTHY,
    INCOMING,
    Demand,
    EnginePage,
    Observer,
)
from stoker.replay.nodes import Nodes
from stoker.replay.pods import Life, Pods
from stoker.replay.scraping import GatewayScrape, PodScrape
from stoker.replay.servers import Served, served
from stoker.replay.setup import Setup
from stoker.replay.sources import Recording, Sources, longest_window, queries_of
from stoker.resources import Bundle
from stoker.resources.bundle import Application
from stoker.scaling.observation import Reader
from stoker.scaling.spec import ScalingSpec
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.fleet import Fleet
from stoker.stack.options import Options
from stoker.stack.pushes import sidecar_target, sidecars, unfed
from stoker.stack.scraping import DEFAULT_INTERVAL, router_labels, scrape_targets
from stoker.tick import Samples, Tick
from stoker.traces import Arrivals
from stoker.triggers.base import PodFacts

NOTHING_RECORDED = Recording()
_MOST_BYTES = 512 * 2**20  # of samples, where queries look back for hours
# A controller's timer never fires early, and its next period counts from there. Were looks exact, a
# window of 60 s would hold five syncs of 15 s; in a live run the fifth is always a little older.
LATE = 0.001  # seconds
_LAST = 30 * 86400.0  # a run that does not end in a month after its trace never will


@dataclass(slots=True, eq=False)
class Model:
    """One model server of a run: its replicas, and what scales them."""

    application: Application
    engine: Served
    pods: Pods
    spec: ScalingSpec | None  # None: a fixed number of replicas
    walk: Walk | None = None
    scrapes: dict[str, list[PodScrape]] = field(default_factory=dict)  # by pod
    timeline: list[tuple[float, int, int]] = field(default_factory=list)  # time, wanted, ready

    @property
    def name(self) -> str:
        """Of the Deployment."""
        return self.engine.workload.name


class Run:
    """One bundle of files and one trace. :meth:`ticks` runs it; then everything can be read.

    Raises:
        InputError: a trigger cannot be replayed, or an engine could not start.
    """

    def __init__(
        self,
        bundle: Bundle,
        arrivals: Arrivals,
        setup: Setup,
        apps: Sequence[int] | None = None,
        recording: Recording = NOTHING_RECORDED,
    ) -> None:
        self.setup = setup
        self.recording = recording
        self.arrivals = arrivals
        self.agenda = Agenda()
        self.queries = queries_of(bundle, recording)
        self.window = longest_window(self.queries)
        self.storage = _storage_for(self.window)
        self._pushed = MetricStore()  # in the place of KServe's otel add-on
        self._sidecars = {one.workload: one for one in sidecars(bundle)}
        hash_tokens = None if arrivals.blocks is None else arrivals.blocks.block_size
        engines = [served(a.workload, setup, hash_tokens) for a in bundle.applications]
        of = np.zeros(len(arrivals), np.int64) if apps is None else np.asarray(apps, np.int64)
        self.fleet = Fleet(arrivals, [engine.server for engine in engines], of)
        self._of = of
        self._bundle = bundle
        self._options = _options(setup)
        self.demand = Demand.of(self.queries)
        self._observer = Observer(self.fleet, self.demand)
        self._pages: dict[int, EnginePage] = {}
        nodes = Nodes(setup, self.agenda)
        self.models = [
            self._model(app, application, engine, nodes)
            for app, (application, engine) in enumerate(
                zip(bundle.applications, engines, strict=True)
            )
        ]
        self.end = 0.0

    @property
    def unfed(self) -> list[str]:
        """ScaledObjects that ask for what is pushed, while nobody pushes."""
        return [spec.name for spec in unfed(self._bundle, self._sidecars)]

    @property
    def unused(self) -> tuple[str, ...]:
        """Recorded columns that answer no trigger."""
        return self.recording.unused(self._bundle)

    @property
    def too_long(self) -> int:
        """Requests that no engine takes."""
        return int((self.fleet.state.request[:, at.Q_STATUS] == at.TOO_LONG).sum())

    # -- the parts -------------------------------------------------------------------------------

    def _model(self, app: int, application: Application, engine: Served, nodes: Nodes) -> Model:
        pods = Pods(
            app,
            engine,
            self.fleet,
            self.agenda,
            nodes,
            self.setup,
        )
        spec = application.scaling
        if spec is not None:
            spec = spec.overridden(
                polling_interval=self.setup.polling_interval,
                stabilization_window=self.setup.stabilization_window,
            )
        model = Model(application, engine, pods, spec)
        pods.on_started = lambda life: self._started(model, life)
        pods.on_crash = self._crashed
        pods.on_gone = lambda life: self._gone(model, life)
        pods.on_change = lambda: self._changed(model)
        if spec is not None:
            targets = self.recording.targets
            start, settings = self.setup.start, self.setup.settings
            plan = Plan(start, math.inf, 0, 0.0, settings, targets, late=LATE)
            sources = Sources(spec, self.storage, self._pushed, self._pod_facts, self.recording)
            model.walk = Walk(spec, sources, plan, pods, sources.own)
        return model

    def _started(self, model: Model, life: Life) -> None:
        """A process runs: it is scraped from now on, before it answers, too."""
        assert life.slot is not None  # noqa: S101 - it was started
        page = EnginePage(life.slot, model.engine.server.limits, model.engine.model, self.demand)
        self._pages[life.slot] = page
        pod = model.pods.snapshot(life)
        targets = scrape_targets(
            [(model.engine.workload, (pod,))],
            self._options,
            self._bundle.monitors,
            self._bundle.services,
        )
        into = [(target, self.storage) for target in targets]
        sidecar = self._sidecars.get(model.name)
        if sidecar is not None:
            into.append((sidecar_target(model.engine.workload, pod, sidecar), self._pushed.storage))
        scrapes = model.scrapes[life.name] = [
            PodScrape(
                target,
                life,
                page,
                fleet=self.fleet,
                storage=storage,
                agenda=self.agenda,
                start=self.setup.start,
                before=self._observe,
            )
            for target, storage in into
        ]
        known = self.setup.moments.of(model.name, model.pods.lives.index(life))
        for scrape, (target, _), after in zip_longest(scrapes, into, known[: len(scrapes)]):
            scrape.begin(target.offset() if after is None else after)

    def _pod_facts(self) -> list[PodFacts]:
        """All pods, as a trigger that counts them sees them."""
        return [
            PodFacts(workload.namespace, workload.pod_labels, life.phase)
            for model in self.models
            for workload in (model.engine.workload,)
            for life in model.pods.present
        ]

    def _observe(self) -> None:
        self._observer.observe(self._pages)

    def _crashed(self, life: Life) -> None:
        """Its counters begin anew with its next process."""
        assert life.slot is not None  # noqa: S101 - it was started
        self._observe()
        self._pages[life.slot].restart()

    def _gone(self, model: Model, life: Life) -> None:
        assert life.slot is not None  # noqa: S101 - it was started
        self._observe()
        self._pages.pop(life.slot)
        life.requests += self.fleet.answered(life.slot)
        for scrape in model.scrapes.pop(life.name):
            scrape.close()

    def _changed(self, model: Model) -> None:
        entry = (self.agenda.now, model.pods.desired, model.pods.ready)
        if model.timeline and model.timeline[-1][0] == entry[0]:
            model.timeline[-1] = entry
        elif not model.timeline or model.timeline[-1][1:] != entry[1:]:
            model.timeline.append(entry)

    # -- time ------------------------------------------------------------------------------------

    def ticks(self) -> Iterator[Tick]:
        """Run to the end of the last request, telling every look."""
        self._begin()
        agenda, fleet, start = self.agenda, self.fleet, self.setup.start
        walks = [model for model in self.models if model.walk is not None]
        requests = len(self.arrivals)
        last = float(self.arrivals.times[-1]) if requests else 0.0
        due = [self._due(model) for model in walks]
        while True:
            look = min(due, default=math.inf)
            until = min(agenda.next, look)
            reached = fleet.run(min(until, last + _LAST))
            if fleet.state.world[at.NEXT] == requests and not fleet.pending:
                break
            if reached < until:
                if reached >= last + _LAST:
                    raise InputError(
                        "requests still wait a month after the end of the trace",
                        hint="no replica ever becomes ready: look at probes and --gpus",
                    )
                agenda.go_to(reached)
                pushed = self._early(reached)
                if pushed is not None:
                    yield self._push(pushed, reached)
                due = [self._due(model) for model in walks]
                continue
            if agenda.next <= until:
                agenda.do_next()
                if agenda.next > until:
                    due = [self._due(model) for model in walks]
                continue
            index = due.index(look)
            agenda.go_to(look)
            yield self._look(walks[index], start + look)
            due = [self._due(model) for model in walks]
        self._finish()

    def _begin(self) -> None:
        for model in self.models:
            model.pods.begin(_replicas_at_start(model, self.setup), cold=self.setup.cold)
            if model.walk is not None:
                model.walk.edit(model.walk.spec, self.setup.start)
            self._changed(model)
        interval = self.setup.scrape_interval or DEFAULT_INTERVAL
        if any(self.demand.has(n) for n in (INCOMING, HEALTHY, GATEWAY_HELD, GATEWAY_IN_FLIGHT)):
            GatewayScrape(
                router_labels(self._options, self._options.gateway_port),
                interval,
                self._gateway_page,
                storage=self.storage,
                agenda=self.agenda,
                start=self.setup.start,
            )

    def _due(self, model: Model) -> float:
        """When the model's next look is, on the run's clock."""
        assert model.walk is not None  # noqa: S101 - asked only of those that have one
        self._mind_held(model)
        return max(model.walk.due()[1] - self.setup.start, self.agenda.now)

    def _mind_held(self, model: Model) -> None:
        wake = self.setup.activate_on_request and model.pods.desired == 0
        self.fleet.wake_when_held(model.pods.app, wake=wake)

    def _look(self, model: Model, now: float) -> Tick:
        assert model.walk is not None  # noqa: S101 - asked only of those that have one
        reader, _ = model.walk.due()
        held = self.setup.activate_on_request and self.fleet.held(model.pods.app) > 0
        model.walk.samples = self._samples(model, now)
        return model.walk.look(reader, now, held=held)

    def _early(self, now: float) -> Model | None:
        """The fleet stopped before the time it was told: something is to be decided.

        Returns the model at zero that a request waits for.
        """
        for slot, since in self.fleet.drained():
            for model in self.models:
                if model.pods.drained(slot, max(since, now)):
                    break
        if not self.fleet.request_was_held:
            return None
        for model in self.models:
            at_zero = model.walk is not None and model.pods.desired == 0
            if at_zero and self.fleet.held(model.pods.app):
                return model
        return None

    def _push(self, model: Model, now: float) -> Tick:
        """Activate at once, as the stream of an external-push scaler does."""
        assert model.walk is not None  # noqa: S101 - asked only of those that have one
        model.walk.samples = self._samples(model, self.setup.start + now)
        return model.walk.look(Reader.PUSH, self.setup.start + now)

    def _samples(self, model: Model, now: float) -> Samples:
        """What step 1 has to offer."""
        up, series, newest = 0, 0, None
        for scrapes in model.scrapes.values():
            is_up = False
            for scrape in scrapes:
                is_up = is_up or scrape.is_up
                series += scrape.series
                if scrape.last is not None and (newest is None or scrape.last > newest):
                    newest = scrape.last
            up += is_up
        return Samples(up, series, None if newest is None else now - newest)

    def _gateway_page(self) -> list[tuple[dict[str, str], float]]:
        """What the gateway shows now."""
        s = self.fleet.state
        arrived = np.bincount(self._of[: int(s.world[at.NEXT])], minlength=len(self.models))
        page: list[tuple[dict[str, str], float]] = []
        for model, incoming in zip(self.models, arrived.tolist(), strict=True):
            name = model.engine.workload.model
            app = model.pods.app
            page.append(({"__name__": INCOMING, "model": name}, float(incoming)))
            page.append(({"__name__": GATEWAY_HELD, "model": name}, float(self.fleet.held(app))))
            for life in model.pods.present:
                if life.slot is None:
                    continue
                flying = float(self.fleet.in_flight(life.slot))
                page.append(({"__name__": GATEWAY_IN_FLIGHT, "pod": life.name}, flying))
                if life.is_ready and life.deleted is None:
                    server = f"http://127.0.0.1:{life.port}"
                    page.append(({"__name__": HEALTHY, "server": server}, 1.0))
        return page

    def _finish(self) -> None:
        s = self.fleet.state
        ended = s.times[:, at.T_LAST]
        last = float(self.arrivals.times[-1]) if len(self.arrivals) else 0.0
        known = ended[~np.isnan(ended)]
        self.end = max(last, float(known.max()) if len(known) else 0.0)
        for model in self.models:
            for life in model.pods.present:
                if life.slot is not None:
                    life.requests += self.fleet.answered(life.slot)


def _replicas_at_start(model: Model, setup: Setup) -> int:
    """What was asked for; else what the file or its ScaledObject says, and one at least."""
    if setup.replicas is not None:
        return setup.replicas
    in_file = model.engine.workload.replicas
    if model.spec is None:
        return 1 if in_file is None else in_file
    if in_file is None:
        in_file = 1
    return min(max(in_file, model.spec.min_replicas, 1), model.spec.max_replicas)


def _storage_for(window: float) -> Storage:
    """A storage that remembers what queries look back at, as a cluster's Prometheus does."""
    usual = Storage()
    if window + LOOKBACK <= usual.retention:
        return usual
    return Storage(retention=window + LOOKBACK, max_bytes=_MOST_BYTES)


def _options(setup: Setup) -> Options:
    from pathlib import Path  # noqa: PLC0415

    return Options(
        state_dir=Path(),
        namespace=setup.namespace,
        release=setup.release,
        scrape_interval=setup.scrape_interval,
    )
