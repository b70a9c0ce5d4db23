"""What the flags of `stoker up` say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stoker.scaling.settings import ControllerSettings
from stoker.transport.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class OtlpOptions:
    """The OTLP receiver. A port is "auto" (on if a trigger needs it), "off", or a number.

    ``suffixes`` and ``resource_attributes`` are ``add_metric_suffixes`` and
    ``resource_to_telemetry_conversion`` of the collector's Prometheus exporter.
    """

    grpc_port: int | str = "auto"
    http_port: int | str = "auto"
    tls: TlsFiles | None = None
    suffixes: bool = True
    resource_attributes: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """One run. Durations are in seconds; a port of 0 is a free one."""

    state_dir: Path
    host: str = "127.0.0.1"
    gateway_port: int = 8000
    gateway_workers: int = 1  # processes that share the port
    prometheus_port: int = 9090
    namespace: str = "default"
    release: str = "vllm"
    scrape_interval: float | None = None  # None: what each monitor says, 5 s without
    polling_interval: float | None = None  # None: what each file says
    stabilization_window: float | None = None  # for scale-down; None: what each file says
    hold_timeout: float = 600.0
    drain_timeout: float = 300.0
    orphan_timeout: float = 60.0
    activate_on_request: bool = True
    prometheus_url: str | None = None  # None: *.svc addresses are answered by the embedded storage
    wake_on_push: bool = True
    record: Path | None = None  # file for a trace of all requests
    otlp: OtlpOptions = field(default_factory=OtlpOptions)
    settings: ControllerSettings = field(default_factory=ControllerSettings)
