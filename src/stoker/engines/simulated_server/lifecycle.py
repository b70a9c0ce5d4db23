"""The life of a replica: a cold start with its log, serving, draining, the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence

import uvloop
from aiohttp import web

from stoker.clock import LoopClock, wall_time
from stoker.engines import metrics_catalogue
from stoker.engines.metrics_page import MetricsPage
from stoker.engines.simulated_server.answers import VERSION
from stoker.engines.simulated_server.batching import Batching
from stoker.engines.simulated_server.options import Options, parse
from stoker.engines.simulated_server.routes import Routes
from stoker.errors import StokerError
from stoker.simulator.engine import Engine, Step

log = logging.getLogger("vllm")

_STATS_PERIOD = 10.0
# What a start-up of Llama-3.1-8B on an L40S with warm caches spends its 82 s on, as published by
# Tensorfuse in September 2025: the share of the time at which each line appears.
_LOADING = (
    (0.00, "vLLM API server version {version}: simulated, no model is loaded and no GPU is used"),
    (0.41, "Starting to load model {model}..."),
    (0.63, "Loading weights took {weights:.2f} seconds"),
    (0.76, "Dynamo bytecode transform time: {dynamo:.2f} s"),
    (0.92, "torch.compile takes {compile:.2f} s in total"),
    (0.92, "GPU KV cache size: {tokens:,} tokens"),
    (1.00, "Graph capturing finished in {graphs:.2f} secs"),
)
_ABORT_GRACE = 1.0  # for the last bytes of answers that were cut


def main(arguments: Sequence[str], began: float) -> int:
    """Run a replica until it is told to stop. *began*: when the process did. The exit code."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format="%(levelname)s %(asctime)s [simulated] %(message)s",
        datefmt="%m-%d %H:%M:%S",
    )
    logging.raiseExceptions = False  # a full disk must not stop the server
    try:
        return uvloop.run(_serve(parse(arguments, os.environ), began))
    except StokerError as error:
        log.error("%s%s", error, f" ({error.hint})" if error.hint else "")  # noqa: TRY400
        return 1


async def _serve(options: Options, began: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        listener = _bind(options.host, options.port)
    except OSError as error:
        log.error("cannot use %s:%d: %s", options.host, options.port, error.strerror)  # noqa: TRY400
        return 1
    with listener:
        if not await _cold_start(options, began, stop):
            return 0
        replica = Replica(options)
        await replica.open(listener)
        gc.freeze()  # what was imported stays: no collection looks at it again
        await stop.wait()
        await replica.close()
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """Take the port, so that nobody else does, without listening: clients are refused."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


async def _cold_start(options: Options, began: float, stop: asyncio.Event) -> bool:
    """Take as long as a real one, counted from *began*. False: told to stop."""
    limits = options.limits
    words = {
        "version": VERSION,
        "model": options.model,
        "tokens": (limits.num_gpu_blocks - 1) * limits.block_size,
        "weights": 0.22 * options.startup,
        "dynamo": 0.13 * options.startup,
        "compile": 0.29 * options.startup,
        "graphs": 0.08 * options.startup,
    }
    if options.ignored:
        log.info("arguments without a meaning here: %s", " ".join(options.ignored))
    for share, line in _LOADING:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(began + share * options.startup - wall_time()):
                await stop.wait()
        if stop.is_set():
            return False
        log.info(line.format(**words))
    return True


class Replica:
    """Everything that runs once the engine is loaded."""

    def __init__(self, options: Options) -> None:
        clock = LoopClock()
        limits = options.limits
        engine = Engine(options.profile, limits, on_step=self._step)
        config = metrics_catalogue.cache_config(
            block_size=limits.block_size,
            num_gpu_blocks=limits.num_gpu_blocks,
            max_model_len=limits.max_model_len,
            enable_prefix_caching=options.enable_prefix_caching,
            gpu_memory_utilization=options.gpu_memory_utilization,
            kv_bytes_per_token=options.profile.kv_bytes_per_token,
        )
        self._options = options
        self.metrics = MetricsPage(engine, options.name, config, clock.now())
        self.batching = Batching(engine, self.metrics, clock)
        self._routes = Routes(options, self.batching, self.metrics, clock)
        self._runner = web.AppRunner(
            self._routes.application(),
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,  # a client that goes must not keep its place in the batch
            shutdown_timeout=_ABORT_GRACE,
        )
        self._stats: asyncio.Task[None] | None = None
        self._prompt_tokens = 0  # since the last line of the log
        self._generated_tokens = 0

    async def open(self, listener: socket.socket) -> None:
        """Begin to listen."""
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=2048).start()
        host, port = listener.getsockname()[:2]
        log.info("Starting vLLM API server on http://%s:%d", host, port)
        log.info("Application startup complete.")
        self._stats = asyncio.create_task(self._log_stats())

    async def close(self) -> None:
        """Finish what is in flight within ``--shutdown-timeout``, cut the rest, stop listening."""
        self._routes.draining = True
        timeout = self._options.shutdown_timeout
        log.info("Shutting down, %d requests in flight", self.batching.in_flight)
        if timeout > 0.0:
            try:
                async with asyncio.timeout(timeout):
                    await self.batching.drained()
            except TimeoutError:
                log.warning("%d requests aborted after %g s", self.batching.in_flight, timeout)
        self.batching.abort_all()
        if self._stats is not None:
            self._stats.cancel()
        await self._runner.cleanup()
        log.info("Application shutdown complete.")

    def _step(self, step: Step) -> None:
        self.metrics.step(step)
        self._prompt_tokens += step.prompt_tokens
        self._generated_tokens += step.generated_tokens

    async def _log_stats(self) -> None:
        """The line that vLLM writes every ten seconds while there is something to tell."""
        while True:
            await asyncio.sleep(_STATS_PERIOD)
            engine = self.batching.engine
            if not (self._prompt_tokens or self._generated_tokens or engine.waiting):
                continue
            totals = engine.counters
            log.info(
                "Engine 000: Avg prompt throughput: %.1f tokens/s, Avg generation throughput: "
                "%.1f tokens/s, Running: %d reqs, Waiting: %d reqs, GPU KV cache usage: %.1f%%, "
                "Prefix cache hit rate: %.1f%%",
                self._prompt_tokens / _STATS_PERIOD,
                self._generated_tokens / _STATS_PERIOD,
                engine.running,
                engine.waiting,
                100.0 * engine.kv_cache.usage,
                100.0 * totals.prefix_hits / max(totals.prefix_queries, 1),
            )
            self._prompt_tokens = self._generated_tokens = 0
