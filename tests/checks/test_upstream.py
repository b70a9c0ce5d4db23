"""Files as upstream projects have them: what a cluster takes is no error here."""

from __future__ import annotations

import io

import pytest

from stoker.checks import Finding, examine
from stoker.errors import InputErrors
from stoker.resources import inspect, load

# after the guide "Using Kubernetes" of vLLM's documentation: the command line is in a shell
BY_SHELL = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: mistral}
spec:
  selector: {matchLabels: {app: mistral}}
  template:
    metadata: {labels: {app: mistral}}
    spec:
      volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: "2Gi"}}]
      containers:
        - name: mistral
          image: vllm/vllm-openai:latest
          command: ["/bin/sh", "-c"]
          args: ["vllm serve mistralai/Mistral-7B-Instruct-v0.3 --trust-remote-code"]
          volumeMounts: [{name: shm, mountPath: /dev/shm}]
"""
BY_ENV = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  selector: {matchLabels: {app: e}}
  template:
    metadata: {labels: {app: e}}
    spec:
      containers:
        - name: vllm
          image: vllm/vllm-openai:latest
          envFrom: [{configMapRef: {name: elsewhere}}]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: so}
spec:
  scaleTargetRef: {name: engine}
  minReplicaCount: 1
  triggers:
    - type: cpu
      metricType: Utilization
      metadata: {value: "50"}
"""
NOT_VLLM = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: php-apache}
spec:
  selector: {matchLabels: {run: php-apache}}
  template:
    metadata: {labels: {run: php-apache}}
    spec:
      containers:
        - name: php-apache
          image: registry.k8s.io/hpa-example
          resources: {requests: {cpu: 200m}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: cpu}
spec:
  scaleTargetRef: {name: php-apache}
  minReplicaCount: 1
  maxReplicaCount: 10
  triggers:
    - type: cpu
      metricType: Utilization
      metadata: {value: "50"}
"""
OF_OTHERS = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: kafka}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: r}
  minReplicaCount: 1
  maxReplicaCount: 10
  triggers:
    - type: kafka
      metadata: {bootstrapServers: "k:9092", consumerGroup: g, topic: t, lagThreshold: "50"}
      authenticationRef: {name: keda-kafka-credentials}
    - type: external
      metadata: {scalerAddress: "s:9090", anything: goes}
"""
# KServe's sample of a ServingRuntime has a field that no probe has
RUNTIME = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: opt}
spec:
  predictor:
    model: {modelFormat: {name: vLLM}, runtime: mine, storageUri: "hf://facebook/opt-125m"}
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: mine}
spec:
  containers:
    - name: kserve-container
      image: vllm/vllm-openai:v0.28.0
      command: [python3, -m, vllm.entrypoints.openai.api_server]
      args: ["--port=8080", "--served-model-name={{.Name}}", "--model=/mnt/models"]
      readinessProbe: {httpGet: {path: /v1/models, port: 8080, protocol: TCP}}
  supportedModelFormats: [{name: vLLM, version: "1", autoSelect: true}]
"""


def found(text: str) -> list[Finding]:
    return list(examine(inspect(["-"], stdin=io.StringIO(text))))


@pytest.mark.parametrize("text", [BY_SHELL, BY_ENV, NOT_VLLM, OF_OTHERS, RUNTIME])
def test_what_a_cluster_takes_is_no_error(text: str) -> None:
    errors = [finding for finding in found(text) if finding.severity == "error"]
    assert [finding for finding in errors if finding.code != "webhook-refuses"] == []


def test_a_model_that_nobody_names_is_an_error_only_for_who_wants_to_run_it() -> None:
    told = [(item.code, item.resource) for item in found(BY_ENV) if item.severity == "info"]
    assert ("not-read", "Deployment engine") in told
    with pytest.raises(InputErrors, match="does not say which model it serves"):
        load(["-"], stdin=io.StringIO(BY_ENV))


def test_requests_are_asked_of_containers_that_serve_no_model_too() -> None:
    assert "webhook-refuses" not in {finding.code for finding in found(NOT_VLLM)}
    without = NOT_VLLM.replace("resources: {requests: {cpu: 200m}}", "tty: true")
    (finding,) = [item for item in found(without) if item.code == "webhook-refuses"]
    assert "doesn't have the cpu request defined" in finding.message


def test_a_field_of_a_runtime_that_no_pod_has_is_a_warning() -> None:
    (finding,) = [item for item in found(RUNTIME) if item.code == "unknown-field"]
    assert "protocol" in finding.message


REFUSED = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: so}
spec:
  scaleTargetRef: {name: engine}
  minReplicaCount: 1
  maxReplicaCount: 3
  triggers: [{type: prometheus, metadata: {serverAddress: "http://p", query: q, threshold: "5"}}]
"""


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('"5"', "5", "refused", "The API server says: spec.triggers[0].metadata.threshold: Inva"),
        ("spec:", "spec:\n  foo: 1", "refused", 'unknown field "spec.foo"'),
        ("spec:", "spec:\n  idleReplicaCount: 2", "webhook-refuses", "IdleReplicaCount=2 must be"),
        ('"5"', '"0"', "operator-fails", "must be positive"),
    ],
)
def test_a_refusal_quotes_who_refuses(old: str, new: str, code: str, words: str) -> None:
    text = f"{BY_SHELL}---\n{REFUSED.replace(old, new)}"
    (finding,) = [item for item in found(text) if item.severity == "error"]
    assert finding.code == code
    assert words in finding.why
    assert finding.resource == "ScaledObject so"


@pytest.mark.parametrize(
    "text",
    [
        "resources: [scaledobject.yaml]\nnamePrefix: prod-\n",
        "apiVersion: v2\nname: my-chart\nversion: 0.1.0\n",
        "replicas: 3\nimage: nginx\n",
    ],
)
def test_files_of_other_tools_are_no_errors_where_one_only_looks(text: str) -> None:
    (finding,) = found(text)
    assert (finding.code, finding.severity) == ("not-read", "info")
    with pytest.raises(InputErrors):
        load(["-"], stdin=io.StringIO(text))


def test_a_slip_in_the_name_of_values_is_an_error() -> None:
    (finding,) = found("servingEngineSpecs: {}\n")
    assert finding.code == "refused"
    assert finding.hint == "did you mean `servingEngineSpec`?"
