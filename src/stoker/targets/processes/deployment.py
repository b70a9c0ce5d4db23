"""A Deployment whose replicas are processes: how many there shall be, and which one goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from stoker.events import ObjectRef
from stoker.resources.workload import Workload
from stoker.scaling.observation import PodStatus, TargetStatus
from stoker.targets.base import Pod, Traffic
from stoker.targets.processes.naming import pod_name, template_hash
from stoker.targets.processes.node import Node
from stoker.targets.processes.process import Process
from stoker.targets.processes.records import PodRecord
from stoker.targets.processes.replica import Replica


def victims(pods: Iterable[Pod], number: int, traffic: Traffic) -> tuple[Pod, ...]:
    """The *number* pods to stop: pending, then not ready, then least busy, then youngest.

    A ReplicaSet has the same order but for "least busy", which it cannot know.
    """

    def rank(pod: Pod) -> tuple[int, int, float]:
        if pod.phase == "Pending":
            return 0, 0, -pod.created_at
        return (2 if pod.ready else 1), traffic.in_flight(pod.name), -pod.created_at

    return tuple(sorted(pods, key=rank)[: max(number, 0)])


class Deployment:
    """The replicas of one workload. A ScaleTarget."""

    def __init__(self, node: Node, workload: Workload) -> None:
        self.workload = workload
        self.name = workload.name
        self.namespace = workload.namespace
        self.template = template_hash(workload, node.machine.engine)
        self.replica_set = f"{workload.name}-{self.template}"
        self._node = node
        self._machine = node.machine
        self._desired = 0
        self._replicas: list[Replica] = []
        self._listeners: list[Callable[[], None]] = []
        self._stopping = False
        self._ref = ObjectRef("Deployment", self.name, self.namespace)
        node.register(self)

    @property
    def replicas(self) -> int:
        """How many were last asked for."""
        return self._desired

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* after every change of a pod, at once and on the event loop."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Adopt what an earlier run left, and bring the number of replicas to what is wanted.

        That is what was last asked for, unless the file now says another number than it did then;
        1 where nothing was ever said, as the API server has it.
        """
        for record, process in self._node.claim(self.namespace, self.name):
            self._adopt(record, process)
        in_file = self.workload.replicas
        kept = self._machine.records.replicas(self.namespace, self.name)
        if kept is not None and kept.in_file == in_file:
            wanted = kept.replicas
        else:
            wanted = 1 if in_file is None else in_file
        self._desired = len(self._staying())
        self._scale(wanted)
        self._keep()

    def status(self) -> TargetStatus:
        """What is now."""
        pods = tuple(_pod_status(replica.pod) for replica in self._replicas)
        return TargetStatus(self._desired, len(self._staying()), pods)

    def pods(self) -> tuple[Pod, ...]:
        """All replicas, the oldest first, terminating ones included."""
        return tuple(replica.pod for replica in self._replicas)

    async def scale(self, replicas: int) -> None:
        """Ask for *replicas*. Those that drain already go; new ones come in their place."""
        if replicas < 0:
            raise ValueError(f"replicas must be 0 or more, not {replicas}")
        if replicas != self._desired and not self._stopping:
            self._scale(replicas)
            self._keep()

    async def stop(self, *, force: bool = False) -> None:
        """Stop all replicas and forget how many there were; *force* kills them at once."""
        self._stopping = True
        self._desired = 0
        replicas = list(self._replicas)
        for replica in replicas:
            if force:
                replica.kill()
            else:
                replica.delete()
        await asyncio.gather(*(replica.gone() for replica in replicas))
        with self._machine.surviving_disk_trouble():
            self._machine.records.remove_replicas(self.namespace, self.name)

    def _scale(self, wanted: int) -> None:
        was, self._desired = self._desired, wanted
        if wanted != was:
            direction = "up" if wanted > was else "down"
            message = f"Scaled {direction} replica set {self.replica_set} from {was} to {wanted}"
            self._event("ScalingReplicaSet", message, self._ref, "deployment-controller")
        staying = self._staying()
        for _ in range(wanted - len(staying)):
            self._create()
        pods = (replica.pod for replica in staying)
        names = {pod.name for pod in victims(pods, len(staying) - wanted, self._machine.traffic)}
        for replica in staying:
            if replica.pod.name in names:
                self._replica_set_event("SuccessfulDelete", f"Deleted pod: {replica.pod.name}")
                replica.delete()

    def _create(self) -> None:
        replica = self._replica(self.template, pod_name(self.name, self.template))
        self._replica_set_event("SuccessfulCreate", f"Created pod: {replica.pod.name}")
        replica.start()
        self._changed()

    def _adopt(self, record: PodRecord, process: Process) -> None:
        replica = self._replica(record.template, record.name)
        replica.adopt(record, process)
        if record.terminating or record.template != self.template:
            replica.delete()

    def _replica(self, template: str, name: str) -> Replica:
        replica = Replica(self._machine, self.workload, template, name, self._changed)
        self._replicas.append(replica)
        return replica

    def _staying(self) -> list[Replica]:
        return [replica for replica in self._replicas if not replica.pod.terminating]

    def _changed(self) -> None:
        self._replicas = [replica for replica in self._replicas if not replica.is_gone]
        for listener in self._listeners:
            listener()

    def _keep(self) -> None:
        with self._machine.surviving_disk_trouble():
            self._machine.records.write_replicas(
                self.namespace, self.name, self._desired, self.workload.replicas
            )

    def _replica_set_event(self, reason: str, message: str) -> None:
        about = ObjectRef("ReplicaSet", self.replica_set, self.namespace)
        self._event(reason, message, about, "replicaset-controller")

    def _event(self, reason: str, message: str, about: ObjectRef, source: str) -> None:
        self._machine.event("Normal", reason, message, about, source)


def _pod_status(pod: Pod) -> PodStatus:
    return PodStatus(
        name=pod.name,
        phase=pod.phase,
        ready=pod.ready,
        terminating=pod.terminating,
        started_at=pod.started_at,
        ready_changed_at=pod.ready_changed_at,
    )
