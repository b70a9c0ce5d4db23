"""The work of `stoker gateway`: from flags to processes, until a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from stoker.clock import wall_time
from stoker.errors import InputError
from stoker.gateway import COMPILED
from stoker.gateway.alone import StandaloneGateway
from stoker.gateway.keys import read_keys
from stoker.gateway.listen import tls_context
from stoker.gateway.settings import Limits
from stoker.gateway.wire import WorkerConfig


def run_gateway(flags: dict[str, Any]) -> None:
    """Serve until a signal. Raises StokerError before it listens, if it cannot."""
    if flags["tls_key"] and not flags["tls_cert"]:
        raise InputError("`--tls-key` needs `--tls-cert`")
    if flags["api_keys"]:
        read_keys(flags["api_keys"])
    if flags["tls_cert"]:
        tls_context(Path(flags["tls_cert"]), _path(flags["tls_key"]))
    uvloop.run(_serve(flags))


async def _serve(flags: dict[str, Any]) -> None:
    standalone = StandaloneGateway(
        flags["endpoints"],
        flags["state_dir"] or _state_dir(flags["host"], flags["port"]),
        _config(flags),
        host=flags["host"],
        port=flags["port"],
        health_interval=flags["health_interval"],
        tell=_tell,
    )
    await standalone.start()
    _tell_start(standalone, flags)
    stop, force = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (force if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    running = asyncio.create_task(standalone.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    broken = running.done()
    running.cancel()
    stopped.cancel()
    if not broken:
        _tell("stopping; a second Ctrl-C does not wait for requests")
    ending = asyncio.create_task(standalone.stop(0.0 if broken else flags["drain_timeout"]))
    forced = asyncio.create_task(force.wait())
    await asyncio.wait({ending, forced}, return_when=asyncio.FIRST_COMPLETED)
    forced.cancel()
    if not ending.done():
        ending.cancel()
        await asyncio.wait({ending})
        await standalone.stop(0.0)
    if broken:
        await running  # raises what broke


def _config(flags: dict[str, Any]) -> WorkerConfig:
    def absolute(name: str) -> str | None:
        return str(Path(flags[name]).absolute()) if flags[name] else None

    return WorkerConfig(
        limits=Limits(
            heartbeat=flags["heartbeat"], heartbeat_chunks=flags["heartbeat_form"] == "chunk"
        ),
        workers=flags["workers"],
        keys=absolute("api_keys"),
        access_log=absolute("access_log"),
        record=absolute("record"),
        session_header=flags["session_header"],
        prefix_affinity=flags["affinity"] == "prefix",
        certificate=absolute("tls_cert"),
        certificate_key=absolute("tls_key"),
        orphan_timeout=flags["orphan_timeout"],
        created=wall_time(),
    )


def _state_dir(host: str, port: int) -> Path:
    """The same for the same address, so that the next one finds the processes of a killed one."""
    own = f"{os.getpid()}" if port == 0 and not host.startswith("unix:") else f"{host}-{port}"
    name = own.replace("/", "_").replace(":", "_")
    return Path(tempfile.gettempdir()) / f"stoker-{os.getuid()}" / f"gateway-{name}"


def _path(text: Any) -> Path | None:
    return None if text is None else Path(text)


def _tell_start(standalone: StandaloneGateway, flags: dict[str, Any]) -> None:
    host = flags["host"]
    if host.startswith("unix:"):
        print(f"gateway     {host}")
    else:
        scheme = "https" if flags["tls_cert"] else "http"
        shown = f"[{host}]" if ":" in host else host
        print(f"gateway     {scheme}://{shown}:{standalone.fleet.port}/v1")
    print(f"data plane  {'compiled' if COMPILED else 'Python'}")
    for settings in standalone.served.models:
        names = ", ".join((settings.name, *settings.aliases))
        endpoints = standalone.served.endpoints[settings.name]
        print(f"model       {names}: {', '.join(e.url for e in endpoints) or 'no endpoint yet'}")
    sys.stdout.flush()


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
