"""How long KEDA waits for `stoker scaler`: 200 ScaledObjects that are read at once, every call.

One read is GetMetricSpec, GetMetrics and IsActive, one after the other, as KEDA makes it. Client
and server are two processes; the source is a `cron` trigger. Wall time, with whatever else runs.
bench/run.py calls :func:`markdown`.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio

from stoker.protocols.externalscaler import Client
from stoker.protocols.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef

OBJECTS, ROUNDS = 200, 20
SCALED_OBJECT = """\
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: so-{i}}}
spec:
  scaleTargetRef: {{name: d-{i}}}
  triggers:
    - type: cron
      name: hours
      metadata: {{timezone: UTC, start: "0 8 * * *", end: "0 18 * * *", desiredReplicas: "3"}}
"""


async def _read(client: Client, name: str) -> float:
    begin = time.perf_counter()
    ref = ScaledObjectRef(name=name, namespace="default")
    (spec,) = (await client.get_metric_spec(ref)).metricSpecs
    await client.get_metrics(GetMetricsRequest(scaledObjectRef=ref, metricName=spec.metricName))
    await client.is_active(ref)
    return time.perf_counter() - begin


async def _reads(port: str) -> list[float]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = Client(channel)
        await _read(client, "so-0")
        seconds: list[float] = []
        for _ in range(ROUNDS):
            seconds += await asyncio.gather(*(_read(client, f"so-{i}") for i in range(OBJECTS)))
        return sorted(seconds)


def _port(process: subprocess.Popen[str]) -> str:
    """Where it serves, as soon as it does."""
    said = ""
    for line in process.stdout or ():
        said += line
        if line.startswith("Ctrl-C"):
            break
    found = re.search(r"127\.0\.0\.1:(\d+)", said)
    if found is None:
        raise RuntimeError(f"stoker scaler does not serve: {said}")
    return found[1]


def markdown() -> str:
    """One line of figures."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "so.yaml"
        file.write_text("".join(SCALED_OBJECT.format(i=i) for i in range(OBJECTS)))
        process = subprocess.Popen(
            [sys.executable, "-m", "stoker", "scaler", str(file), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            seconds = asyncio.run(_reads(_port(process)))
        finally:
            process.terminate()
            process.wait(30)
    p50, p99 = (seconds[int(share * (len(seconds) - 1))] * 1000 for share in (0.5, 0.99))
    return (
        "| reads | p50 | p99 | longest |\n|--:|--:|--:|--:|\n"
        f"| {len(seconds)} | {p50:.0f} ms | {p99:.0f} ms | {seconds[-1] * 1000:.0f} ms |"
    )


if __name__ == "__main__":
    print(markdown())
