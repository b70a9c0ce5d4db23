"""A burst is looked at when a collector sees it, not at the next poll or sync."""

from __future__ import annotations

from threading import Thread

import pytest

ISVC = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: llama
  annotations:
    serving.kserve.io/deploymentMode: RawDeployment
    serving.kserve.io/autoscalerClass: keda
    sidecar.opentelemetry.io/inject: llama-predictor
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 3
    autoScaling:
      metrics:
        - type: PodMetric
          podmetric:
            metric: {backend: opentelemetry, metricNames: ["vllm:num_requests_running"],
                     query: "vllm:num_requests_running"}
            target: {value: "2"}
    model:
      modelFormat: {name: huggingface}
      args: [--model_name=llama3, --model_id=meta-llama/meta-llama-3-8b-instruct]
"""


@pytest.mark.e2e
def test_burst_at_an_engine_is_not_kept_waiting(up):
    running = up(ISVC, "--sync-period=300s", "--polling-interval=300s", "--drain-timeout=0")
    running.until(running.ready, "the first replica is ready")
    # long answers, so that the collector sees them at its next page
    users = [Thread(target=ask, args=(running,), daemon=True) for _ in range(6)]
    for user in users:
        user.start()
    running.until(
        lambda: running.client.overview()["models"][0]["wanted"] == 3, "three replicas are wanted"
    )


def ask(running) -> None:
    try:
        running.chat(max_tokens=2000)
    except (OSError, AssertionError):
        return  # the run is over
