"""`stoker check`: ScaledObjects in a second of CPU, after start-up, and how long `--help` takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stoker.checks import examine
from stoker.resources import inspect

OBJECTS = 1000
ROUNDS = 5
DOCUMENT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: so{n}
spec:
  scaleTargetRef:
    name: engine{n}
  minReplicaCount: 1
  maxReplicaCount: 5
  cooldownPeriod: 360
  fallback:
    failureThreshold: 3
    replicas: 2
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          policies:
            - type: Pods
              value: 1
              periodSeconds: 60
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://prometheus-operated.monitoring.svc:9090
        query: sum(vllm:num_requests_waiting{{model_name="m{n}"}})
        threshold: "5"
    - type: prometheus
      metadata:
        serverAddress: http://prometheus-operated.monitoring.svc:9090
        query: vllm:num_requests_running{{model_name="m{n}"}}
        threshold: "10"
"""


def markdown() -> str:
    """A markdown table: the best of some rounds, for other work on the machine only adds."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "many.yaml"
        path.write_text("---\n".join(DOCUMENT.format(n=n) for n in range(OBJECTS)))
        seconds, findings = min(_check(path) for _ in range(ROUNDS))
    shown = min(_help() for _ in range(ROUNDS))
    return "\n".join(
        [
            "| what | CPU seconds |",
            "|---|---|",
            f"| {OBJECTS:,} ScaledObjects of 2 triggers, {findings:,} findings | {seconds:.2f} |",
            f"| `stoker --help`, with the start of Python | {shown:.2f} |",
        ]
    )


def _check(path: Path) -> tuple[float, int]:
    before = time.process_time()
    findings = examine(inspect([str(path)]))
    return time.process_time() - before, len(findings)


def _help() -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "stoker", "--help"], check=True, stdout=subprocess.DEVNULL
    )
    after = os.times()
    spent = after.children_user - before.children_user
    return spent + after.children_system - before.children_system


if __name__ == "__main__":
    print(markdown())
