"""Files and traffic that are small enough to follow by hand."""

import pytest

from stoker.replay.job import Job, Traffic
from stoker.replay.result import Judging
from stoker.replay.setup import Setup, Spread
from stoker.replay.slo import DEFAULT, Slo
from stoker.traces import Arrivals

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: tiny}
spec:
  selector: {matchLabels: {app: tiny}}
  template:
    metadata: {labels: {app: tiny}}
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai
        command: [vllm, serve, tiny-model, --max-num-seqs, "4"]
        ports: [{containerPort: 8000}]
        readinessProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 10}
        resources: {limits: {nvidia.com/gpu: 1}}
"""
SCALED_OBJECT = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: tiny}
spec:
  scaleTargetRef: {name: tiny}
  pollingInterval: 10
  minReplicaCount: 1
  maxReplicaCount: 4
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
  triggers:
  - type: prometheus
    metadata:
      serverAddress: http://prometheus.monitoring.svc:9090
      query: sum(vllm:num_requests_waiting{model_name="tiny-model"})
      threshold: "5"
"""
TINY = Setup(profile="tiny", startup=Spread(20.0, 20.0))


@pytest.fixture
def file(tmp_path):
    """Writes a Deployment and a ScaledObject, with words of the latter replaced."""

    def write(*changes, name="tiny.yaml", deployment=DEPLOYMENT):
        text = SCALED_OBJECT
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(f"{deployment}---{text}")
        return str(path)

    return write


def job(file, setup=TINY, *, combination=(), slo=DEFAULT, baselines=False):
    return Job(file, combination, 0, setup, Judging(Slo.parse(slo), None, baselines))


def steady(rate, seconds, prompt=100, output=20, begin=0.0):
    """A request every 1/rate seconds."""
    count = round(rate * seconds)
    times = [begin + i / rate for i in range(count)]
    return Arrivals.of(times, [prompt] * count, [output] * count)


def traffic(*parts):
    times = [t for part in parts for t in part.times.tolist()]
    prompts = [n for part in parts for n in part.prompt_tokens.tolist()]
    outputs = [n for part in parts for n in part.output_tokens.tolist()]
    return Traffic("test", Arrivals.of(times, prompts, outputs))
