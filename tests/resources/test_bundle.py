"""Deployments and ScaledObjects of several documents, joined."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.checks import check
from stoker.errors import InputErrors
from stoker.resources import Bundle, Probe, load

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-production-stack" / "as-published.yaml"

Load = Callable[..., Bundle]
Faults = Callable[[str], list[tuple[str, str | None]]]

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine, labels: {app: engine}}
spec:
  replicas: 2
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}}
    spec:
      terminationGracePeriodSeconds: 120
      containers:
        - name: server
          image: vllm/vllm-openai:v0.32.0
          args: [--model, meta/llama, --port, "9000", --served-model-name, llama]
          env:
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
            - {name: OTHER, valueFrom: {secretKeyRef: {name: nowhere, key: token}}}
          ports: [{name: http, containerPort: 9000}]
          readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 2}
          resources: {limits: {nvidia.com/gpu: 2, cpu: 4}}
"""
SCALED_OBJECT = """\
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: engine-scaler}
spec:
  scaleTargetRef: {name: engine}
  minReplicaCount: 1
  triggers:
    - {type: prometheus, metadata: {serverAddress: http://p:9090, query: q, threshold: "5"}}
"""


def test_a_deployment_with_a_vllm_container_becomes_a_workload(bundle: Load) -> None:
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: hf}\ndata: {token: c2VjcmV0}\n"
    (application,) = bundle(DEPLOYMENT + secret).applications
    workload = application.workload
    assert application.scaling is None
    assert workload.command[:4] == ("vllm", "serve", "--model", "meta/llama")
    assert (workload.model, workload.port, workload.replicas) == ("llama", 9000, 2)
    assert dict(workload.env) == {"TOKEN": "secret"}
    assert workload.readiness_probe == Probe(path="/health", period=2)
    assert workload.startup_probe is None
    assert (workload.gpus, workload.termination_grace_period) == (2, 120)
    assert workload.origin == "<stdin>:1"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("[vllm, serve, m/x]", ("vllm", "serve", "m/x")),
        ("[sh, -c, exec vllm serve m/x]", ("vllm", "serve", "m/x")),
        ("[/bin/bash, -lc, 'vllm serve \"m/x\" \\\n    --seed 1']", None),
        (
            "[sh, -c, cd /x && vllm serve m/x --port 81]",
            ("sh", "-c", "cd /x && vllm serve m/x --port 81"),
        ),
        ("[python3, -m, vllm.entrypoints.openai.api_server, --model=m/x]", None),
    ],
)
def test_the_model_is_found_in_any_usual_command(
    bundle: Load, command: str, expected: tuple[str, ...] | None
) -> None:
    lines = DEPLOYMENT.replace(
        'args: [--model, meta/llama, --port, "9000", --served-model-name, llama]',
        f"command: {command}",
    )
    workload = bundle(lines).applications[0].workload
    assert workload.model == "m/x"
    if expected is not None:
        assert workload.command == expected


def test_a_scaled_object_finds_its_deployment_in_either_order(bundle: Load) -> None:
    for text in (DEPLOYMENT + SCALED_OBJECT, SCALED_OBJECT + "---\n" + DEPLOYMENT):
        (application,) = bundle(text).applications
        assert application.scaling is not None
        assert application.scaling.name == "engine-scaler"


def test_a_scaled_object_may_scale_what_the_chart_renders(bundle: Load) -> None:
    values = """\
servingEngineSpec:
  modelSpec:
    - {name: a, repository: r, tag: t, modelURL: m, requestCPU: 1, requestMemory: 1Gi}
"""
    target = SCALED_OBJECT.replace("name: engine}", "name: vllm-a-deployment-vllm}")
    (application,) = bundle(values + target).applications
    assert application.from_chart
    assert application.scaling is not None


def test_other_kinds_are_named_and_skipped(bundle: Load) -> None:
    ingress = "---\napiVersion: v1\nkind: Ingress\nmetadata: {name: front}\n"
    skipped = bundle(DEPLOYMENT + ingress).skipped
    assert [(item.what, str(item.place)) for item in skipped] == [("Ingress front", "<stdin>:22:1")]


def test_a_list_is_opened(bundle: Load) -> None:
    body = "".join(f"    {line}\n" for line in DEPLOYMENT.splitlines())
    text = "apiVersion: v1\nkind: List\nitems:\n  -\n" + body
    assert bundle(text).applications[0].workload.name == "engine"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            DEPLOYMENT + SCALED_OBJECT.replace("{name: engine}", "{name: engin}"),
            "the scale target `Deployment engin` is not in these files",
            "did you mean `engine`?",
        ),
        (
            DEPLOYMENT + SCALED_OBJECT.replace("{name: engine}", "{name: engine, kind: Pod}"),
            "the scale target `Pod engine` is not in these files",
            "there is engine",
        ),
        (
            DEPLOYMENT + SCALED_OBJECT + SCALED_OBJECT.replace("engine-scaler", "second"),
            "two ScaledObjects scale `engine`, the other is `engine-scaler`",
            None,
        ),
        (DEPLOYMENT + "---\n" + DEPLOYMENT, "two Deployments have the name `engine`", None),
        (SCALED_OBJECT.replace("ScaledObject", "scaledobject"), "unknown kind", "`ScaledObject`?"),
        ("foo: 1\n", "neither a Kubernetes object (no `kind`) nor", None),
        ("servingEngineSpecs: {}\n", "neither a Kubernetes", "did you mean `servingEngineSpec`?"),
        ("apiVersion: v1\n", "`kind` is required", None),
        ("apiVersion: v1\nkind: Ingress\n", "no model server in these files, only Ingress", None),
        (
            DEPLOYMENT.replace("readinessProbe", "readynessProbe"),
            "unknown field `readynessProbe`",
            "did you mean `readinessProbe`?",
        ),
        (DEPLOYMENT.replace("cpu: 4", "cpu: four"), "'four' is not a quantity", None),
        (
            DEPLOYMENT.replace("valueFrom: {secretKeyRef: {name: hf, key: token}}", "value: 1"),
            "env[0].value` must be a string, not 1",
            'put it in quotes: `value: "1"`',
        ),
        (
            DEPLOYMENT.replace("--model, meta/llama, ", "").replace(
                ", --served-model-name, llama", ""
            ),
            "container `server` does not say which model it serves",
            None,
        ),
    ],
)
def test_what_does_not_fit_together_is_told(
    faults: Faults, text: str, message: str, hint: str | None
) -> None:
    found = faults(text)
    assert len(found) == 1
    assert message in found[0][0]
    if hint is not None:
        assert hint in (found[0][1] or "")


def test_the_fault_of_a_target_is_not_told_as_its_absence(faults: Faults) -> None:
    text = DEPLOYMENT.replace("replicas: 2", "replicas: -2") + SCALED_OBJECT
    assert [fault for fault, _ in faults(text)] == [
        "<stdin>:5:13: `spec.replicas` must be at least 0, not -2"
    ]


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_is_read_or_told_and_nothing_else(data: st.DataObject) -> None:
    """Lines swapped for others, cut or doubled: an answer or errors with places, never a crash."""
    lines = (EXAMPLE.read_text() + "---\n" + DEPLOYMENT + SCALED_OBJECT).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["cut", "double", "value", "indent", "null"]))
        if change == "cut":
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "indent":
            lines[at] = "  " + lines[at]
        else:
            value = "" if change == "null" else data.draw(st.sampled_from(["5", "[x]", "{y: 1}"]))
            lines[at] = lines[at].split(":")[0] + ": " + value
    text = "\n".join(lines)
    try:
        bundle = load(["-"], stdin=io.StringIO(text))
    except InputErrors:
        return
    assert bundle.applications
    check(bundle)


POD_MONITOR = """\
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: vllm}
spec:
  selector: {matchLabels: {app: engine}}
  podMetricsEndpoints:
    - port: http
      interval: 15s
"""


def test_monitors_and_services_are_kept_and_not_skipped(bundle: Load) -> None:
    service = "---\nkind: Service\nmetadata: {name: front}\nspec: {ports: [{port: 80}]}\n"
    found = bundle(DEPLOYMENT + POD_MONITOR + service, namespace="models")
    assert not found.skipped
    (placed,) = found.monitors
    assert (str(placed), str(placed.origin)) == ("PodMonitor vllm", "<stdin>:22:1")
    assert placed.monitor.namespaces == {"models"}
    assert [(one.name, one.namespace, one.ports) for one in found.services] == [
        ("front", "models", {"": 80})
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "interval: 15s",
            "interval: soon",
            "<stdin>:29:17: `spec.podMetricsEndpoints[0].interval`",
        ),
        ("port: http", "path: /m", "<stdin>:28:7: `spec.podMetricsEndpoints[0]` names no port"),
        ("interval: 15s", "relabelings: [{regex: '('}]", "<stdin>:29:"),
        (
            "{matchLabels: {app: engine}}",
            "{matchExpressions: [{key: a, operator: Is}]}",
            "<stdin>:26:32: unknown operator `Is`",
        ),
    ],
    ids=["duration", "port", "relabeling", "operator"],
)
def test_what_is_wrong_in_a_monitor_has_its_place(
    faults: Faults, old: str, new: str, told: str
) -> None:
    ((error, _),) = faults(DEPLOYMENT + POD_MONITOR.replace(old, new))
    assert error.startswith(told)


def test_a_scrape_port_that_is_no_number_is_refused(faults: Faults) -> None:
    annotations = "labels: {app: engine}, annotations: {prometheus.io/port: http}}\n    spec"
    ((error, _),) = faults(DEPLOYMENT.replace("labels: {app: engine}}\n    spec", annotations))
    assert "must be the number of a port, not `http`" in error
