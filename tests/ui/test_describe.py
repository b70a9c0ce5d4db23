from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import yaml

from stoker.api.objects import horizontal_pod_autoscaler
from stoker.api.views import DeploymentView, HpaView
from stoker.api.workloads import deployment, pod
from stoker.resources.workload import Probe, Workload
from stoker.targets.base import Pod
from stoker.ui.describe import describe, events_about, smart_label

NOW = 1_800_000_000.0
AGE = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
EVENT = re.compile(
    r"  (?P<type>Normal|Warning) +(?P<reason>\S+) +(?P<age>\S+)(?: \(x(?P<count>\d+) over "
    r"(?P<first>\S+)\))? +(?P<source>\S+) +(?P<message>.*)"
)
pytestmark = pytest.mark.usefixtures("_utc")


def time_of(age):
    minutes, seconds = AGE.fullmatch(age).groups(default="0")
    return datetime.fromtimestamp(NOW - int(minutes) * 60 - int(seconds), UTC).isoformat()


def recorded_events(text):
    """The events of a recorded description, as objects again."""
    found = [EVENT.fullmatch(line) for line in text.partition("\nEvents:")[2].splitlines()]
    return [
        {
            "type": match["type"],
            "reason": match["reason"],
            "lastTimestamp": time_of(match["age"]),
            "firstTimestamp": time_of(match["first"] or match["age"]),
            "count": int(match["count"] or 1),
            "source": {"component": match["source"]},
            "message": match["message"],
        }
        for match in found
        if match
    ]


def check(recorded, kind, name, folder="steady"):
    short = {"scaledobject": "so", "hpa": "hpa"}[kind]
    text = (recorded / folder / f"describe_{kind}_llama-{name}.txt").read_text()
    stored = (recorded / folder / f"get_{short}_llama-{name}_yaml.txt").read_text()
    found = yaml.safe_load(stored)
    # Between the two commands half a second went by: the poll may have written a newer status.
    for told, path in [("Resource Version", "resourceVersion"), ("UID", "uid")]:
        if match := re.search(rf"^  {told}: +(\S+)$", text, re.MULTILINE):
            found["metadata"][path] = match[1]
    if match := re.search(r"^  Last Active Time: +(\S+)$", text, re.MULTILINE):
        found["status"]["lastActiveTime"] = match[1]
    assert describe(found, recorded_events(text), NOW) == text


@pytest.mark.parametrize(
    "name",
    ["active", "badauth", "error", "fallback", "formula", "paused", "pausedat2", "wake", "zero"],
)
def test_a_scaled_object_is_described_byte_by_byte_as_kubectl_does(recorded, name):
    check(recorded, "scaledobject", name)


@pytest.mark.parametrize(
    "name", ["active", "badauth", "error", "fallback", "formula", "wake", "zero"]
)
def test_an_hpa_is_described_byte_by_byte_as_kubectl_does(recorded, name):
    check(recorded, "hpa", name)


@pytest.mark.parametrize("kind", ["scaledobject", "hpa"])
def test_a_new_object_without_status_is_described_as_kubectl_does(recorded, kind):
    check(recorded, kind, "active", "just-created")


CREATED = datetime(2026, 11, 22, 16, 3, 8, tzinfo=UTC).timestamp()
HASH = re.compile(r"NewReplicaSet: +(\S+) \((\d)/")


def a_deployment(name, replicas, replica_set, **template):
    labels = {"app": name}
    workload = Workload(
        name=name,
        namespace="demo",
        model=name,
        command=("--model", "meta-llama/Llama-3.1-8B-Instruct"),
        image="vllm/vllm-openai:v0.11.0",
        labels=labels,
        pod_labels=labels,
        **template,
    )
    pods = tuple(
        Pod(f"{replica_set}-{n:05}", name, "demo", CREATED, "Running", ready=True, started_at=1.0)
        for n in range(replicas)
    )
    return workload, deployment(DeploymentView(workload, CREATED, replicas, pods))


@pytest.mark.parametrize(
    "name", ["active", "badauth", "error", "fallback", "formula", "paused", "wake"]
)
def test_a_deployment_is_described_byte_by_byte_as_kubectl_does(recorded, name):
    text = (recorded / "steady" / f"describe_deployment_llama-{name}.txt").read_text()
    replica_set, replicas = HASH.search(text).groups()
    _, found = a_deployment(f"llama-{name}", int(replicas), replica_set)
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["args"] = container.pop("command")  # the recorded one leaves the image's entrypoint
    if text.index("Progressing ") < text.index("Available "):
        found["status"]["conditions"].reverse()
    assert describe(found, recorded_events(text), NOW) == text


def test_a_deployment_shows_limits_probes_and_environment():
    probe = Probe(period=10, timeout=1, failure_threshold=60)
    _, found = a_deployment(
        "d", 1, "d-1", gpus=1, startup_probe=probe, env={"HF_HOME": "/data", "LONGER_NAME": "x"}
    )
    text = describe(found, [], NOW)
    assert "    Limits:\n      nvidia.com/gpu:  1\n" in text
    assert (
        "http-get http://:8000/health delay=0s timeout=1s period=10s #success=1 #failure=60" in text
    )
    assert "    Environment:\n      HF_HOME:      /data\n      LONGER_NAME:  x\n" in text


def test_a_pod_tells_its_state_its_address_and_its_process():
    workload, _ = a_deployment("d", 1, "d-1")
    replica = Pod(
        "d-1-x",
        "d",
        "demo",
        CREATED,
        "Running",
        ready=True,
        started_at=CREATED + 1,
        port=8101,
        pid=4242,
        gpu_ids=(0, 1),
    )
    text = describe(pod(replica, workload), [], NOW)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for expected in (
        "Status: Running",
        "Start Time: Sun, 22 Nov 2026 16:03:09 +0000",
        "Annotations: stoker/gpus: 0,1",
        "stoker/pid: 4242",
        "Host Port: 8101/TCP",
        "State: Running",
        "Started: Sun, 22 Nov 2026 16:03:09 +0000",
        "Events: <none>",
    ):
        assert expected in lines


def test_a_pod_that_waits_for_a_gpu_says_so_in_its_conditions():
    workload, _ = a_deployment("d", 1, "d-1")
    replica = Pod("d-1-x", "d", "demo", CREATED, message="0/1 nodes are available")
    found = pod(replica, workload)
    assert re.search(r"^  PodScheduled +False$", describe(found, [], NOW), re.MULTILINE)
    scheduled = found["status"]["conditions"][-1]
    assert (scheduled["reason"], scheduled["message"]) == (
        "Unschedulable",
        "0/1 nodes are available",
    )


def test_events_are_chosen_by_kind_name_and_namespace():
    found = {"kind": "Pod", "metadata": {"name": "a", "namespace": "x"}}
    involved = [("Pod", "a", "x"), ("Pod", "a", "y"), ("Deployment", "a", "x"), ("Pod", "b", "x")]
    events = [
        {"involvedObject": {"kind": kind, "name": name, "namespace": namespace}}
        for kind, name, namespace in involved
    ]
    assert events_about(found, events) == events[:1]


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("apiVersion", "API Version"),
        ("scaleTargetGVKR", "Scale Target GVKR"),
        ("uid", "UID"),
        ("hpaName", "Hpa Name"),
        ("s0-prometheus", "s0-prometheus"),
        ("is-active", "Is - Active"),
    ],
)
def test_headings_are_made_from_field_names(field, label):
    assert smart_label(field) == label


def test_long_annotations_stand_below_their_key(a_spec):
    spec = a_spec(annotations={"note": "x" * 200})
    text = describe(horizontal_pod_autoscaler(HpaView(spec, CREATED, ())), [], NOW)
    assert "note:\n" in text
    assert "x" * 135 + "...\n" in text
