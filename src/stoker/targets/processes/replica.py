"""The life of one replica: what the scheduler and the kubelet do for a pod.

Pending until its GPUs are free; then a process that is probed and, when it ends, started again
after a back-off; at last a graceful stop: out of routing, drained, SIGTERM, SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from stoker.errors import MachineError, StokerError
from stoker.events import ObjectRef
from stoker.resources.workload import Probe, Workload
from stoker.targets.base import Launch, Pod
from stoker.targets.processes.backoff import CrashBackOff
from stoker.targets.processes.health import Health, Kind
from stoker.targets.processes.logs import last_lines
from stoker.targets.processes.machine import Machine
from stoker.targets.processes.prober import exit_words
from stoker.targets.processes.probes import ProbeResult, ProbeTarget
from stoker.targets.processes.process import Process
from stoker.targets.processes.records import PodRecord

_DRAIN_INTERVAL = 0.1  # seconds between two looks at the requests in flight, while draining only
_NOT_STARTED = 128  # the exit code that runc gives a container whose command does not exist


class Replica:
    """One pod. ``pod`` is a snapshot; each change replaces it and then calls *on_change*."""

    def __init__(
        self,
        machine: Machine,
        workload: Workload,
        template: str,
        name: str,
        on_change: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._workload = workload
        self.template = template
        self._on_change = on_change
        self.pod = Pod(
            name=name,
            workload=workload.name,
            namespace=workload.namespace,
            created_at=machine.clock.now(),
            host=machine.host,
            labels={**workload.pod_labels, "pod-template-hash": template},
            log_file=str(machine.logs.current(name)),
        )
        self._process: Process | None = None
        self._process_started_at = 0.0
        self._env: dict[str, str] = {}
        self._was_ready = False  # since the process started
        self._ready_before: tuple[float | None, float | None] | None = None
        self._life: asyncio.Task[None] | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._ref = ObjectRef("Pod", name, workload.namespace)
        machine.living.add(name)

    @property
    def is_gone(self) -> bool:
        """Whether process, record, GPUs and port are given back."""
        return self._gone.is_set()

    # what others do to it

    def start(self) -> None:
        """Begin the life of a new pod."""
        self._begin(self._live())

    def adopt(self, record: PodRecord, process: Process) -> None:
        """Go on with the process of an earlier ``stoker up``. Its readiness is asked anew."""
        self._process = process
        self._process_started_at = record.process_started_at
        self._was_ready = record.ready_at is not None
        self._ready_before = (record.ready_at, record.ready_at)
        self.pod = replace(
            self.pod,
            created_at=record.created_at,
            phase="Running",
            restarts=record.restarts,
            started_at=record.started_at,
            last_restart_at=record.last_restart_at,
            ready_changed_at=self._machine.clock.now(),
            port=record.port,
            pid=record.pid,
            gpu_ids=record.gpu_ids,
        )
        self._begin(self._run_and_restart(process))

    def delete(self) -> None:
        """Stop gracefully: out of routing at once, the rest in its own time."""
        if self.pod.terminating:
            return
        self._update(terminating=True)
        process = self._process
        if process is None:
            self._cancel_life()
        else:
            self._event("Normal", "Killing", f"Stopping container {self._workload.container}")
            self._save(process)
            self._stopper = asyncio.create_task(self._stop(process))

    def kill(self) -> None:
        """Stop at once: no drain, no grace period."""
        self.delete()
        if self._process is not None:
            self._process.kill()

    async def gone(self) -> None:
        """Wait until nothing of it is left."""
        await self._gone.wait()

    # its life

    def _begin(self, life: Any) -> None:
        self._life = asyncio.create_task(life, name=f"pod {self.pod.name}")
        self._life.add_done_callback(self._ended)

    async def _live(self) -> None:
        await self._schedule()
        process = self._start()
        await self._run_and_restart(process)

    async def _run_and_restart(self, process: Process | None) -> None:
        backoff = CrashBackOff()
        while True:
            code = _NOT_STARTED if process is None else await self._run(process)
            if self.pod.terminating:
                return
            finished_at = self._machine.clock.now()
            if process is not None:
                self._exited(code)
            await self._back_off(backoff.delay(finished_at))
            backoff.restarted(finished_at, self._machine.clock.now())
            process = self._start(restart=True)

    async def _schedule(self) -> None:
        machine, wanted = self._machine, self._workload.gpus
        if not machine.gpus.fits(wanted):
            resource = self._workload.gpu_resource
            why = f"0/1 nodes are available: 1 Insufficient {resource}."
            self._event("Warning", "FailedScheduling", why, "default-scheduler")
            if wanted > machine.gpus.count:
                why += f" It wants {wanted}, this machine has {machine.gpus.count} (--gpus)."
            self._update(message=why)
        ids = await machine.gpus.take(wanted)
        self._update(gpu_ids=ids, message="", ready_changed_at=machine.clock.now())
        assigned = f"Successfully assigned {self.pod.namespace}/{self.pod.name} to {machine.name}"
        self._event("Normal", "Scheduled", assigned, "default-scheduler")

    def _start(self, *, restart: bool = False) -> Process | None:
        """Start the process, or tell why not and return None."""
        try:
            port = self._take_port()
            launch = self._machine.engine.launch(self._workload, port, self.pod.gpu_ids)
            self._env = self._environment(launch)
            log_file = self._machine.logs.start_anew(self.pod.name)
            now = self._machine.clock.now()
            self._process_started_at = now
            self._was_ready = False
            self._ready_before = None
            self.pod = replace(
                self.pod,
                started_at=now if self.pod.started_at is None else self.pod.started_at,
                restarts=self.pod.restarts + restart,
                last_restart_at=now if restart else self.pod.last_restart_at,
            )
            process = self._machine.launcher.start(launch.argv, self._env, log_file, self._save)
        except (OSError, StokerError) as error:
            self._cannot_start(error)
            return None
        self._process = process
        container = self._workload.container
        self._event("Normal", "Created", f"Created container: {container}")
        self._event("Normal", "Started", f"Started container {container}")
        self._update(phase="Running", reason="", message="", pid=process.pid)
        return process

    async def _run(self, process: Process) -> int | None:
        """Probe the process until it ends; its exit code."""
        try:
            async with asyncio.TaskGroup() as group:
                health = group.create_task(self._watch_health(process))
                code = await process.wait()
                health.cancel()
        finally:
            process.kill()  # nothing to do unless this was torn down in the middle
            self._process = None
        return code

    async def _watch_health(self, process: Process) -> None:
        health = Health(
            self._workload,
            self._ask,
            self._machine.clock,
            self._process_started_at,
            self._set_ready,
            self._unhealthy,
        )
        kind = await health.watch(started=self._was_ready)
        if not self.pod.terminating:
            container = self._workload.container
            why = f"Container {container} failed {kind.lower()} probe, will be restarted"
            self._event("Normal", "Killing", why)
            await self._end(process)

    async def _back_off(self, delay: float) -> None:
        if delay <= 0:
            return
        where = f"pod {self.pod.name}_{self.pod.namespace}"
        container, why = self._workload.container, self.pod.message
        restarting = f"Back-off restarting failed container {container} in {where}"
        self._event("Warning", "BackOff", f"{restarting}: {why}")
        waiting = f"back-off {_go_duration(delay)} restarting failed container={container}"
        self._update(reason="CrashLoopBackOff", message=f"{waiting}: {why}")
        await self._machine.clock.sleep(delay)

    async def _stop(self, process: Process) -> None:
        await self._drain(process)
        await self._end(process)

    async def _drain(self, process: Process) -> None:
        machine, name = self._machine, self.pod.name
        if machine.drain_timeout <= 0:
            return
        deadline = machine.clock.now() + machine.drain_timeout
        while (left := machine.traffic.in_flight(name)) > 0 and not process.exited:
            if machine.clock.now() >= deadline:
                why = f"{left} requests still ran after {machine.drain_timeout:g} s"
                self._event("Warning", "DrainTimeout", f"Stopping all the same: {why}", "stoker")
                return
            await machine.clock.sleep(_DRAIN_INTERVAL)

    async def _end(self, process: Process) -> None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._workload.termination_grace_period):
                await process.wait()
        process.kill()
        await process.wait()

    def _cancel_life(self) -> None:
        if self._life is not None:
            self._life.cancel()

    def _ended(self, life: asyncio.Task[None]) -> None:
        machine = self._machine
        if self._stopper is not None:
            self._stopper.cancel()
        machine.gpus.release(self.pod.gpu_ids)
        if self.pod.port is not None:
            machine.ports.release(self.pod.port)
        machine.living.discard(self.pod.name)
        with machine.surviving_disk_trouble():
            machine.records.remove(self.pod.name)
            machine.logs.prune(machine.living)
        self._gone.set()
        self._on_change()
        if not life.cancelled() and (error := life.exception()) is not None:
            raise error  # a bug of ours: the event loop's handler tells it

    # what happens to it

    def _exited(self, code: int | None) -> None:
        lines = last_lines(self._machine.logs.current(self.pod.name), 5)
        why = exit_words(code) + (f": {lines[-1]}" if lines else "")
        if not self._was_ready:
            ran = self._machine.clock.now() - self._process_started_at
            notice = MachineError(
                f"{self.pod.name}: the engine ended after {ran:.1f} s, before it was ready: "
                f"{exit_words(code)}",
                hint="\n".join([f"its log is {self.pod.log_file}", *lines]),
            )
            self._machine.tell(notice, f"exit {self._ref.namespace}/{self._workload.name}")
        container = self._workload.container
        self._event("Warning", "Failed", f"Container {container} ended: {why}")
        self._set_not_ready(reason="Completed" if code == 0 else "Error", message=why)

    def _cannot_start(self, error: OSError | StokerError) -> None:
        name = self._workload.name
        if isinstance(error, StokerError):
            self._machine.tell(error, f"start {name}")
        elif isinstance(error, FileNotFoundError | PermissionError):
            hint = "install it, or see --engine for what else can run here"
            self._machine.tell(MachineError(f"{name}: {error}", hint=hint), f"start {name}")
        else:
            self._machine.tell_disk(error)
        why = str(error)
        self._event("Warning", "Failed", f"Error: {why}")
        self._set_not_ready(reason="RunContainerError", message=why)

    def _set_not_ready(self, *, reason: str, message: str) -> None:
        changed = {"ready_changed_at": self._machine.clock.now()} if self.pod.ready else {}
        self._update(
            ready=False, ready_at=None, pid=None, reason=reason, message=message, **changed
        )

    def _set_ready(self, ready: bool) -> None:
        if ready == self.pod.ready:
            self._ready_before = None
            return
        now = self._machine.clock.now()
        ready_at, changed_at = now if ready else None, now
        if ready and self._ready_before is not None and self._ready_before[0] is not None:
            ready_at = changed_at = self._ready_before[0]  # nobody saw it unready in between
        self._ready_before = None
        self._was_ready = self._was_ready or ready
        self._update(ready=ready, ready_at=ready_at, ready_changed_at=changed_at)
        if self._process is not None:
            self._save(self._process)

    def _unhealthy(self, kind: Kind, message: str) -> None:
        if kind == "Readiness":
            self._ready_before = None
        self._event("Warning", "Unhealthy", f"{kind} probe failed: {message}")

    # small things

    async def _ask(self, probe: Probe) -> ProbeResult:
        port = self.pod.port or self._workload.port
        target = ProbeTarget(self.pod.host, port, self._workload.port, self._env or os.environ)
        return await self._machine.prober.probe(probe, target)

    def _take_port(self) -> int:
        """The pod's port; another one if somebody listens there since the process ended."""
        ports, port = self._machine.ports, self.pod.port
        if port is None or not ports.is_free(port):
            if port is not None:
                ports.release(port)
            port = ports.take()
            self.pod = replace(self.pod, port=port)
        return port

    def _environment(self, launch: Launch) -> dict[str, str]:
        """Only the GPUs that were assigned are visible: none to a container that asked for none."""
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **launch.env}
        if self.pod.gpu_ids:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self.pod.gpu_ids))
        return env

    def _save(self, process: Process) -> None:
        """Write the record. A new process may only run once it is on disk: raises OSError then."""
        pod = self.pod
        record = PodRecord(
            name=pod.name,
            deployment=pod.workload,
            namespace=pod.namespace,
            template=self.template,
            container=self._workload.container,
            pid=process.pid,
            identity=process.identity,
            port=pod.port or self._workload.port,
            gpu_ids=pod.gpu_ids,
            created_at=pod.created_at,
            started_at=pod.started_at or pod.created_at,
            process_started_at=self._process_started_at,
            ready_at=pod.ready_at,
            restarts=pod.restarts,
            last_restart_at=pod.last_restart_at,
            grace_period=self._workload.termination_grace_period,
            terminating=pod.terminating,
            log_file=pod.log_file,
        )
        if self._process is None:
            self._machine.records.write(record)
            return
        with self._machine.surviving_disk_trouble():
            self._machine.records.write(record)

    def _update(self, **changes: Any) -> None:
        self.pod = replace(self.pod, **changes)
        self._on_change()

    def _event(
        self,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        source: str = "kubelet",
    ) -> None:
        self._machine.event(type_, reason, message, self._ref, source)


def _go_duration(seconds: float) -> str:
    """``10s``, ``2m40s``: as Go prints a duration."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
