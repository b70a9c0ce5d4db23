"""What local replicas use of cpu and memory: the part of metrics-server on this machine.

cpu is the time that a replica's processes spent since an earlier look, as metrics-server takes it
from two scrapes; so the first look at a replica tells nothing, and neither does one after a restart
of its process. Memory is what belongs to the processes, shared pages divided among their users.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stoker.errors import InputError, NotFoundError
from stoker.resources.quantity import milli_value, parse_quantity
from stoker.scaling.observation import PodUsage, ResourceUsage
from stoker.targets.base import Pod

if TYPE_CHECKING:
    import psutil

_SHORTEST_WINDOW = 5.0  # seconds; the kernel counts in hundredths: an error of 0.2 % of a core
_MEMORY_WINDOW = 0.0  # memory is of a moment


class ProcessMeter(Protocol):
    """What the kernel knows of a process and of those below it."""

    def cpu_seconds(self, pid: int) -> float | None:
        """Time on a cpu so far; None: there is no such process."""
        ...

    def memory_bytes(self, pid: int) -> int | None:
        """Memory now; None: there is no such process."""
        ...


class PsutilMeter:
    """Asks the kernel, through psutil."""

    def cpu_seconds(self, pid: int) -> float | None:
        """User and system time; of ended children what their parents have been told."""
        import psutil  # noqa: PLC0415 - not needed before a trigger asks

        total: float | None = None
        for process in _tree(pid):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                spent = times.user + times.system
                spent += getattr(times, "children_user", 0.0)
                spent += getattr(times, "children_system", 0.0)
                total = spent if total is None else total + spent
        return total

    def memory_bytes(self, pid: int) -> int | None:
        """Proportional set size where the kernel has it, else resident set size."""
        import psutil  # noqa: PLC0415

        total: int | None = None
        for process in _tree(pid):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                full = process.memory_full_info()
                used = int(getattr(full, "pss", 0) or full.rss)
                total = used if total is None else total + used
        return total


def _tree(pid: int) -> list[psutil.Process]:
    import psutil  # noqa: PLC0415

    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


@dataclass(frozen=True, slots=True)
class _Look:
    """Time on the cpu that had been spent at a moment."""

    pid: int
    at: float
    cpu_seconds: float


class LocalUsage:
    """Answers cpu and memory triggers of one workload; a ``UsageFunction`` for TriggerContext."""

    def __init__(
        self,
        pods: Callable[[], Iterable[Pod]],
        requests: Mapping[str, str],
        container: str,
        meter: ProcessMeter | None = None,
    ) -> None:
        self._pods = pods
        self._container = container
        self._meter = meter or PsutilMeter()
        self._looks: dict[str, _Look] = {}
        self._rates: dict[str, PodUsage] = {}
        self._requests = {
            resource: milli_value(parse_quantity(text)) for resource, text in requests.items()
        }

    def __call__(self, resource: str, container: str, now: float) -> ResourceUsage:
        """What the workload's pods use of *resource* at *now*.

        Raises:
            StokerError: no such container, or a resource that is neither cpu nor memory.
        """
        pods = tuple(self._pods())
        if container and container != self._container:
            first = pods[0].name if pods else "none"
            raise NotFoundError(
                f"container {container} not present in metrics for pod {first}",
                hint=f"the container is called {self._container}",
            )
        if resource == "cpu":
            usages = self._cpu(pods, now)
        elif resource == "memory":
            usages = self._memory(pods, now)
        else:
            raise InputError(f"no usage of {resource}: only of cpu and memory")
        requested = self._requests.get(resource)
        requests = () if requested is None else tuple((pod.name, requested) for pod in pods)
        return ResourceUsage(resource, now, container, usages, requests)

    def _cpu(self, pods: tuple[Pod, ...], now: float) -> tuple[PodUsage, ...]:
        for pod in pods:
            self._look(pod, now)
        names = {pod.name for pod in pods}
        self._looks = {name: look for name, look in self._looks.items() if name in names}
        self._rates = {name: rate for name, rate in self._rates.items() if name in names}
        return tuple(self._rates[pod.name] for pod in pods if pod.name in self._rates)

    def _look(self, pod: Pod, now: float) -> None:
        earlier = self._looks.get(pod.name)
        if earlier is not None and earlier.pid == pod.pid and now - earlier.at < _SHORTEST_WINDOW:
            return  # the rate of the last look is still the best there is
        spent = None if pod.pid is None else self._meter.cpu_seconds(pod.pid)
        if pod.pid is None or spent is None:
            self._looks.pop(pod.name, None)
            self._rates.pop(pod.name, None)
            return
        self._looks[pod.name] = _Look(pod.pid, now, spent)
        if earlier is None or earlier.pid != pod.pid:
            self._rates.pop(pod.name, None)
            return
        window = now - earlier.at
        # an ended child takes its time along until its parent has waited for it
        milli = max(0, round((spent - earlier.cpu_seconds) / window * 1000))
        self._rates[pod.name] = PodUsage(pod.name, milli, now, window)

    def _memory(self, pods: tuple[Pod, ...], now: float) -> tuple[PodUsage, ...]:
        usages = []
        for pod in pods:
            used = None if pod.pid is None else self._meter.memory_bytes(pod.pid)
            if used is not None:
                usages.append(PodUsage(pod.name, used * 1000, now, _MEMORY_WINDOW))
        return tuple(usages)
