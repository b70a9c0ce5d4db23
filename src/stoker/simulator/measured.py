"""Profiles of larger models, fitted to sweeps of whole servers.

The sweeps are mean times at fixed concurrency, measured with vLLM on real GPUs and published in
``silicon_sample.csv`` of the ``aisimulate`` wheel (0.13.0.dev, Apache-2.0).
``bench/fit_profiles.py`` makes the four numbers of each row from them and prints the errors that
stand beside: of the time per output token, on average and at most, over runs whose cache was not
full.
"""

from __future__ import annotations

from typing import NamedTuple

_GPU_GIB = {"h100": 79.1, "h200": 139.8, "b200": 179.0}
_AROUND_GIB = 3.0  # a GPU: activations, CUDA graphs, NCCL
_SOURCE = (
    "vLLM sweeps in aisimulate 0.13.0.dev; time per token within {mean} % on average, {most} %"
)


class Model(NamedTuple):
    """What does not depend on the GPU."""

    weights_gib: float
    kv_bytes_per_token: int
    max_model_len: int
    startup: float  # seconds, weights in the page cache


class Row(NamedTuple):
    """One fit. Times of a step in milliseconds, errors in percent."""

    model: str
    gpu: str
    tensor_parallel: int
    weights: float
    prefill: float
    sequence: float
    kv: float
    mean_error: float
    largest_error: float


MODELS = {
    # 80 layers x 8 KV heads x 128 x (K and V) x 2 bytes; weights in 8 bits
    "llama-3.1-70b-fp8": Model(65.8, 327_680, 131_072, 150.0),
    # 64 layers x 8 KV heads x 128 x (K and V) x 2 bytes
    "qwen3-32b": Model(61.0, 262_144, 40_960, 110.0),
    # 36 layers x 8 KV heads x 64 x (K and V) x 2 bytes; weights in 4 bits
    "gpt-oss-120b": Model(60.8, 73_728, 131_072, 130.0),
}
ROWS = (
    Row("llama-3.1-70b-fp8", "h100", 2, 16.554, 0.07089, 0.04102, 5.806e-5, 0.9, 2.6),
    Row("llama-3.1-70b-fp8", "h100", 4, 11.025, 0.04594, 0.05556, 2.787e-5, 2.2, 5.4),
    Row("llama-3.1-70b-fp8", "h100", 8, 8.845, 0.03086, 0.06322, 1.143e-5, 2.6, 6.8),
    Row("llama-3.1-70b-fp8", "h200", 1, 20.047, 0.10914, 0.07317, 8.508e-5, 2.6, 9.7),
    Row("llama-3.1-70b-fp8", "h200", 2, 13.159, 0.07180, 0.03998, 3.802e-5, 3.7, 9.6),
    Row("llama-3.1-70b-fp8", "h200", 4, 9.187, 0.04341, 0.04752, 2.093e-5, 3.8, 9.7),
    Row("llama-3.1-70b-fp8", "b200", 1, 15.727, 0.06920, 0.01363, 2.347e-5, 1.1, 3.3),
    Row("llama-3.1-70b-fp8", "b200", 2, 9.975, 0.04711, 0.03213, 9.857e-6, 1.1, 2.8),
    Row("qwen3-32b", "h100", 2, 13.975, 0.05094, 0.05620, 5.440e-5, 2.0, 9.5),
    Row("qwen3-32b", "h100", 4, 9.268, 0.03009, 0.06042, 2.517e-5, 1.8, 9.4),
    Row("gpt-oss-120b", "h100", 2, 4.647, 0.02319, 0.15371, 2.532e-6, 4.6, 9.1),
    Row("gpt-oss-120b", "h200", 1, 5.326, 0.03480, 0.32262, 0.0, 7.3, 13.7),
)


def name_of(row: Row) -> str:
    """``llama-3.1-70b-fp8-h100-tp4``; a single GPU is not told."""
    gpus = "" if row.tensor_parallel == 1 else f"-tp{row.tensor_parallel}"
    return f"{row.model}-{row.gpu}{gpus}"


def gpu_memory_gib(row: Row) -> float:
    """Of all its GPUs."""
    return _GPU_GIB[row.gpu] * row.tensor_parallel


def model_memory_gib(row: Row) -> float:
    """Weights, and what stands around them on each GPU."""
    return MODELS[row.model].weights_gib + _AROUND_GIB * row.tensor_parallel


def source_of(row: Row) -> str:
    """Where it comes from."""
    return _SOURCE.format(mean=row.mean_error, most=row.largest_error) + " at most"
