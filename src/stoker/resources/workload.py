"""What runs: the pod template of a model server, from whatever the user wrote.

This is the part of a Deployment that a machine without Kubernetes can honour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stoker.metrics.monitors import PodPort

_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Probe:
    """``httpGet``, ``tcpSocket`` or ``exec`` with Kubernetes' defaults. Durations in seconds."""

    path: str | None = "/health"  # httpGet; None for another handler
    port: int | None = None  # None: the container's port
    tcp: bool = False
    command: tuple[str, ...] | None = None
    scheme: str = "HTTP"
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """One model server: how it is started, what it needs, how its health is asked.

    ``command`` is the full command line as the cluster would run it, the container's port in it.
    ``replicas`` is None where an autoscaler owns the number.
    """

    name: str  # of the Deployment
    namespace: str
    model: str  # the name that requests carry in `model`
    command: tuple[str, ...]
    port: int = 8000
    replicas: int | None = 1
    container: str = "vllm"
    image: str = ""
    # with values of Secrets, which no repr may show
    env: Mapping[str, str] = field(default_factory=lambda: _EMPTY, repr=False)
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    pod_labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    pod_annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    ports: tuple[PodPort, ...] = ()  # that the containers of the pod declare
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    requests: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    limits: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    termination_grace_period: float = 30.0
    aliases: tuple[str, ...] = ()  # further names that requests may carry in `model`
    origin: str = ""  # file:line of what it was made from
