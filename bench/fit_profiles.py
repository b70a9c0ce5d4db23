"""Fit engine profiles to published sweeps of vLLM, and say how well they fit.

    python bench/fit_profiles.py silicon_sample.csv [--knees]

The file is `aisimulate_core/systems/silicon_sample.csv` of the wheel `aisimulate` (Apache-2.0):
mean time to first token and per output token at fixed concurrency, measured on real GPUs. The step
model is that of `stoker.simulator.profiles`; its four numbers are chosen so that the logarithms of
measured and predicted times per token differ least. Runs whose KV cache was full are left out of
the fit.

`--knees` prints how far the throughput of the model is off at the knee, the highest concurrency of
each pair of lengths whose cache was not full: fitted to all rows, to all rows but that one, and to
the rows of lower concurrency alone. It takes minutes.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.simulator.calibration import Point, fit, knees, throughput_error
from stoker.simulator.engine import Limits
from stoker.simulator.profiles import profile

BUDGET = 8192  # max_num_batched_tokens of these GPUs


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


def rows_of(path: str, subject: Subject) -> list[Point]:
    """Its measurements, those without a full cache."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            Point(
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


def is_full(point: Point) -> bool:
    """Requests waited for seconds: the cache was full, and TPOT is not that of the concurrency."""
    return point.ttft > 3000.0


def main() -> None:
    """Print one of the two tables."""
    if sys.argv[2:] == ["--knees"]:
        print_knees()
    else:
        print_fits()


def print_knees() -> None:
    print(
        "| profile | prompt, answer | requests at once | fit to all | to the rest | to the lower |"
    )
    print("|---|---|---:|---:|---:|---:|")
    columns: list[list[float]] = [[], [], []]
    for subject in SUBJECTS:
        rows = [row for row in rows_of(sys.argv[1], subject) if not is_full(row)]
        tops = knees(rows)
        engine = profile(subject.name.removesuffix("-tp1"))
        limits = replace(Limits.of(engine), max_model_len=16_384)
        below = fit([row for row in rows if row not in tops], BUDGET)
        for top in tops:
            fits = [fit(rows, BUDGET), fit([row for row in rows if row != top], BUDGET), below]
            errors = [throughput_error(one, engine, limits, top) for one in fits]
            for column, error in zip(columns, errors, strict=True):
                column.append(abs(error))
            cells = " | ".join(f"{error:+.1%}" for error in errors)
            shape = f"{top.prompt_tokens}, {top.output_tokens}"
            print(f"| {subject.name} | {shape} | {top.concurrency} | {cells} |", flush=True)
    for what, of in (("mean", lambda c: sum(c) / len(c)), ("most", max), ("within 10 %", within)):
        print(f"| {what} | | | {' | '.join(f'{of(column):.1%}' for column in columns)} |")


def within(errors: list[float]) -> float:
    return sum(error <= 0.1 for error in errors) / len(errors)


def print_fits() -> None:
    heads = f"{'weights':>8} {'prefill':>8} {'seq':>8} {'kv':>9}  TPOT error: mean, most"
    print(f"{'profile':<30} {'rows':>4} {heads}")
    for subject in SUBJECTS:
        rows = [row for row in rows_of(sys.argv[1], subject) if not is_full(row)]
        found = fit(rows, BUDGET)
        print(
            f"{subject.name:<30} {len(rows):>4} {found.weights_ms:8.3f} "
            f"{found.prefill_token_ms:8.5f} {found.decode_sequence_ms:8.5f} "
            f"{found.kv_token_ms:9.3e}  {found.mean_error:5.1%} {found.largest_error:6.1%}"
        )


if __name__ == "__main__":
    main()
