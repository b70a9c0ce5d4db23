"""From a workload to the engine that is modelled: what its command line and its profile say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.engines import SimulatedEngine
from stoker.engines.simulated_server.options import Options, parse
from stoker.errors import InputError
from stoker.replay.exposition import GAP_BUCKETS
from stoker.replay.setup import Phases, Setup, Spread
from stoker.resources.workload import Workload
from stoker.simulator.engine import check_limits
from stoker.simulator.fleet.fleet import Server
from stoker.simulator.profiles import DEFAULT_PROFILE


@dataclass(frozen=True, slots=True)
class Served:
    """A workload with its engine."""

    workload: Workload
    server: Server
    model: str  # on its metrics
    profile: str
    startup: Spread | Phases
    quickest: float = 0.0  # the least that a start takes usually: of a sleeping one, if any sleep
    source: str = ""  # what its command serves, where requests call it otherwise

    @property
    def gpus(self) -> int:
        """That a replica takes: as its Deployment says, but as many as its profile has."""
        return max(self.workload.gpus, self.server.profile.gpus)


def served(workload: Workload, setup: Setup, hash_tokens: int | None) -> Served:
    """The engine of *workload*, as ``stoker up --engine simulated`` would start it.

    *hash_tokens*: tokens that a prompt hash of the trace stands for; None: it has none.

    Raises:
        InputError: the profile does not exist, or its KV cache does not hold ``max_model_len``.
    """
    engine = SimulatedEngine(
        profile=setup.profile or DEFAULT_PROFILE, max_num_seqs=setup.max_num_seqs
    )
    engine.check()
    launch = engine.launch(workload, 8000, ())
    options = _parsed(launch.argv[3:], workload)
    limits = options.limits
    cached = hash_tokens if options.enable_prefix_caching else None
    if cached is not None and cached % limits.block_size:
        raise InputError(
            f"the trace has hashes of {cached} tokens, {workload.name} has blocks of "
            f"{limits.block_size}",
            hint="a --block-size that divides it, or --no-enable-prefix-caching",
        )
    check_limits(limits)
    server = Server(
        options.profile,
        limits,
        hold_timeout=setup.hold_timeout,
        hold_limit=setup.hold_limit,
        first_token_timeout=_or_never(setup.first_token_timeout),
        client_timeout=_or_never(setup.client_timeout),
        gap_buckets=GAP_BUCKETS,
        prefix_caching=options.enable_prefix_caching,
    )
    startup = setup.startup or Spread(options.startup, options.startup)
    quickest = min(startup.median, setup.wake.median) if setup.sleepers else startup.median
    return Served(workload, server, options.name, engine.profile, startup, quickest, options.model)


def _or_never(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


def _parsed(arguments: tuple[str, ...], workload: Workload) -> Options:
    try:
        return parse(arguments, {})
    except SystemExit:
        raise InputError(
            f"the command line of {workload.name} is not understood: {' '.join(arguments)}",
            hint="`vllm serve --help` says what its options take",
        ) from None
