"""A burst is looked at when a collector sees it, and a stream wakes: no poll, no sync."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import grpc
import pytest

from stoker.protocols import externalscaler_pb2 as messages
from stoker.protocols.externalscaler import handler

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


SCALED_OBJECT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec:
      containers:
        - {name: vllm, image: vllm/vllm-openai, args: [--model, llama3]}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: llama}
spec:
  scaleTargetRef: {name: llama}
  minReplicaCount: 0
  pollingInterval: 300
  cooldownPeriod: 300
  triggers:
    - {type: external-push, metadata: {scalerAddress: ADDRESS}}
"""


class Scaler:
    """Not active for those who ask, and active for those who listen, once it is woken."""

    def __init__(self) -> None:
        self.woken = Event()
        self.opened = Event()

    def get_metric_spec(self, *_: object) -> messages.GetMetricSpecResponse:
        spec = messages.MetricSpec(metricName="queue", targetSizeFloat=5.0)
        return messages.GetMetricSpecResponse(metricSpecs=[spec])

    def get_metrics(self, *_: object) -> messages.GetMetricsResponse:
        return messages.GetMetricsResponse(metricValues=[messages.MetricValue(metricName="queue")])

    def is_active(self, *_: object) -> messages.IsActiveResponse:
        return messages.IsActiveResponse(result=False)

    def stream_is_active(self, *_: object) -> Iterator[messages.IsActiveResponse]:
        yield messages.IsActiveResponse(result=False)
        self.opened.set()
        if self.woken.wait(60):
            yield messages.IsActiveResponse(result=True)

    def stream_metric_spec(self, *_: object) -> Iterator[messages.GetMetricSpecResponse]:
        yield self.get_metric_spec()


@pytest.mark.e2e
def test_stream_of_a_scaler_wakes_a_model_at_zero(up):
    scaler = Scaler()
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler(scaler),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        running = up(SCALED_OBJECT.replace("ADDRESS", address), "--polling-interval=300s")
        running.until(
            lambda: running.client.overview()["models"][0]["wanted"] == 0, "nothing is wanted"
        )
        assert scaler.opened.wait(20)
        scaler.woken.set()
        running.until(
            lambda: running.client.overview()["models"][0]["wanted"] == 1, "one replica is wanted"
        )
    finally:
        scaler.woken.set()
        server.stop(0)
