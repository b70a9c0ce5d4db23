"""The seams of step 6: what a scale target is, what it asks of an engine and of the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stoker.resources.workload import Workload
from stoker.scaling.observation import TargetStatus


@dataclass(frozen=True, slots=True)
class Pod:
    """A snapshot of one replica.

    Times are seconds since the Unix epoch, None while it has not happened.
    """

    name: str
    workload: str  # name of the Deployment
    namespace: str
    created_at: float
    phase: str = "Pending"  # Pending, Running, Succeeded, Failed
    reason: str = ""  # what kubectl shows in STATUS when it is not the phase: CrashLoopBackOff
    message: str = ""
    ready: bool = False
    terminating: bool = False
    restarts: int = 0
    started_at: float | None = None
    ready_at: float | None = None
    last_restart_at: float | None = None
    ready_changed_at: float | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    pid: int | None = None
    gpu_ids: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    log_file: str = ""

    @property
    def url(self) -> str | None:
        """Where the replica listens, None before it has a port."""
        return None if self.port is None else f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Launch:
    """The command line and environment of one replica on this machine."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


class Engine(Protocol):
    """What a model server is: how a workload becomes a command line here."""

    @property
    def name(self) -> str:
        """As written after ``--engine``."""
        ...

    def check(self) -> None:
        """Raise MachineError, with a hint, when replicas cannot run on this machine."""
        ...

    def launch(self, workload: Workload, port: int, gpu_ids: tuple[int, ...]) -> Launch:
        """The command line of a replica of *workload* that listens on 127.0.0.1:*port*."""
        ...


class Traffic(Protocol):
    """What the gateway knows of the requests at a replica."""

    def in_flight(self, pod: str) -> int:
        """Requests that were sent to the pod and are not finished."""
        ...


class ScaleTarget(Protocol):
    """What a decision is applied to."""

    def status(self) -> TargetStatus:
        """What is now."""
        ...

    def pods(self) -> tuple[Pod, ...]:
        """All replicas, the oldest first, terminating ones included."""
        ...

    async def scale(self, replicas: int) -> None:
        """Ask for *replicas*. Returns at once; replicas come and go in their own time."""
        ...
