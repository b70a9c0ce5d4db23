"""Fit engine profiles to published sweeps of vLLM, and say how well they fit.

    python bench/fit_profiles.py silicon_sample.csv

The file is `aisimulate_core/systems/silicon_sample.csv` of the wheel `aisimulate` (Apache-2.0):
mean time to first token and per output token at fixed concurrency, measured on real GPUs. The step
model is that of `stoker.simulator.profiles`; its four numbers are chosen so that the logarithms of
measured and predicted times per token differ least. Runs whose KV cache was full are left out of
the fit, and are what the fit is checked with.
"""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BUDGET = 8192  # max_num_batched_tokens of these GPUs


@dataclass(frozen=True)
class Row:
    """One measurement. Times in ms."""

    concurrency: int
    prompt: int
    output: int
    ttft: float  # ms
    tpot: float  # ms


@dataclass(frozen=True)
class Subject:
    """A profile and where its rows are."""

    name: str
    model: str
    system: str
    precision: str
    tp: int


SUBJECTS = [
    Subject("llama-3.1-70b-fp8-h100-tp2", "meta-llama/Llama-3.1-70B", "h100_sxm", "fp8", 2),
    Subject("llama-3.1-70b-fp8-h100-tp4", "meta-llama/Llama-3.1-70B", "h100_sxm", "fp8", 4),
    Subject("llama-3.1-70b-fp8-h100-tp8", "meta-llama/Llama-3.1-70B", "h100_sxm", "fp8", 8),
    Subject("llama-3.1-70b-fp8-h200-tp1", "meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", 1),
    Subject("llama-3.1-70b-fp8-h200-tp2", "meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", 2),
    Subject("llama-3.1-70b-fp8-h200-tp4", "meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", 4),
    Subject("llama-3.1-70b-fp8-b200-tp1", "meta-llama/Llama-3.1-70B", "b200_sxm", "fp8", 1),
    Subject("llama-3.1-70b-fp8-b200-tp2", "meta-llama/Llama-3.1-70B", "b200_sxm", "fp8", 2),
    Subject("qwen3-32b-h100-tp2", "Qwen/Qwen3-32B", "h100_sxm", "", 2),
    Subject("qwen3-32b-h100-tp4", "Qwen/Qwen3-32B", "h100_sxm", "", 4),
    Subject("gpt-oss-120b-h100-tp2", "openai/gpt-oss-120b", "h100_sxm", "fp4", 2),
    Subject("gpt-oss-120b-h200-tp1", "openai/gpt-oss-120b", "h200_sxm", "fp4", 1),
]


def rows_of(path: str, subject: Subject) -> list[Row]:
    """Its measurements, those without a full cache."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            Row(
                int(row["batch_size"]),
                int(row["isl"]),
                int(row["osl"]),
                float(row["silicon_ttft_ms"]),
                float(row["silicon_tpot_ms"]),
            )
            for row in csv.DictReader(file)
            if row["backend"] == "vllm"
            and row["mode"] == "agg"
            and row["model_path"] == subject.model
            and row["system"] == subject.system
            and row["precision"] == subject.precision
            and row["tp_size"] == str(subject.tp)
            and row["moe_ep_size"] in ("", "1")
        ]


def is_full(row: Row) -> bool:
    """Requests waited for seconds: the cache was full, and TPOT is not that of the concurrency."""
    return row.ttft > 3000.0


def tpot_of(numbers: np.ndarray, row: Row) -> float:
    """Mean time per token at a fixed concurrency, prompts of others in between."""
    weights, prefill, sequence, kv = numbers
    batch, context = row.concurrency, row.prompt + row.output / 2
    decode = weights + sequence * batch + kv * batch * context
    together = max(1, min(batch, BUDGET // row.prompt))  # prompts in one step
    extra = max(weights, prefill * row.prompt * together) - weights
    return decode + extra * (batch / together) / row.output


def residuals(logs: np.ndarray, rows: list[Row]) -> np.ndarray:
    numbers = np.exp(logs)
    return np.array([math.log(tpot_of(numbers, row) / row.tpot) for row in rows])


def fit(rows: list[Row]) -> np.ndarray:
    """Levenberg and Marquardt on the logarithms of the four numbers."""
    logs = np.log([min(row.tpot for row in rows), 0.03, 0.05, 3e-5])
    damping, cost = 1e-2, float("inf")
    for _ in range(400):
        now = residuals(logs, rows)
        cost = float(now @ now)
        jacobian = np.empty((len(now), 4))
        for i in range(4):
            moved = logs.copy()
            moved[i] += 1e-5
            jacobian[:, i] = (residuals(moved, rows) - now) / 1e-5
        step = np.linalg.solve(jacobian.T @ jacobian + damping * np.eye(4), -jacobian.T @ now)
        tried = residuals(logs + step, rows)
        if float(tried @ tried) < cost:
            logs, damping = logs + step, max(damping / 3, 1e-9)
            if float(np.abs(step).max()) < 1e-9:
                break
        else:
            damping *= 4
            if damping > 1e9:
                break
    return np.exp(logs)


def main() -> None:
    heads = f"{'weights':>8} {'prefill':>8} {'seq':>8} {'kv':>9}  TPOT error: mean, most"
    print(f"{'profile':<30} {'rows':>4} {heads}")
    for subject in SUBJECTS:
        rows = [row for row in rows_of(sys.argv[1], subject) if not is_full(row)]
        if len(rows) < 6:
            print(f"{subject.name:<30} {len(rows):>4} too few")
            continue
        numbers = fit(rows)
        errors = [abs(tpot_of(numbers, row) / row.tpot - 1) for row in rows]
        print(
            f"{subject.name:<30} {len(rows):>4} {numbers[0]:8.3f} {numbers[1]:8.5f} "
            f"{numbers[2]:8.5f} {numbers[3]:9.3e}  {np.mean(errors):5.1%} {max(errors):6.1%}"
        )


if __name__ == "__main__":
    main()
