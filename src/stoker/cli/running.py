"""The work of `stoker up`: from flags to a running stack, told line by line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from stoker.api.discovery import default_state_dir
from stoker.checks import check
from stoker.cli.controllers import settings_of
from stoker.cli.narration import JsonNarrator, Narrator, TextNarrator
from stoker.cli.params import tls_files
from stoker.clock import LoopClock
from stoker.engines import SimulatedEngine, choose, detect_gpus
from stoker.errors import InputError, InputErrors, StokerError
from stoker.resources import Bundle, load
from stoker.resources.translation import UNKNOWN_FIELD
from stoker.simulator.profiles import DEFAULT_PROFILE
from stoker.stack.autoscaling import check_triggers
from stoker.stack.backend import publish
from stoker.stack.memory import calm_collector
from stoker.stack.options import Options, OtlpOptions
from stoker.stack.stack import Stack
from stoker.targets.base import Engine

SIMULATED_GPUS = 8  # a machine that pretends to have GPUs pretends to be a usual server


def run_up(flags: dict[str, Any]) -> None:
    """Run until a signal. Raises StokerError before anything is started, if it cannot start."""
    bundle = load(
        flags["files"],
        release=flags["release"],
        namespace=flags["namespace"],
        stdin=sys.stdin,
        as_kserve=flags["compat"] == "kserve",
        kubernetes_version=flags["kubernetes_version"],
    )
    if flags["validate"] == "strict":
        refuse_unknown_fields(bundle)
    check_triggers(bundle)
    engine = engine_of(flags)
    options = options_of(flags)
    gpus = flags["gpus"]
    if gpus is None:
        gpus = detect_gpus() if engine.name == "vllm" else SIMULATED_GPUS
    narrator: Narrator = JsonNarrator() if flags["output"] == "json" else TextNarrator()
    findings = check(bundle)
    if flags["validate"] == "ignore":
        findings = tuple(one for one in findings if one.code != UNKNOWN_FIELD)
    narrator.findings(findings)
    run = _run(
        lambda: Stack(bundle, engine, gpus, options, LoopClock()),
        narrator,
        until_stdin_closes=flags["until_stdin_closes"],
    )
    uvloop.run(run)


def refuse_unknown_fields(bundle: Bundle) -> None:
    """A field that nobody reads is most often a name that was misspelt.

    Raises:
        InputErrors: there are some; all are told.
    """
    errors = [
        InputError(
            one.message, hint=f"{one.fix}; --validate=warn runs it all the same", place=one.place
        )
        for one in bundle.ignored
        if one.rule == UNKNOWN_FIELD
    ]
    if errors:
        raise InputErrors(errors)


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
        settings=settings_of(flags),
        otlp=OtlpOptions(
            grpc_port=flags["otlp_grpc_port"],
            http_port=flags["otlp_http_port"],
            tls=tls_files(flags, "otlp_"),
            suffixes=flags["otlp_metric_suffixes"],
            resource_attributes=flags["otlp_resource_attributes"],
        ),
        **{
            name: flags[name]
            for name in (
                "host", "gateway_port", "gateway_workers", "prometheus_port", "namespace",
                "release",
                "scrape_interval", "polling_interval", "stabilization_window", "hold_timeout",
                "drain_timeout", "orphan_timeout", "activate_on_request", "wake_on_push",
                "prometheus_url", "record",
            )
        },
    )  # fmt: skip


def _first(override: float | None, default: float) -> float:
    return default if override is None else override


async def _run(
    stack_of: Callable[[], Stack], narrator: Narrator, *, until_stdin_closes: bool
) -> None:
    """Start, wait for a signal or for what must not happen, stop."""
    stop, force = _signals(until_stdin_closes=until_stdin_closes)
    stack = stack_of()
    stack.events.watch(narrator.event)
    stack.node.on_notice(narrator.notice)
    stack.on_tick.append(narrator.tick)
    stack.on_target.append(narrator.target)
    await stack.start()
    try:
        await publish(stack)
    except StokerError:
        await stack.stop(force=True)
        raise
    calm_collector()
    narrator.started(stack)
    failed = asyncio.create_task(stack.failed())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    narrator.stopping(stack)
    await _stop(stack, force)
    stopped.cancel()
    if not failed.cancelled():
        await asyncio.gather(failed)  # raises what broke


def _signals(*, until_stdin_closes: bool) -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first Ctrl-C or SIGTERM, and by the second."""
    stop, force = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        (force if stop.is_set() else stop).set()

    def stdin_readable() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stdin_readable)
    return stop, force


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
