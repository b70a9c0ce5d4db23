"""Collectors beside pods, and what is told when nobody pushes."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stoker.clock import LoopClock
from stoker.errors import ConflictError
from stoker.metrics.otlp.addon import MetricQuery
from stoker.metrics.storage import Storage
from stoker.resources import load
from stoker.stack.options import OtlpOptions
from stoker.stack.pushes import Pushes
from stoker.targets.base import Pod

ISVC = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: llama
  annotations:
    serving.kserve.io/deploymentMode: RawDeployment
    serving.kserve.io/autoscalerClass: keda
    sidecar.opentelemetry.io/inject: INJECT
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 5
    autoScaling:
      metrics:
        - type: PodMetric
          podmetric:
            metric: {backend: opentelemetry, metricNames: ["vllm:num_requests_running", ttft],
                     query: "vllm:num_requests_running"}
            target: {value: "4"}
    model:
      modelFormat: {name: huggingface}
      args: [--model_name=llama3, --model_id=meta-llama/meta-llama-3-8b-instruct]
"""
PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="llama3"} 7
vllm:num_requests_waiting{model_name="llama3"} 3
ttft_bucket{le="+Inf"} 2
ttft_count 2
ttft_sum 0.5
"""


@pytest.fixture
def pushes(tmp_path):
    """Make one of the InferenceService with an annotation."""

    def make(inject: str = "llama-predictor", **options) -> Pushes:
        file = tmp_path / "isvc.yaml"
        file.write_text(ISVC.replace("INJECT", inject))
        bundle = load([str(file)])
        written: asyncio.Queue[frozenset[str]] = asyncio.Queue()
        made = Pushes(
            Storage(), LoopClock(), bundle, OtlpOptions(**options), on_written=written.put_nowait
        )
        made.bundle, made.written = bundle, written
        return made

    return make


@pytest.mark.parametrize("inject", ["llama-predictor", '"true"'])
async def test_collector_that_is_injected_is_run(pushes, inject):
    made = pushes(inject)
    (sidecar,) = made.sidecars.values()
    assert sidecar.workload == "llama-predictor"
    assert sidecar.interval == 5
    assert sidecar.metrics == ("vllm:num_requests_running", "ttft")
    assert made.notices({}) == []
    assert await made.serve("127.0.0.1") is None  # nobody else has to push


async def test_collector_that_is_not_injected_is_told(pushes):
    made = pushes("other")
    assert made.sidecars == {}
    (told,) = made.notices({"grpc": "http://127.0.0.1:4317"})
    assert told.startswith("llama-predictor asks for what is pushed")
    assert "reads 0 until something is pushed to http://127.0.0.1:4317" in told
    (told,) = made.notices({})
    assert "OTLP, which is off" in told


async def test_receiver_is_on_when_a_trigger_needs_it(pushes, monkeypatch):
    monkeypatch.setattr("stoker.stack.pushes.GRPC_PORT", 0)
    monkeypatch.setattr("stoker.stack.pushes.HTTP_PORT", 0)
    servers = await pushes("other").serve("127.0.0.1")
    assert set(servers.urls) == {"grpc", "http/protobuf"}
    with pytest.raises(ConflictError):
        await pushes(grpc_port=servers.grpc_port, http_port="off").serve("127.0.0.1")
    await servers.close()
    assert await pushes("other", grpc_port="off", http_port="off").serve("127.0.0.1") is None


async def page(_: web.Request) -> web.Response:
    return web.Response(text=PAGE)


async def test_pages_of_replicas_are_in_the_store_as_the_sidecar_labels_them(pushes):
    made = pushes()
    app = web.Application()
    app.router.add_get("/metrics", page)
    async with TestServer(app) as replica:
        pod = Pod(
            "llama-predictor-1", "llama-predictor", "default", 0.0, phase="Running",
            host=replica.host, port=replica.port,
        )  # fmt: skip
        pending = Pod("llama-predictor-2", "llama-predictor", "default", 0.0)
        workload = made.bundle.applications[0].workload
        made.set_pods([(workload, (pod, pending))])
        for subject in made._collector._subjects.values():
            subject.due = 0.0  # not at its own moment within the interval
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            written = await made.written.get()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    now = LoopClock().now()
    query = MetricQuery.parse('sum(vllm:num_requests_running{deployment="llama-predictor"})')
    assert made.store.get(query, "last_one", now) == (7, 1)
    other = MetricQuery.parse('sum(vllm:num_requests_running{deployment="other"})')
    assert made.store.get(other, "last_one", now) == (0, 0)
    names = set(made.store.storage.metric_names())
    assert {"vllm:num_requests_running", "ttft_count", "ttft_sum"} <= names
    assert not names & {"vllm:num_requests_waiting", "ttft_bucket"}
    assert {"vllm:num_requests_running", "ttft_count"} <= written
