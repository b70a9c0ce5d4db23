"""From the user's monitors to targets on this machine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.resources import Bundle, load
from stoker.stack.embedded import samples_of
from stoker.stack.options import Options
from stoker.stack.scraping import scrape_notices, scrape_targets
from stoker.targets.base import Pod

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}, annotations: {ANNOTATIONS}}
    spec:
      containers:
        - name: server
          image: vllm/vllm-openai:v0.32.0
          args: [--model, llama]
          ports: [{name: http, containerPort: 8000}]
        - name: sidecar
          image: proxy
          ports: [{name: side, containerPort: 9100}]
"""
POD_MONITOR = """\
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: vllm, namespace: monitoring}
spec:
  namespaceSelector: {any: true}
  selector: {matchLabels: {app: engine}}
  podMetricsEndpoints:
    - port: PORT
      path: /metrics
      interval: 15s
      honorLabels: true
      relabelings: [{targetLabel: team, replacement: a}]
      metricRelabelings: [{action: drop, sourceLabels: [__name__], regex: python_.*}]
"""
SERVICE_MONITOR = """\
---
apiVersion: v1
kind: Service
metadata: {name: front, labels: {of: engine}}
spec: {selector: {app: engine}, ports: [{name: web, port: 80, targetPort: http}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: vllm}
spec: {selector: {matchLabels: {of: engine}}, endpoints: [{port: web}]}
"""
ANNOTATED = "prometheus.io/scrape: 'true', prometheus.io/port: 'PORT'"
ELSEWHERE = (
    "127.0.0.1:9100/metrics of engine: not scraped, a replica here has the engine's port 8000 alone"
)
POD_NAME = "engine-0123456789-abcde"


def files(*more: str, annotations: str = "") -> Bundle:
    text = DEPLOYMENT.replace("ANNOTATIONS", annotations) + "".join(more)
    return load(["-"], stdin=io.StringIO(text))


def targets(bundle: Bundle, interval: float | None = None):
    (application,) = bundle.applications
    pod = Pod(
        POD_NAME, "engine", "default", 0.0, phase="Running", port=40123, labels={"app": "engine"}
    )
    options = Options(Path(), scrape_interval=interval)
    running = [(application.workload, (pod,))]
    return scrape_targets(running, options, bundle.monitors, bundle.services)


def notices(bundle: Bundle) -> list[str]:
    workloads = [application.workload for application in bundle.applications]
    return scrape_notices(workloads, bundle.monitors, bundle.services)


def test_a_pod_monitor_is_followed_to_the_port_of_the_replica():
    bundle = files(POD_MONITOR.replace("PORT", "http"))
    (target,) = targets(bundle)
    assert target.url == "http://127.0.0.1:40123/metrics"
    assert target.labels.as_dict() == {
        "namespace": "default",
        "pod": POD_NAME,
        "container": "server",
        "endpoint": "http",
        "job": "monitoring/vllm",
        "team": "a",
        "instance": "127.0.0.1:40123",
    }
    assert (target.interval, target.timeout, target.honor_labels) == (15.0, 10.0, True)
    assert target.metric_relabelings[0].action == "drop"
    assert notices(bundle) == []


def test_a_service_monitor_finds_the_pod_through_the_service():
    (target,) = targets(files(SERVICE_MONITOR))
    found = target.labels.as_dict()
    assert (found["job"], found["service"], found["endpoint"]) == ("front", "front", "web")
    assert (target.url, target.interval) == ("http://127.0.0.1:40123/metrics", 30.0)


def test_annotations_are_followed():
    (target,) = targets(files(annotations=ANNOTATED.replace("PORT", "8000")))
    assert target.labels.get("job") == "kubernetes-pods"
    assert target.labels.get("app") == "engine"
    assert (target.url, target.interval) == ("http://127.0.0.1:40123/metrics", 5.0)


@pytest.mark.parametrize(
    ("bundle", "sentence"),
    [
        (
            files(POD_MONITOR.replace("PORT", "side")),
            f"PodMonitor vllm asks for {ELSEWHERE}",
        ),
        (
            files(annotations=ANNOTATED.replace("PORT", "9100")),
            f"annotation prometheus.io/scrape asks for {ELSEWHERE}",
        ),
        (
            files(POD_MONITOR.replace("PORT", "http").replace("{app: engine}", "{app: other}")),
            "PodMonitor vllm (<stdin>:18:1) selects no port of any model server",
        ),
    ],
    ids=["port of a sidecar", "port in an annotation", "no pod"],
)
def test_what_cannot_be_scraped_is_told_and_the_replica_is_scraped_as_ever(bundle, sentence):
    assert notices(bundle) == [sentence]
    (target,) = targets(bundle)
    assert (target.labels.get("job"), target.interval) == ("engine", 5.0)


@pytest.mark.parametrize("more", ["", POD_MONITOR.replace("PORT", "http")], ids=["none", "monitor"])
def test_an_interval_that_is_given_counts_for_every_target(more):
    (target,) = targets(files(more), interval=2.0)
    assert (target.interval, target.timeout) == (2.0, 2.0)


def test_samples_of_a_workload_are_found_whatever_the_job_and_counted_once_a_pod():
    (application,) = files().applications
    storage = Storage()
    for job, pod, namespace in (
        ("monitoring/vllm", POD_NAME, "default"),
        ("front", POD_NAME, "default"),
        ("engine", "engine-b-0123456789-abcde", "default"),
        ("engine", POD_NAME, "elsewhere"),
    ):
        labels = {"__name__": "up", "job": job, "pod": pod, "namespace": namespace}
        storage.append(Labels(labels), 100.0, 1.0)
    found = samples_of(storage, application.workload, 101.0)
    assert (found.replicas_scraped, found.series, found.newest_age) == (1, 2, 1.0)
