"""PodMonitor, ServiceMonitor and annotations: what is scraped, with which labels."""

from __future__ import annotations

import pytest

from stoker.errors import InputError
from stoker.metrics.monitors import (
    PodFacts,
    PodPort,
    ServiceFacts,
    annotated,
    read_monitor,
    scrapes,
    selects,
)
from stoker.metrics.relabel import read_relabeling, relabelled

POD = PodFacts(
    "llama-0",
    "default",
    "10.0.0.7",
    (PodPort(8000, "metrics", "vllm"), PodPort(9000, "other", "sidecar")),
    {"app": "llama", "app.kubernetes.io/part-of": "demo"},
)
SERVICE = ServiceFacts(
    "llama-service", "default", {"http": "metrics"}, {"app": "llama"}, {"team": "a", "app": "x"}
)


def pod_monitor(**endpoint):
    return {
        "kind": "PodMonitor",
        "metadata": {"name": "vllm", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "llama"}},
            "podMetricsEndpoints": [{"port": "metrics", **endpoint}],
        },
    }


def test_pod_monitor_gives_the_labels_of_the_operator():
    (found,) = scrapes(read_monitor(pod_monitor()), POD)
    assert found.url == "http://10.0.0.7:8000/metrics"
    assert (found.interval, found.timeout) == (30, 10)
    assert found.labels.as_dict() == {
        "namespace": "default",
        "pod": "llama-0",
        "container": "vllm",
        "endpoint": "metrics",
        "job": "default/vllm",
        "instance": "10.0.0.7:8000",
    }


def test_path_scheme_interval_and_honor_labels_are_taken():
    fields = {"path": "/m", "scheme": "https", "interval": "1m30s", "honorLabels": True}
    (found,) = scrapes(read_monitor(pod_monitor(**fields)), POD)
    assert found.url == "https://10.0.0.7:8000/m"
    assert (found.interval, found.timeout, found.honor_labels) == (90, 10, True)


def test_service_monitor_names_the_service_and_copies_its_labels():
    document = {
        "kind": "ServiceMonitor",
        "metadata": {"name": "m", "namespace": "monitoring"},
        "spec": {
            "selector": {"matchLabels": {"team": "a"}},
            "namespaceSelector": {"any": True},
            "targetLabels": ["team"],
            "podTargetLabels": ["app.kubernetes.io/part-of"],
            "endpoints": [{"port": "http"}],
        },
    }
    (found,) = scrapes(read_monitor(document), POD, [SERVICE])
    assert found.labels.as_dict() == {
        "namespace": "default",
        "pod": "llama-0",
        "container": "vllm",
        "endpoint": "http",
        "job": "llama-service",
        "service": "llama-service",
        "team": "a",
        "app_kubernetes_io_part_of": "demo",
        "instance": "10.0.0.7:8000",
    }
    assert scrapes(read_monitor(document), POD, []) == []


def test_job_label_renames_the_job():
    document = pod_monitor()
    document["spec"]["jobLabel"] = "app"
    (found,) = scrapes(read_monitor(document), POD)
    assert found.labels.get("job") == "llama"


def test_relabelings_see_meta_labels_and_can_drop():
    step = {"sourceLabels": ["__meta_kubernetes_pod_label_app"], "targetLabel": "model"}
    (found,) = scrapes(read_monitor(pod_monitor(relabelings=[step])), POD)
    assert found.labels.get("model") == "llama"
    drop = {"sourceLabels": ["pod"], "regex": "llama-.*", "action": "drop"}
    assert scrapes(read_monitor(pod_monitor(relabelings=[drop])), POD) == []


def test_metric_relabelings_are_handed_on():
    steps = [{"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"}]
    (found,) = scrapes(read_monitor(pod_monitor(metricRelabelings=steps)), POD)
    assert relabelled({"__name__": "go_gc"}, found.metric_relabelings) is None
    assert relabelled({"__name__": "x"}, found.metric_relabelings) == {"__name__": "x"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"selector": {"matchLabels": {"app": "other"}}}, id="labels"),
        pytest.param({"namespaceSelector": {"matchNames": ["prod"]}}, id="namespace"),
        pytest.param({"podMetricsEndpoints": [{"port": "nope"}]}, id="port"),
    ],
)
def test_what_does_not_fit_is_not_scraped(change):
    document = pod_monitor()
    document["spec"] |= change
    assert scrapes(read_monitor(document), POD) == []


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        pytest.param({"interval": "soon"}, "`soon` is not a duration", id="interval"),
        pytest.param({"scrapeTimeout": "1h"}, "longer than the interval", id="timeout"),
        pytest.param({"port": None}, "names no port", id="port"),
        pytest.param({"relabelings": [{"action": "x"}]}, "unknown relabelling action", id="action"),
        pytest.param({"relabelings": [{}]}, "needs a `targetLabel`", id="target"),
        pytest.param({"relabelings": 1}, "must be a list", id="list"),
    ],
)
def test_mistakes_are_named_with_their_place(endpoint, words):
    with pytest.raises(InputError, match=words) as caught:
        read_monitor(pod_monitor(**endpoint))
    assert "spec.podMetricsEndpoints[0]" in caught.value.message


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["llama"], True),
        ("NotIn", ["llama"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_expressions_select(operator, values, fits):
    expression = {"key": "app", "operator": operator, "values": values}
    assert selects({"matchExpressions": [expression]}, POD.labels) is fits


def test_annotations_ask_for_a_scrape():
    notes = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
    pod = PodFacts("p", "ns", "h", (), {"a/b": "c"}, {**notes, "prometheus.io/path": "m"})
    found = annotated(pod)
    assert found is not None
    assert found.url == "http://h:8080/m"
    assert found.labels.as_dict() == {
        "a_b": "c",
        "namespace": "ns",
        "pod": "p",
        "job": "kubernetes-pods",
        "instance": "h:8080",
    }
    assert annotated(POD) is None


STEPS = [
    ({"sourceLabels": ["a", "b"], "targetLabel": "c"}, {"c": "1;2"}),
    (
        {"sourceLabels": ["a"], "regex": "(.)", "targetLabel": "x$1", "replacement": "v"},
        {"x1": "v"},
    ),
    ({"sourceLabels": ["a"], "targetLabel": "b", "replacement": ""}, {"b": ""}),
    ({"action": "labelmap", "regex": "(a)", "replacement": "new_$1"}, {"new_a": "1"}),
    ({"action": "labeldrop", "regex": "a|zz"}, {"a": ""}),
    ({"action": "labelkeep", "regex": "a"}, {"b": "", "T": ""}),
    ({"action": "lowercase", "sourceLabels": ["T"], "targetLabel": "t"}, {"t": "up"}),
    ({"action": "uppercase", "sourceLabels": ["T"], "targetLabel": "t"}, {"t": "UP"}),
    # 976 is what Prometheus' own relabelling tests say of hashmod 1000 of "baz".
    (
        {"action": "hashmod", "sourceLabels": ["z"], "targetLabel": "h", "modulus": 1000},
        {"h": "976"},
    ),
]


@pytest.mark.parametrize(("step", "change"), STEPS, ids=str)
def test_steps_change_labels(step, change):
    labels = {"a": "1", "b": "2", "T": "Up"}
    if "h" in change:
        labels["z"] = "baz"
    expected = {name: text for name, text in (labels | change).items() if text}
    assert relabelled(labels, [read_relabeling(step, "s")]) == expected


@pytest.mark.parametrize(("action", "kept"), [("keepequal", False), ("dropequal", True)])
def test_labels_are_compared(action, kept):
    step = read_relabeling({"action": action, "sourceLabels": ["a"], "targetLabel": "b"}, "s")
    assert (relabelled({"a": "1", "b": "2"}, [step]) is not None) is kept
    assert (relabelled({"a": "1", "b": "1"}, [step]) is not None) is not kept
