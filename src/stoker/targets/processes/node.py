"""This machine as a cluster of one node, for the time of one ``stoker up``."""

from __future__ import annotations

import asyncio
import errno
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

from stoker.clock import Clock
from stoker.errors import MachineError, NotFoundError, StokerError
from stoker.events import EventLog
from stoker.resources.workload import Workload
from stoker.targets.base import Engine, Traffic
from stoker.targets.processes.gpus import GpuPool
from stoker.targets.processes.guard import Guard
from stoker.targets.processes.lock import StateLock
from stoker.targets.processes.logs import LogFolder, read_log
from stoker.targets.processes.machine import Machine, port_pool
from stoker.targets.processes.prober import LocalProber
from stoker.targets.processes.probes import Prober
from stoker.targets.processes.process import Launcher, LocalLauncher, Process
from stoker.targets.processes.records import PodRecord, RecordStore
from stoker.targets.processes.replica import Replica

_HOUSEKEEPING_INTERVAL = 30.0
_LITTLE_SPACE = 10_000_000  # bytes left on the disk; less is told before the engines find out


class _Stoppable(Protocol):
    async def stop(self, *, force: bool = False) -> None: ...


class Node:
    """GPUs, ports, records and logs of one state directory, and the watchdog over its replicas.

    The order is: ``start``, a Deployment for each workload and its ``start``, ``end_unclaimed``,
    and at the end ``stop``.
    """

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        state_dir: Path,
        gpus: int,
        clock: Clock,
        events: EventLog,
        engine: Engine,
        traffic: Traffic,
        *,
        namespace: str,
        drain_timeout: float = 300.0,
        orphan_timeout: float = 60.0,
        host: str = "127.0.0.1",
        launcher: Launcher | None = None,
        prober: Prober | None = None,
    ) -> None:
        state_dir = Path(state_dir).absolute()
        self.namespace = namespace
        self.machine = Machine(
            state_dir=state_dir,
            clock=clock,
            events=events,
            engine=engine,
            traffic=traffic,
            launcher=launcher or LocalLauncher(),
            prober=prober or LocalProber(),
            gpus=GpuPool(gpus),
            ports=port_pool(host, state_dir),
            host=host,
            drain_timeout=drain_timeout,
            records=RecordStore(state_dir),
            logs=LogFolder(state_dir),
        )
        run = uuid.uuid4().hex
        self._lock = StateLock(state_dir, run)
        self._guard = Guard(state_dir, run, orphan_timeout, clock)
        self._deployments: list[_Stoppable] = []
        self._found: list[tuple[PodRecord, Process]] = []
        self._leftovers: list[Replica] = []
        self._housekeeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The host name."""
        return self.machine.name

    @property
    def watchdog_pid(self) -> int | None:
        """The pid of the watchdog while the node runs."""
        return self._guard.pid

    def on_notice(self, listener: Callable[[StokerError], None]) -> None:
        """Call *listener* with what a user must be told, with its hint, once for each trouble."""
        self.machine.notice_listeners.append(listener)

    async def start(self) -> None:
        """Lock the state directory and find the replicas of an earlier run.

        Raises ConflictError when another ``stoker up`` has the directory, MachineError when it
        cannot be written.
        """
        machine = self.machine
        try:
            machine.state_dir.mkdir(parents=True, exist_ok=True)
            await self._lock.acquire(machine.clock)
            machine.records.prepare()
            machine.logs.prepare()
            self._guard.start()
        except OSError as error:
            self._lock.release()
            raise MachineError(
                f"cannot use the state directory {machine.state_dir}: {error.strerror or error}",
                hint="use another --state-dir, on a disk with space that you may write to",
            ) from error
        self._find_replicas()
        self._housekeeping = asyncio.create_task(self._keep_house(), name="housekeeping")

    def register(self, deployment: _Stoppable) -> None:
        """Stop *deployment* when the node stops."""
        self._deployments.append(deployment)

    def claim(self, namespace: str, deployment: str) -> list[tuple[PodRecord, Process]]:
        """The living replicas of an earlier run that belong to a Deployment."""
        mine = [
            item
            for item in self._found
            if (item[0].namespace, item[0].deployment) == (namespace, deployment)
        ]
        self._found = [item for item in self._found if item not in mine]
        return mine

    def end_unclaimed(self) -> None:
        """Stop, gracefully, what is left of an earlier run and in none of the files of this one."""
        for record, process in self._found:
            workload = Workload(
                name=record.deployment,
                namespace=record.namespace,
                model="",
                command=(),
                container=record.container,
                termination_grace_period=record.grace_period,
            )
            replica = Replica(self.machine, workload, record.template, record.name, lambda: None)
            replica.adopt(record, process)
            replica.delete()
            self._leftovers.append(replica)
        self._found = []

    async def stop(self, *, force: bool = False) -> None:
        """Stop all replicas, then the watchdog; *force* kills them, also during a graceful stop."""
        self.end_unclaimed()
        if force:
            for replica in self._leftovers:
                replica.kill()
        async with asyncio.TaskGroup() as group:
            for deployment in self._deployments:
                group.create_task(deployment.stop(force=force))
            for replica in self._leftovers:
                group.create_task(replica.gone())
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait({self._housekeeping})
        await self._guard.stop()
        await self.machine.prober.close()
        self._lock.release()

    def logs(
        self, pod: str, *, follow: bool = False, tail: int | None = None, previous: bool = False
    ) -> AsyncIterator[bytes]:
        """What *pod* wrote; *previous*: before its last restart. Raises NotFoundError.

        Following ends when the pod is gone.
        """
        machine = self.machine
        path = machine.logs.previous(pod) if previous else machine.logs.current(pod)
        alive = pod in machine.living
        if previous and alive and not path.exists():
            raise NotFoundError(f'previous terminated container in pod "{pod}" not found')
        if "/" in pod or (not alive and not path.exists()):
            raise NotFoundError(f'pods "{pod}" not found')
        going_on = (lambda: pod in machine.living) if follow and not previous else None
        return read_log(path, tail=tail, follow=going_on, clock=machine.clock)

    def _find_replicas(self) -> None:
        """Take note of what still runs, before anyone asks for GPUs or ports."""
        machine = self.machine
        records, broken = machine.records.read()
        for path in broken:
            notice = MachineError(
                f"{path} is not a record of a replica and was removed",
                hint="if a replica still runs from before, `ps` shows it",
            )
            machine.tell(notice, str(path))
            path.unlink(missing_ok=True)
        for record in records:
            process = machine.launcher.find(record.pid, record.identity)
            if process is None:
                machine.records.remove(record.name)
                continue
            machine.gpus.reserve(record.gpu_ids)
            machine.ports.reserve(record.port)
            self._found.append((record, process))

    async def _keep_house(self) -> None:
        """Limit the logs and look at the space that is left."""
        machine = self.machine
        while True:
            await machine.clock.sleep(_HOUSEKEEPING_INTERVAL)
            with machine.surviving_disk_trouble():
                await asyncio.to_thread(machine.logs.limit)
            with machine.surviving_disk_trouble():
                if shutil.disk_usage(machine.state_dir).free < _LITTLE_SPACE:
                    raise OSError(errno.ENOSPC, "almost no space left on the disk")
                machine.disk_is_well()
