"""The work of `stoker up`: from flags to a running stack, told line by line."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from stoker.api.discovery import default_state_dir
from stoker.checks import check
from stoker.cli.narration import JsonNarrator, Narrator, TextNarrator
from stoker.clock import LoopClock
from stoker.engines import SimulatedEngine, choose, detect_gpus
from stoker.resources import Bundle, load
from stoker.scaling.settings import ControllerSettings
from stoker.simulator.profiles import DEFAULT_PROFILE
from stoker.stack.options import Options
from stoker.stack.stack import Stack
from stoker.targets.base import Engine

SIMULATED_GPUS = 8  # a machine that pretends to have GPUs pretends to be a usual server


def run_up(flags: dict[str, Any]) -> None:
    """Run until a signal. Raises StokerError before anything is started, if it cannot start."""
    bundle = load(flags["files"], release=flags["release"], namespace=flags["namespace"])
    engine = engine_of(flags)
    options = options_of(flags)
    gpus = flags["gpus"]
    if gpus is None:
        gpus = detect_gpus() if engine.name == "vllm" else SIMULATED_GPUS
    narrator: Narrator = JsonNarrator() if flags["output"] == "json" else TextNarrator()
    narrator.findings(check(bundle))
    uvloop.run(_run(bundle, engine, gpus, options, narrator))


def engine_of(flags: dict[str, Any]) -> Engine:
    """The engine that the flags choose."""
    simulated = SimulatedEngine(
        profile=flags["profile"] or DEFAULT_PROFILE,
        startup=flags["startup"],
        max_num_seqs=flags["max_num_seqs"],
    )
    return choose(flags["engine"], simulated=simulated)


def options_of(flags: dict[str, Any]) -> Options:
    """The flags as options."""
    return Options(
        state_dir=Path(flags["state_dir"] or default_state_dir()),
        settings=ControllerSettings(
            sync_period=flags["sync_period"],
            tolerance=flags["tolerance"],
            downscale_stabilization=flags["downscale_stabilization"],
            kubernetes_version=flags["kubernetes_version"],
        ),
        **{
            name: flags[name]
            for name in (
                "host", "gateway_port", "prometheus_port", "namespace", "release",
                "scrape_interval", "polling_interval", "hold_timeout", "drain_timeout",
                "orphan_timeout", "activate_on_request", "prometheus_url",
            )
        },
    )  # fmt: skip


async def _run(
    bundle: Bundle, engine: Engine, gpus: int, options: Options, narrator: Narrator
) -> None:
    """Start, wait for a signal or for what must not happen, stop."""
    stack = Stack(bundle, engine, gpus, options, LoopClock())
    stop = asyncio.Event()
    force = asyncio.Event()

    def signalled() -> None:
        (force if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    stack.events.watch(narrator.event)
    stack.node.on_notice(narrator.notice)
    stack.on_tick.append(narrator.tick)
    await stack.start()
    narrator.started(stack)
    failed = asyncio.create_task(stack.failed())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    narrator.stopping(stack)
    await _stop(stack, force)
    if failed.done() and not failed.cancelled():
        await failed  # raises what broke
    failed.cancel()


async def _stop(stack: Stack, force: asyncio.Event) -> None:
    """Stop gracefully, or at once when a second signal comes."""
    graceful = asyncio.create_task(stack.stop())
    forced = asyncio.create_task(force.wait())
    await asyncio.wait({graceful, forced}, return_when=asyncio.FIRST_COMPLETED)
    if not graceful.done():
        print("Forced: replicas are killed", file=sys.stderr)
        graceful.cancel()
        await asyncio.gather(graceful, return_exceptions=True)
        await stack.stop(force=True)
    else:
        await graceful
    forced.cancel()
