"""Vidur's event loop and Sarathi scheduler on requests of ours; run by Vidur's own interpreter.

    ENV/bin/python bench/peer_vidur.py REQUESTS.json

Vidur's times of a step come from profiles that are downloaded, and a forest that is trained on
them. Here a step takes what Stoker's profile of an 8B model on an A100 says, so no download and no
training is measured, only the simulation. Its metrics and its plots are off.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SEATS, CHUNK, LAYERS = 32, 2048, 32


def main() -> None:
    """Print requests, CPU and wall seconds, the peak of memory, and what came of it."""
    columns = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(tempfile.mkdtemp())  # it writes where it stands
    logging.disable(logging.WARNING)
    simulator, requests = prepared(list(zip(*columns, strict=True)))
    begun, start = usage(), time.perf_counter()
    simulator.run()
    figures = {
        "requests": len(columns[0]),
        "cpu": usage() - begun,
        "wall": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "ttft": percentiles(r.prefill_completed_at - r.arrived_at for r in requests),
        "e2e": percentiles(r.completed_at - r.arrived_at for r in requests),
    }
    print(json.dumps(figures))


def usage() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def percentiles(seconds: Iterable[float]) -> list[float]:
    """The median and the 95th percentile."""
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return [cuts[9], cuts[18]]


def prepared(rows: list[tuple[float, int, int]]) -> tuple[Any, list[Any]]:
    """A simulator with all arrivals in its queue, and its requests."""
    from vidur import config as c
    from vidur.entities import Request
    from vidur.execution_time_predictor import ExecutionTimePredictorRegistry as Predictors
    from vidur.request_generator import RequestGeneratorRegistry as Generators
    from vidur.simulator import Simulator
    from vidur.types import ExecutionTimePredictorType, RequestGeneratorType

    requests = [Request(at, prompt, max(output, 1)) for at, prompt, output in rows]

    class Given:
        """Our requests as a generator of its kind."""

        def __init__(self, _config: Any) -> None:
            pass

        def generate(self) -> list[Any]:
            return requests

    Generators.unregister(RequestGeneratorType.SYNTHETIC)
    Generators.register(RequestGeneratorType.SYNTHETIC, Given)
    kind = ExecutionTimePredictorType.LINEAR_REGRESSION
    Predictors.unregister(kind)
    Predictors.register(kind, predictor())
    longest = max(prompt + output for _, prompt, output in rows)
    simulator = Simulator(
        c.SimulationConfig(
            request_generator_config=c.SyntheticRequestGeneratorConfig(max_tokens=longest),
            execution_time_predictor_config=c.LinearRegressionExecutionTimePredictorConfig(),
            cluster_config=c.ClusterConfig(
                num_replicas=1,
                replica_config=c.ReplicaConfig(
                    num_pipeline_stages=1, tensor_parallel_size=1, device="a100",
                    network_device="a100_dgx",
                ),
                replica_scheduler_config=c.SarathiSchedulerConfig(
                    batch_size_cap=SEATS, chunk_size=CHUNK
                ),
            ),
            metrics_config=c.MetricsConfig(
                write_metrics=False, enable_chrome_trace=False, store_plots=False,
                store_request_metrics=False, store_batch_metrics=False,
                store_utilization_metrics=False,
            ),
        )
    )  # fmt: skip
    return simulator, requests


def predictor() -> type:
    """Stoker's profile as a predictor of its kind."""
    from vidur._native.entities import ExecutionTime
    from vidur.execution_time_predictor.base_execution_time_predictor import (
        BaseExecutionTimePredictor,
    )

    class Profile(BaseExecutionTimePredictor):
        """llama-3.1-8b-a100: max(11.30, 0.0665 a token) + 0.0343 a sequence + 7.2e-5 a KV token."""

        def get_execution_time(self, batch: Any, pipeline_stage: int) -> ExecutionTime:
            del pipeline_stage
            prefill = decodes = context = 0
            for new, old in zip(batch.num_q_tokens, batch.num_kv_tokens, strict=True):
                if new > 1:
                    prefill += new
                else:
                    decodes += 1
                    context += old
            step = max(11.30, 0.0665 * prefill) + 0.0343 * decodes + 7.2e-5 * context
            return ExecutionTime(LAYERS, *([0.0] * 9), step / LAYERS, *([0.0] * 4))

    Profile.__abstractmethods__ = frozenset()
    return Profile


if __name__ == "__main__":
    main()
