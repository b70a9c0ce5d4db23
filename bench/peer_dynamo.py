"""NVIDIA Dynamo's replay on requests of ours; run by an interpreter that has it.

    ENV/bin/python bench/peer_dynamo.py REQUESTS.json

One worker with the limits of bench/replay.py and Dynamo's own default times of a step, stretched.
Measured is its call from the trace's file to the report, whose core is Rust.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from itertools import count, islice
from pathlib import Path

BLOCK = 512  # tokens that one of the trace's hashes stands for
ENGINE = {
    "backend": "vllm",
    "max_num_seqs": 32,
    "max_num_batched_tokens": 2048,
    "block_size": 16,
    "num_gpu_blocks": 30_000,
    "enable_prefix_caching": False,
    "speedup_ratio": 0.6,  # its own GPU is faster; with this the replica is as full as ours
}


def main() -> None:
    """Print requests, CPU and wall seconds, the peak of memory, and what came of it."""
    from dynamo.replay import run_trace_replay

    columns = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(tempfile.mkdtemp())
    Path("trace.jsonl").write_text(mooncake(list(zip(*columns, strict=True))))
    begun, start = usage(), time.perf_counter()
    report = run_trace_replay(
        ["trace.jsonl"], extra_engine_args={"engine": ENGINE}, trace_block_size=BLOCK
    )
    found = report.summary
    figures = {
        "requests": found["completed_requests"],
        "cpu": usage() - begun,
        "wall": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "ttft": [found["median_ttft_ms"] / 1000, found["p95_ttft_ms"] / 1000],
        "e2e": [found["median_e2e_latency_ms"] / 1000, found["p95_e2e_latency_ms"] / 1000],
    }
    print(json.dumps(figures))


def usage() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def mooncake(rows: list[tuple[float, int, int]]) -> str:
    """The format that it reads; every block is another, so no prefix is shared."""
    numbers = count(1)
    lines = [
        json.dumps(
            {
                "timestamp": round(at * 1000, 3),
                "input_length": prompt,
                "output_length": max(output, 1),
                "hash_ids": list(islice(numbers, -(-prompt // BLOCK))),
            }
        )
        for at, prompt, output in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
