"""What control process and gateway processes say to each other: lines of JSON on a Unix socket.

The first line of each side is ``hello`` with the version. Of different versions the gateway process
finishes what it has and goes, and the control process starts one of its own.

=====================  ========================================================================
control to gateway
=====================  ========================================================================
``hello``              ``version``, ``config``: `WorkerConfig`
``models``             ``models``: a list of `ModelSettings`
``endpoints``          ``model``, ``endpoints``: a list of `EndpointSpec`, ``seq``
``remove``             ``model``, ``name``: the replica is gone, whatever it had
``health``             ``model``, ``name``, ``healthy``
``failed``             ``model``, ``why``: there will be no replica
``dump``               ``id``: asks for a ``dump``
``page``               ``id``, ``text``: the metrics page that was asked for
``stop``               ``grace``
=====================  ========================================================================

=====================  ========================================================================
gateway to control
=====================  ========================================================================
``hello``              ``version``, ``pid``, ``address``, ``number`` of its row, ``table``: the
                       file descriptor of the memory that the processes share
``held``               ``model``: a request waits and there is no replica; at once
``depths``             see `stoker.gateway.report.depths`, and ``seq``; within 10 ms of a change
``dump``               see `stoker.gateway.report.dump`; twice a second and when asked (``id``)
``page``               ``id``: asks for the metrics page of all processes
``records``            ``rows``: a list of `stoker.gateway.recorder.Row`, ``until``: those of
                       requests that came before are all sent; twice a second with a record
=====================  ========================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.settings import Limits

VERSION = 3
_MAX_LINE = 1 << 24
_MAX_PATH = 100  # bytes; the kernel's limit for a Unix socket is 108

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a gateway process is started with.

    Attributes:
        limits: For all models.
        workers: How many processes share the port.
        keys: File of API keys; None: everybody may send.
        access_log: File; None: none is kept.
        record: File for a trace of all requests; None: none is kept.
        record_salt: For the names of API keys in it, hexadecimal.
        session_header: Requests that share its value share a replica.
        prefix_affinity: Requests whose prompts begin alike share a replica.
        certificate: PEM file; None: no TLS.
        certificate_key: PEM file; None: in the same file.
        orphan_timeout: Seconds that it goes on without a control process.
        health_interval: Seconds between health checks of its replicas; 0: somebody else does that.
        created: When the gateway was started, seconds since the epoch.
    """

    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    keys: str | None = None
    access_log: str | None = None
    record: str | None = None
    record_salt: str = ""
    session_header: str = "x-session-id"
    prefix_affinity: bool = False
    certificate: str | None = None
    certificate_key: str | None = None
    orphan_timeout: float = 60.0
    created: float = 0.0

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> WorkerConfig:
        """From JSON."""
        return cls(**{**message, "limits": Limits(**message["limits"])})


def line(op: str, **fields: Any) -> bytes:
    """A message."""
    encoded: bytes = orjson.dumps({"op": op, **fields}, option=orjson.OPT_APPEND_NEWLINE)
    return encoded


def config_fields(config: WorkerConfig) -> dict[str, Any]:
    """For JSON."""
    return asdict(config)


def models_line(models: list[ModelSettings]) -> bytes:
    """The ``models`` message."""
    return line("models", models=[asdict(settings) for settings in models])


def endpoints_line(model: str, endpoints: list[EndpointSpec], seq: int) -> bytes:
    """The ``endpoints`` message."""
    return line("endpoints", model=model, endpoints=[asdict(e) for e in endpoints], seq=seq)


def read_models(message: Message) -> list[ModelSettings]:
    """What a ``models`` message says."""
    return [
        ModelSettings(**{**settings, "aliases": tuple(settings["aliases"])})
        for settings in message["models"]
    ]


def read_endpoints(message: Message) -> list[EndpointSpec]:
    """What an ``endpoints`` message says."""
    return [EndpointSpec(**spec) for spec in message["endpoints"]]


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message, None at the end.

    Raises:
        ValueError: this is none.
    """
    try:
        text = await reader.readline()
    except (ConnectionError, asyncio.LimitOverrunError):
        return None
    if not text.endswith(b"\n"):
        return None
    message = orjson.loads(text)
    if not isinstance(message, dict) or "op" not in message:
        raise ValueError("not a message")
    return message


def stream_limit() -> int:
    """How long a message may be."""
    return _MAX_LINE


def socket_path(state_dir: Path) -> Path:
    """Where control process and gateway processes of *state_dir* meet.

    In the directory itself unless its name is too long for a socket.
    """
    path = state_dir.absolute() / "gateway.sock"
    if len(os.fsencode(path)) <= _MAX_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"stoker-{os.getuid()}" / f"{digest}.sock"
