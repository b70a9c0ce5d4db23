"""The work of `stoker scaler`: from flags to a server, until a signal."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, Final

import uvloop

from stoker.cli.params import tls_files
from stoker.clock import LoopClock
from stoker.errors import InputErrors, MachineError
from stoker.resources import Bundle, inspect
from stoker.stack.external_scaler import samplers_of
from stoker.triggers.connections import Pool

_METRICS_PORT: Final = 9092


def run_scaler(flags: dict[str, Any]) -> None:
    """Serve until a signal. Raises StokerError before it listens, if it cannot."""
    reading = inspect(flags["files"], release=flags["release"], namespace=flags["namespace"])
    errors = [*reading.unreadable, *reading.refused]
    if errors:
        raise InputErrors(errors)
    uvloop.run(_serve(reading.bundle, flags))


async def _serve(bundle: Bundle, flags: dict[str, Any]) -> None:
    try:
        from stoker.scaler.server import ScalerOptions, ScalerServer  # noqa: PLC0415 - an extra
        from stoker.scaler.service import ScalerService  # noqa: PLC0415
    except ImportError as error:
        raise MachineError("gRPC is not installed", hint="pip install 'stoker[grpc]'") from error
    port = flags["metrics_port"]
    options = ScalerOptions(
        host=flags["host"],
        port=flags["port"],
        metrics_port={"off": None, "auto": _METRICS_PORT}.get(port, port),
        interval=flags["interval"],
        max_age=flags["max_age"],
        grace=flags["grace"],
        tls=tls_files(flags),
    )
    clock, pool = LoopClock(), Pool()
    samplers = samplers_of(
        bundle, timeout=flags["keda_http_timeout"], max_age=options.max_age, pool=pool
    )
    server = ScalerServer(ScalerService(samplers, clock), options, clock)
    await server.start()
    _tell(server)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    failed = asyncio.create_task(server.failed())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({failed, waiting}, return_when=asyncio.FIRST_COMPLETED)
    broken = failed.done()
    failed.cancel()
    waiting.cancel()
    await server.stop()
    await pool.close()
    if broken:
        await failed  # raises what broke


def _tell(server: Any) -> None:
    """What is served, and what to write into KEDA's ScaledObject."""
    options = server.options
    scheme = "" if options.tls is None else " (mTLS)" if options.tls.client_ca else " (TLS)"
    print(f"scaler      {options.host}:{server.port}{scheme}")
    if server.metrics_port is not None:
        print(f"metrics     http://{options.host}:{server.metrics_port}/metrics")
    for sampler in server.service.samplers.values():
        for metric in sampler.metrics:
            print(
                f"serves      scaledObject: {sampler.name}, trigger: {metric.key} "
                f"-> {metric.name}, target {metric.target:g}"
            )
    print("Ctrl-C stops.", flush=True)
