"""Replicas in virtual time: pending, starting, ready, draining, gone.

One :class:`Pods` is a Deployment. It is to a replay what :mod:`stoker.targets.processes` is to a
live run: the same order of victims, the same probes and back-off, the same drain before the end.
Times are seconds since the start of the run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from stoker.replay.agenda import Agenda
from stoker.replay.nodes import Nodes
from stoker.replay.readiness import verdict
from stoker.replay.servers import Served
from stoker.replay.setup import Setup
from stoker.scaling.observation import PodStatus, TargetStatus
from stoker.simulator.fleet.fleet import Fleet
from stoker.targets.base import Pod
from stoker.targets.processes.backoff import CrashBackOff
from stoker.targets.processes.deployment import victims

# Seconds that vLLM took to put 39 GiB to sleep, in the log of production-stack's tutorial: 5.7.
_FALLS_ASLEEP = 6.0
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(slots=True, eq=False)
class Life:
    """One pod, and when what happened to it. None: it has not happened."""

    name: str
    port: int
    created: float
    scheduled: float | None = None  # it has its GPUs, which are paid from now on
    started: float | None = None  # its process, the last time
    opened: float | None = None  # its port
    ready: float | None = None  # the first time
    deleted: float | None = None
    gone: float | None = None
    restarts: int = 0
    is_ready: bool = False
    ready_changed: float | None = None
    slot: int | None = None  # in the fleet, from the start of its process on
    requests: int = 0  # that it answered
    node: int | None = None
    backoff: CrashBackOff = field(default_factory=CrashBackOff)
    was_there: bool = False  # before the run began
    woke: bool = False  # it took over a process that slept
    turn: int = 0  # counts starts and deletions: what was planned before does not count any more

    @property
    def phase(self) -> str:
        """As in the pod's status."""
        return "Pending" if self.slot is None else "Running"

    @property
    def is_open(self) -> bool:
        """Whether its port answers."""
        return self.opened is not None and self.gone is None

    @property
    def is_routed(self) -> bool:
        """Whether it gets requests. One that is ready before its port opens is soon left alone."""
        return self.is_ready and self.is_open and self.deleted is None


@dataclass(slots=True, eq=False)
class Sleep:
    """A process that sleeps in the place of a pod that is gone. It keeps its GPUs."""

    node: int | None
    since: float
    until: float | None = None  # None: it still sleeps


class Pods:
    """The replicas of one workload. Told of by *on_change* whenever one of them changes."""

    def __init__(
        self,
        app: int,
        engine: Served,
        fleet: Fleet,
        agenda: Agenda,
        nodes: Nodes,
        setup: Setup,
    ) -> None:
        self.workload = engine.workload
        self.app = app
        self.lives: list[Life] = []  # all there ever were
        self.on_started: Callable[[Life], None] = lambda _: None
        self.on_crash: Callable[[Life], None] = lambda _: None
        self.on_gone: Callable[[Life], None] = lambda _: None
        self.on_change: Callable[[], None] = lambda: None
        self.desired = 0
        self._startup = engine.startup
        self._gpus = engine.gpus
        self._fleet = fleet
        self._agenda = agenda
        self._nodes = nodes
        self._setup = setup
        self._numbers = random.Random(f"{setup.seed} {self.workload.name}")  # noqa: S311
        self._present: list[Life] = []
        self._sleeps: list[Sleep] = []  # all there ever were
        self._sleepers: list[Sleep] = []
        self._falling_asleep = 0
        self._status: TargetStatus | None = None

    # -- what others see -------------------------------------------------------------------------

    @property
    def present(self) -> tuple[Life, ...]:
        """Those that are not gone, the oldest first."""
        return tuple(self._present)

    @property
    def ready(self) -> int:
        """How many may get requests and answer them."""
        return sum(life.is_routed for life in self._present)

    def status(self, now: float) -> TargetStatus:  # noqa: ARG002 - changes come by the agenda
        """What KEDA and the HPA see. *now* is not looked at."""
        if self._status is None:
            staying = sum(life.deleted is None for life in self._present)
            pods = tuple(self._pod_status(life) for life in self._present)
            self._status = TargetStatus(self.desired, staying, pods)
        return self._status

    def asleep_seconds(self, end: float) -> float:
        """Replica-seconds of processes that slept, until *end*."""
        return math.fsum(
            max(min(end if one.until is None else one.until, end) - one.since, 0.0)
            for one in self._sleeps
        )

    def in_flight(self, pod: str) -> int:
        """Requests at a pod."""
        return next(
            self._fleet.in_flight(life.slot)
            for life in self._present
            if life.name == pod and life.slot is not None
        )

    # -- what is done to them --------------------------------------------------------------------

    def begin(self, replicas: int, *, cold: bool) -> None:
        """The replicas at the start, ready ones unless *cold*."""
        if cold:
            self.scale_at(replicas, 0.0)
            return
        self.desired = replicas
        for _ in range(replicas):
            life = self._create(0.0)
            life.was_there = True
            life.node = self._nodes.take_at_once(self._gpus)
            life.scheduled = life.started = life.opened = 0.0
            life.slot = self._fleet.add(self.app)
            self.on_started(life)
            self._is_ready(life, 0.0, warm=True)

    def scale(self, replicas: int, now: float) -> None:
        """Ask for *replicas* at the absolute time *now*."""
        self.scale_at(replicas, now - self._setup.start)

    def scale_at(self, replicas: int, now: float) -> None:
        """Ask for *replicas*: new ones come, or those go that are missed least."""
        self.desired = replicas
        staying = [life for life in self._present if life.deleted is None]
        for _ in range(replicas - len(staying)):
            life = self._create(now)
            if self._sleepers:
                self._wake(life, self._sleepers.pop(), now)
            else:
                self._schedule(life, now)
        if len(staying) > replicas:
            youngest = map(self._pod, reversed(staying))  # first, of those created at one moment
            names = {pod.name for pod in victims(youngest, len(staying) - replicas, self)}
            for life in staying:
                if life.name in names:
                    self._delete(life, now)
        self._changed()

    def drained(self, slot: int, now: float) -> bool:
        """A draining replica has no request any more. False: it is not one of these."""
        found = [life for life in self._present if life.slot == slot and life.deleted is not None]
        for life in found:
            life.turn += 1
            self._stop(life, now)
        return bool(found)

    # -- the way of a pod ------------------------------------------------------------------------

    def _create(self, now: float) -> Life:
        suffix = "".join(self._numbers.choice(_ALPHABET) for _ in range(5))
        life = Life(f"{self.workload.name}-0123456789-{suffix}", 20_000 + len(self.lives), now)
        self.lives.append(life)
        self._present.append(life)
        return life

    def _schedule(self, life: Life, now: float) -> None:
        """Wait for GPUs, then for what comes before the process: pulling the image, mounting."""
        turn = life.turn

        def on_node(node: int | None, at: float) -> None:
            if life.turn != turn:  # it was deleted while it waited
                self._nodes.give_back(node, self._gpus, at)
                return
            life.node, life.scheduled = node, at
            life.ready_changed = at
            delay = self._setup.scheduling.draw(self._numbers)
            self._agenda.at(at + delay, lambda: self._start(life, turn, at + delay))
            self._changed()

        self._nodes.take(self._gpus, now, on_node)

    def _start(self, life: Life, turn: int, now: float) -> None:
        if life.turn != turn:
            return
        life.slot = self._fleet.add(self.app)
        life.started = now
        self.on_started(life)
        self._run(life, now)
        self._changed()

    def _wake(self, life: Life, sleeper: Sleep, now: float) -> None:
        """The pod takes over a process that has loaded its model, and passed its probes, before."""
        sleeper.until = now
        life.node, life.woke = sleeper.node, True
        life.scheduled = life.started = life.ready_changed = now
        life.slot = self._fleet.add(self.app)
        self.on_started(life)
        life.turn += 1
        turn, at = life.turn, now + self._setup.wake.draw(self._numbers)

        def awake() -> None:
            if life.turn == turn:
                life.opened = at
                self._is_ready(life, at)

        self._agenda.at(at, awake)

    def _run(self, life: Life, now: float) -> None:
        """From the start of a process to what probes say of it."""
        life.turn += 1
        turn = life.turn
        opens = now + self._startup.draw(self._numbers)
        found = verdict(self.workload, now, opens)

        def if_same(action: Callable[[Life, float], None], at: float) -> Callable[[], None]:
            return lambda: action(life, at) if life.turn == turn else None

        if opens < found.killed_at:
            self._agenda.at(opens, if_same(self._open, opens))
        if found.killed_at < math.inf:
            self._agenda.at(found.killed_at, if_same(self._crash, found.killed_at))
        else:
            self._agenda.at(found.ready_at, if_same(self._is_ready, found.ready_at))

    def _is_ready(self, life: Life, now: float, *, warm: bool = False) -> None:
        life.is_ready = True
        life.ready_changed = now
        if life.ready is None:
            life.ready = now
        self._route(life, now, warm=warm)
        if self._setup.failures is not None:
            turn = life.turn
            rate = 1.0 / self._setup.failures
            at = now + round(self._numbers.expovariate(rate), 3)
            self._agenda.at(at, lambda: self._crash(life, at) if life.turn == turn else None)
        self._changed()

    def _open(self, life: Life, now: float) -> None:
        life.opened = now
        self._route(life, now)
        self._changed()

    def _route(self, life: Life, now: float, *, warm: bool = False) -> None:
        if life.is_routed:
            assert life.slot is not None  # noqa: S101 - it was started
            self._fleet.ready(life.slot, now, warm=warm)

    def _crash(self, life: Life, now: float) -> None:
        """The process ends by itself or by its liveness probe, and is started anew in its pod."""
        assert life.slot is not None  # noqa: S101 - it was started
        self.on_crash(life)
        life.requests += self._fleet.answered(life.slot)
        self._fleet.abort(life.slot, now)
        life.is_ready = False
        life.opened = None
        life.ready_changed = now
        life.restarts += 1
        life.turn += 1
        turn = life.turn
        again = now + life.backoff.delay(now)
        life.backoff.restarted(now, again)

        def restart() -> None:
            if life.turn == turn:
                life.started = again
                self._run(life, again)

        self._agenda.at(again, restart)
        self._changed()

    def _delete(self, life: Life, now: float) -> None:
        life.deleted = now
        life.turn += 1
        turn = life.turn
        if life.slot is None:  # nothing runs yet
            if life.scheduled is not None:
                self._nodes.give_back(life.node, self._gpus, now)
            self._end(life, now)
            return
        if self._fleet.drain(life.slot):
            self._stop(life, now)
            return
        # SIGTERM comes after the drain, and lets requests go on for the grace period.
        last = now + self._setup.drain_timeout + self.workload.termination_grace_period
        self._agenda.at(last, lambda: self._kill(life, last) if life.turn == turn else None)

    def _stop(self, life: Life, now: float) -> None:
        """Sleep, or SIGTERM, for an engine that has no requests."""
        asleep = len(self._sleepers) + self._falling_asleep
        if life.is_open and asleep < self._setup.sleepers:
            self._falling_asleep += 1
            self._agenda.at(now + _FALLS_ASLEEP, lambda: self._sleep(life))
            return
        self._agenda.at(now + self._setup.stopping, lambda: self._gone(life))

    def _kill(self, life: Life, now: float) -> None:
        assert life.slot is not None  # noqa: S101 - it was started
        life.requests += self._fleet.answered(life.slot)
        self._fleet.abort(life.slot, now)
        self._gone(life)

    def _sleep(self, life: Life) -> None:
        """The pod is gone, its process is not."""
        now = self._agenda.now
        assert life.slot is not None  # noqa: S101 - it was started
        self._falling_asleep -= 1
        sleep = Sleep(life.node, now)
        self._sleeps.append(sleep)
        self._sleepers.append(sleep)
        self.on_gone(life)
        self._fleet.remove(life.slot)
        self._end(life, now)

    def _gone(self, life: Life) -> None:
        now = self._agenda.now
        assert life.slot is not None  # noqa: S101 - it was started
        self.on_gone(life)
        self._fleet.remove(life.slot)
        self._nodes.give_back(life.node, self._gpus, now)
        self._end(life, now)

    def _end(self, life: Life, now: float) -> None:
        life.gone = now
        life.is_ready = False
        self._present.remove(life)
        self._changed()

    def _changed(self) -> None:
        self._status = None
        self.on_change()

    # -- snapshots -------------------------------------------------------------------------------

    def _pod_status(self, life: Life) -> PodStatus:
        start = self._setup.start
        changed = life.ready_changed
        return PodStatus(
            name=life.name,
            phase=life.phase,
            ready=life.is_ready,
            terminating=life.deleted is not None,
            started_at=None if life.started is None else start + life.started,
            ready_changed_at=None if changed is None else start + changed,
        )

    def _pod(self, life: Life) -> Pod:
        return Pod(
            name=life.name,
            workload=self.workload.name,
            namespace=self.workload.namespace,
            created_at=life.created,
            phase=life.phase,
            ready=life.is_ready,
            port=life.port,
            labels=self.workload.pod_labels,
        )

    def snapshot(self, life: Life) -> Pod:
        """The pod as what scrapes it sees it."""
        return self._pod(life)
