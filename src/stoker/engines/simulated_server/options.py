"""The command line: vLLM's, and what only a simulation needs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stoker.engines.flags import flag_name, split_flag
from stoker.errors import InputError
from stoker.simulator.engine import Limits
from stoker.simulator.profiles import DEFAULT_PROFILE, EngineProfile, profile


@dataclass(frozen=True, slots=True)
class Options:
    """What a replica was told. Durations in seconds."""

    model: str
    served_names: tuple[str, ...]  # the first one is written on answers and metrics
    host: str
    port: int  # 0: any free one
    profile: EngineProfile
    limits: Limits
    gpu_memory_utilization: float
    enable_prefix_caching: bool
    startup: float  # from the start of the process
    shutdown_timeout: float
    max_num_queued_reqs: int | None
    track_load: bool
    api_key: str | None
    ignored: tuple[str, ...]  # arguments that have no meaning here

    @property
    def name(self) -> str:
        """The name of the model on answers and metrics."""
        return self.served_names[0]


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read ``[serve] MODEL [options]``. SystemExit as from argparse, or InputError."""
    rest = list(arguments)
    if rest[:1] == ["serve"]:
        del rest[0]
    model = rest.pop(0) if rest and not rest[0].startswith("-") else None
    known, ignored = _parser().parse_known_args([_normal(text) for text in rest])
    model = model or known.model
    if not model:
        raise InputError("no model", hint="python -m stoker.engines.simulated_server serve MODEL")
    if known.speed <= 0.0:
        raise InputError(f"--speed {known.speed} must be more than 0")
    engine = profile(known.profile)
    return Options(
        model=model,
        served_names=tuple(known.served_model_name or [model]),
        host=known.host,
        port=known.port,
        profile=engine.faster(known.speed),
        limits=_limits(known, engine),
        gpu_memory_utilization=known.gpu_memory_utilization,
        enable_prefix_caching=known.enable_prefix_caching,
        startup=engine.startup if known.startup_seconds is None else known.startup_seconds,
        shutdown_timeout=known.shutdown_timeout,
        max_num_queued_reqs=known.max_num_queued_reqs,
        track_load=known.enable_server_load_tracking,
        api_key=known.api_key or environ.get("VLLM_API_KEY") or None,
        ignored=tuple(ignored),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulated vllm serve", allow_abbrev=False)
    vllm = parser.add_argument_group("as for vllm serve (other options are accepted and ignored)")
    switch = argparse.BooleanOptionalAction
    vllm.add_argument("--model")
    vllm.add_argument("--host", default="127.0.0.1")
    vllm.add_argument("--port", type=int, default=8000)
    vllm.add_argument("--served-model-name", nargs="+")
    vllm.add_argument("--max-model-len", type=length)
    vllm.add_argument("--max-num-seqs", type=int)
    vllm.add_argument("--max-num-batched-tokens", type=length)
    vllm.add_argument("--gpu-memory-utilization", type=float, default=0.92)
    vllm.add_argument("--num-gpu-blocks-override", type=int)
    vllm.add_argument("--block-size", type=int)
    vllm.add_argument("--enable-prefix-caching", action=switch, default=True)
    vllm.add_argument("--enable-chunked-prefill", action=switch, default=True)
    vllm.add_argument("--shutdown-timeout", type=float, default=0.0)
    vllm.add_argument("--max-num-queued-reqs", type=int)
    vllm.add_argument("--enable-server-load-tracking", action=switch, default=False)
    vllm.add_argument("--api-key")
    own = parser.add_argument_group("of the simulation")
    own.add_argument("--profile", default=DEFAULT_PROFILE, help="engine profile, %(default)s")
    own.add_argument("--speed", type=float, default=1.0, help="steps this many times as fast")
    own.add_argument("--startup-seconds", type=float, help="until the port opens; as the profile")
    return parser


def length(text: str) -> int | None:
    """``4096``, ``8k`` (8,000), ``8K`` (8,192), as vLLM reads them. None for ``auto`` and -1."""
    if text in {"auto", "-1"}:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tokens")
    unit = {"": 1, "k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}[match[2]]
    return int(float(match[1]) * unit)


def _normal(text: str) -> str:
    """``--max_model_len=1`` as ``--max-model-len=1``."""
    flag, value = split_flag(text)
    if flag is None:
        return text
    return flag_name(flag) if value is None else f"{flag_name(flag)}={value}"


def _limits(known: argparse.Namespace, engine: EngineProfile) -> Limits:
    default = Limits.of(engine)
    block_size = known.block_size or default.block_size
    blocks = known.num_gpu_blocks_override
    if blocks is None:
        blocks = engine.kv_blocks(known.gpu_memory_utilization, block_size)
    max_model_len = _or(known.max_model_len, default.max_model_len)
    batched = default.max_num_batched_tokens
    if not known.enable_chunked_prefill:  # as vLLM: then the longest prompt must fit in one step
        batched = max(batched, max_model_len)
    return replace(
        default,
        max_num_seqs=_or(known.max_num_seqs, default.max_num_seqs),
        max_num_batched_tokens=_or(known.max_num_batched_tokens, batched),
        max_model_len=max_model_len,
        num_gpu_blocks=blocks,
        block_size=block_size,
        enable_chunked_prefill=known.enable_chunked_prefill,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
