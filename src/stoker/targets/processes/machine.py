"""What the replicas of this machine share: its GPUs, ports and disk, and whom to tell."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stoker.clock import Clock
from stoker.errors import MachineError, StokerError
from stoker.events import EventLog, ObjectRef
from stoker.targets.base import Engine, Traffic
from stoker.targets.processes.gpus import GpuPool
from stoker.targets.processes.logs import LogFolder
from stoker.targets.processes.ports import PortPool
from stoker.targets.processes.probes import Prober
from stoker.targets.processes.process import Launcher
from stoker.targets.processes.records import RecordStore, is_full


@dataclass(slots=True)
class Machine:
    """The seams and pools that a replica needs. ``drain_timeout`` in seconds."""

    state_dir: Path
    clock: Clock
    events: EventLog
    engine: Engine
    traffic: Traffic
    launcher: Launcher
    prober: Prober
    gpus: GpuPool
    ports: PortPool
    host: str
    drain_timeout: float
    records: RecordStore
    logs: LogFolder
    name: str = "localhost"  # of the node, as in `kubectl get pods -o wide`
    living: set[str] = field(default_factory=set)  # names of pods, terminating ones included
    notice_listeners: list[Callable[[StokerError], None]] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def event(
        self,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        about: ObjectRef,
        source: str = "kubelet",
    ) -> None:
        """Record an event now."""
        self.events.record(type_, reason, message, about, source, self.clock.now())

    def tell(self, notice: StokerError, once: str) -> None:
        """Tell the user what went wrong and what to do, the first time for each *once*."""
        if once not in self._told:
            self._told.add(once)
            for listener in self.notice_listeners:
                listener(notice)

    def tell_disk(self, error: OSError) -> None:
        """Say that logs or records cannot be written: an event and a notice, once until it can."""
        if "disk" in self._told:
            return
        message = f"cannot write below {self.state_dir}: {error.strerror or error}"
        about = ObjectRef("Node", self.name, "")
        self.event(
            "Warning", "NodeHasDiskPressure" if is_full(error) else "DiskError", message, about
        )
        hint = "free some space, or use a --state-dir on another disk"
        self.tell(MachineError(message, hint=hint if is_full(error) else None), "disk")

    def disk_is_well(self) -> None:
        """There is space again: the next trouble is told anew."""
        self._told.discard("disk")

    @contextlib.contextmanager
    def surviving_disk_trouble(self) -> Iterator[None]:
        """Write something that replicas can do without; a full disk is told and no more."""
        try:
            yield
        except OSError as error:
            self.tell_disk(error)


def port_pool(host: str, state_dir: Path) -> PortPool:
    """Ports that begin elsewhere for each state directory: two stacks rarely meet."""
    return PortPool(host, zlib.crc32(str(state_dir).encode()))
