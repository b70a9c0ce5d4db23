"""Named engine profiles: how fast a model is on a GPU, and how much KV cache it has there.

A step takes ``max(weights, prefill * n) + sequence * b + kv * t`` milliseconds for *n* prefill
tokens, *b* decoding sequences and *t* tokens of their context: reading the weights and computing
the prompt overlap, so the longer of the two counts.

The numbers of the 8B profiles are linear fits over kernel times that NVIDIA measured for vLLM and
published in the ``aisimulate`` wheel (0.13.0.dev, Apache-2.0), composed for Llama-3.1-8B in bf16 on
one GPU. The fit of a decode step is within 11 % (A100), 7 % (H100) and 8 % (H200) of those times,
that of a prefill of 512 tokens and more within 17 %. They hold no time of the server itself: real
vLLM adds 1 to 3 ms to a step. Those of larger models (:mod:`.measured`) are fitted to whole
servers.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from stoker.errors import InputError, Place
from stoker.simulator import measured

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """A model on a GPU. Times of a step are in milliseconds, all others in seconds."""

    name: str
    weights_ms: float  # a step is never shorter: the weights are read once
    prefill_token_ms: float
    decode_sequence_ms: float
    kv_token_ms: float  # for each token of context of a decoding sequence
    gpu_memory_gib: float
    model_memory_gib: float  # weights, activations and CUDA graphs
    kv_bytes_per_token: int
    max_model_len: int
    max_num_seqs: int  # vLLM's default for this GPU
    max_num_batched_tokens: int  # likewise
    startup: float  # process start to the first open port, weights in the page cache
    gpus: int = 1  # tensor parallel
    source: str = ""  # where the times come from, and how well they fit

    def step_seconds(self, prefill_tokens: int, decode_sequences: int, kv_tokens: int) -> float:
        """How long one step takes."""
        compute_ms = max(self.weights_ms, self.prefill_token_ms * prefill_tokens)
        decode_ms = self.decode_sequence_ms * decode_sequences + self.kv_token_ms * kv_tokens
        return (compute_ms + decode_ms) / 1000.0

    def kv_blocks(self, gpu_memory_utilization: float, block_size: int) -> int:
        """How many KV blocks fit beside the model. 0 when the model itself does not fit."""
        free = self.gpu_memory_gib * gpu_memory_utilization - self.model_memory_gib
        return max(int(free * _GIB / (self.kv_bytes_per_token * block_size)), 0)

    def faster(self, speed: float) -> EngineProfile:
        """The same engine with all its steps *speed* times as fast."""
        return replace(
            self,
            weights_ms=self.weights_ms / speed,
            prefill_token_ms=self.prefill_token_ms / speed,
            decode_sequence_ms=self.decode_sequence_ms / speed,
            kv_token_ms=self.kv_token_ms / speed,
        )


# 32 layers x 8 KV heads x 128 x (K and V) x 2 bytes. 15.0 GiB of weights, 2 GiB around them.
_LLAMA_8B_KV_BYTES = 131_072
_LLAMA_8B_MEMORY_GIB = 17.0
# Llama-3.1-8B with warm caches: 82 s published for a tuned L40S, 290 s and more for a cold one.
_LLAMA_8B_STARTUP = 80.0
_KERNELS = "aisimulate 0.13.0.dev, kernel times; decode steps within {} %, prefills within 17 %"

_PROFILES = (
    EngineProfile(
        name="llama-3.1-8b-a100",
        weights_ms=11.30,
        prefill_token_ms=0.0665,
        decode_sequence_ms=0.0343,
        kv_token_ms=7.2e-5,
        gpu_memory_gib=79.2,
        model_memory_gib=_LLAMA_8B_MEMORY_GIB,
        kv_bytes_per_token=_LLAMA_8B_KV_BYTES,
        max_model_len=131_072,
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        startup=_LLAMA_8B_STARTUP,
        source=_KERNELS.format(11),
    ),
    EngineProfile(
        name="llama-3.1-8b-h100",
        weights_ms=6.26,
        prefill_token_ms=0.0205,
        decode_sequence_ms=0.0082,
        kv_token_ms=4.15e-5,
        gpu_memory_gib=79.1,
        model_memory_gib=_LLAMA_8B_MEMORY_GIB,
        kv_bytes_per_token=_LLAMA_8B_KV_BYTES,
        max_model_len=131_072,
        max_num_seqs=1024,
        max_num_batched_tokens=8192,
        startup=_LLAMA_8B_STARTUP,
        source=_KERNELS.format(7),
    ),
    EngineProfile(
        name="llama-3.1-8b-h200",
        weights_ms=4.65,
        prefill_token_ms=0.0208,
        decode_sequence_ms=0.0101,
        kv_token_ms=2.76e-5,
        gpu_memory_gib=139.8,
        model_memory_gib=_LLAMA_8B_MEMORY_GIB,
        kv_bytes_per_token=_LLAMA_8B_KV_BYTES,
        max_model_len=131_072,
        max_num_seqs=1024,
        max_num_batched_tokens=8192,
        startup=_LLAMA_8B_STARTUP,
        source=_KERNELS.format(8),
    ),
    # No real engine: round numbers for tests and for examples that are computed by hand.
    EngineProfile(
        name="tiny",
        weights_ms=10.0,
        prefill_token_ms=0.1,
        decode_sequence_ms=1.0,
        kv_token_ms=0.01,
        gpu_memory_gib=2.0,
        model_memory_gib=1.5,
        kv_bytes_per_token=16_384,
        max_model_len=4096,
        max_num_seqs=16,
        max_num_batched_tokens=512,
        startup=0.2,
    ),
)


def _fitted(row: measured.Row) -> EngineProfile:
    model = measured.MODELS[row.model]
    return EngineProfile(
        name=measured.name_of(row),
        weights_ms=row.weights,
        prefill_token_ms=row.prefill,
        decode_sequence_ms=row.sequence,
        kv_token_ms=row.kv,
        gpu_memory_gib=measured.gpu_memory_gib(row),
        model_memory_gib=measured.model_memory_gib(row),
        kv_bytes_per_token=model.kv_bytes_per_token,
        max_model_len=model.max_model_len,
        max_num_seqs=1024,
        max_num_batched_tokens=8192,
        startup=model.startup,
        gpus=row.tensor_parallel,
        source=measured.source_of(row),
    )


PROFILES = {profile.name: profile for profile in (*_PROFILES, *map(_fitted, measured.ROWS))}
DEFAULT_PROFILE = "llama-3.1-8b-a100"


def profile(name: str) -> EngineProfile:
    """The profile of that name, or in that file (``.json``); an InputError that lists the names."""
    if name.endswith(".json"):
        return _read(Path(name))
    if name not in PROFILES:
        near = difflib.get_close_matches(name, PROFILES, n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(f'`{one}`' for one in near)}? " if near else ""
        raise InputError(
            f"no engine profile `{name}`",
            hint=f"{meant}there are {', '.join(sorted(PROFILES))}",
        )
    return PROFILES[name]


def write_profile(one: EngineProfile, path: Path) -> None:
    """Write it so that ``--profile`` can read it. Raises InputError."""
    try:
        path.write_text(json.dumps(asdict(one), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write the profile: {error.strerror}", place=Place(str(path))
        ) from None


def _read(path: Path) -> EngineProfile:
    place = Place(str(path))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the profile: {error.strerror}", place=place) from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", place=place) from None
    kinds = {field.name: str(field.type) for field in fields(EngineProfile)}
    needed = {field.name for field in fields(EngineProfile) if field.default is MISSING}
    given = set(found) if isinstance(found, dict) else set()
    if not needed <= given <= kinds.keys():
        wrong = sorted((needed - given) | (given - kinds.keys()))
        raise InputError(
            f"not an engine profile: {', '.join(wrong)} missing or unknown",
            hint="`stoker calibrate URL -o FILE.json` writes one",
            place=place,
        )
    for name, value in found.items():
        is_text = kinds[name] == "str"
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if not (isinstance(value, str) if is_text else is_number):
            what = "a text" if is_text else "a number that is not negative"
            raise InputError(f"`{name}` is {value!r}, not {what}", place=place)
    return EngineProfile(**found)
