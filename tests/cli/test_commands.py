from __future__ import annotations

import asyncio
import json
import re

import pytest

from stoker import cli
from stoker.api import objects, workloads
from stoker.api.changes import Changes
from stoker.api.control import serve_control
from stoker.api.discovery import Discovery, write_discovery
from stoker.api.kinds import DEPLOYMENT, EVENT, HPA, POD, SCALED_OBJECT
from stoker.api.views import (
    DeploymentView,
    HpaView,
    MetricView,
    Overview,
    ScaledObjectView,
)
from stoker.cli.console import run
from stoker.clock import wall_time
from stoker.events import Event, ObjectRef
from stoker.resources.workload import Workload
from stoker.scaling.decision import Decision
from stoker.scaling.observation import Reader, TargetStatus
from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.targets.base import Pod
from stoker.tick import Samples, Tick

SPEC = ScalingSpec("llama-so", ScaleTargetRef("llama"), (TriggerSpec(0, "prometheus"),))
WORKLOAD = Workload("llama", "default", "llama3", ("vllm", "serve"))


def a_tick(reader, replicas=1, was=1, reason="ReadyForNewScale"):
    return Tick(
        time=0.0,
        reader=reader,
        namespace="default",
        name=SPEC.name,
        target=SPEC.target,
        samples=Samples(1, 10, 1.0),
        readings=(),
        values=(),
        recommendations=(),
        decision=Decision(replicas, was, reason, ""),
        status=TargetStatus(replicas, replicas),
    )


class FakeRun:
    """One model, as a run would show it."""

    def __init__(self):
        self.changes = Changes()
        self.created = wall_time() - 300
        self.calls = []
        self.pods = (self.a_pod("llama-7c6f-aaaaa"),)
        self.annotations = {}
        self.all_ticks = [a_tick(Reader.HPA), a_tick(Reader.KEDA)]
        about = ObjectRef("ScaledObject", SPEC.name)
        seen = (self.created, self.created + 60)
        self.events = [Event("Normal", "ScaledObjectReady", "is ready", about, "keda", *seen, 2)]

    def a_pod(self, name, **fields):
        ready = {"phase": "Running", "ready": True, "started_at": self.created}
        return Pod(name, "llama", "default", self.created, **(ready | fields))

    def objects(self, kind):
        scaled = ScaledObjectView(SPEC, self.created, annotations=self.annotations)
        hpa = HpaView(SPEC, self.created, (MetricView("s0-prometheus", 5.0),))
        deployment = DeploymentView(WORKLOAD, self.created, len(self.pods), self.pods)
        return {
            SCALED_OBJECT: lambda: [objects.scaled_object(scaled)],
            HPA: lambda: [objects.horizontal_pod_autoscaler(hpa)],
            DEPLOYMENT: lambda: [workloads.deployment(deployment)],
            POD: lambda: [workloads.pod(pod, WORKLOAD) for pod in self.pods],
            EVENT: lambda: [workloads.event(event) for event in self.events],
        }[kind]()

    def ticks(self, name):
        return self.all_ticks if name == SPEC.name else []

    def overview(self):
        return Overview(
            time=0.0,
            started_at=0.0,
            namespace="default",
            engine="simulated",
            gateway_url="",
            prometheus_url="",
            gpus_used=0,
            gpus_total=0,
            models=[],
            events=[],
        )

    async def logs(self, pod, *, follow, tail, previous):
        yield f"{pod} {follow} {tail} {previous}\n".encode()

    async def scale(self, kind, name, replicas):
        self.calls.append((kind.kind, name, replicas))
        return {}

    async def annotate(self, kind, name, annotations):
        self.calls.append((kind.kind, name, dict(annotations)))
        return {}


@pytest.fixture
async def served(tmp_path, monkeypatch, capsys):
    """A run, and a function that runs a command against it: exit code, stdout, stderr."""
    backend = FakeRun()
    server = await serve_control(backend, "t")
    write_discovery(tmp_path, Discovery(server.url, "t", 1, "default"))
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path))
    for module in ("get", "describe"):  # however slow the machine is
        monkeypatch.setattr(f"stoker.cli.{module}.wall_time", lambda: backend.created + 300)

    async def command(*arguments):
        def call():
            return cli.stoker.main(list(arguments), prog_name="stoker", standalone_mode=False)

        code = await asyncio.to_thread(run, call)
        return (code, *capsys.readouterr())

    yield backend, command
    await server.close()


async def test_get_lists_a_kind(served):
    _, stoker = served
    code, out, err = await stoker("get", "pods")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"NAME +READY   STATUS    RESTARTS   AGE\nllama-7c6f-aaaaa   1/1     Running   0 +5m\n", out
    )


async def test_get_of_several_kinds_separates_them(served):
    _, stoker = served
    _, out, _ = await stoker("get", "so,hpa,deploy")
    tables = out.split("\n\n")
    assert [table.splitlines()[1].split()[0] for table in tables] == [
        "scaledobject.keda.sh/llama-so",
        "horizontalpodautoscaler.autoscaling/keda-hpa-llama-so",
        "deployment.apps/llama",
    ]


async def test_get_of_one_object_as_json_is_the_object(served):
    _, stoker = served
    _, out, _ = await stoker("get", "so/llama-so", "-o", "json")
    assert json.loads(out)["metadata"]["name"] == "llama-so"
    _, out, _ = await stoker("get", "so", "-o", "json")
    assert json.loads(out)["kind"] == "List"


async def test_get_says_when_there_is_nothing(served, recorded_empty):
    _, stoker = served
    recorded = (recorded_empty / "empty_get_so_A.stderr.txt").read_text()
    assert await stoker("get", "so", "-n", "nope") == (0, "", recorded)


async def test_get_tells_what_is_missing_after_what_is_there(served):
    _, stoker = served
    code, out, err = await stoker("get", "so", "llama-so", "nope")
    assert (code, out.count("llama-so")) == (1, 1)
    assert err == 'Error from server (NotFound): scaledobjects.keda.sh "nope" not found\n'


async def test_get_watch_prints_changes_until_the_run_ends(served, capsys):
    backend, stoker = served
    watching = asyncio.create_task(stoker("get", "pods", "-w", "--output-watch-events"))
    printed = ""
    while "ADDED" not in printed:
        printed += capsys.readouterr().out
        await asyncio.sleep(0.02)
    backend.pods = (backend.a_pod("llama-7c6f-aaaaa", terminating=True),)
    backend.changes.notify()
    while "MODIFIED" not in printed:
        printed += capsys.readouterr().out
        await asyncio.sleep(0.02)
    assert [line.split()[0] for line in printed.splitlines()] == ["EVENT", "ADDED", "MODIFIED"]
    assert "Terminating" in printed
    watching.cancel()


async def test_describe_shows_the_events_of_the_object(served):
    _, stoker = served
    code, out, _ = await stoker("describe", "so", "llama-so")
    assert code == 0
    assert re.search(r"ScaledObjectReady  4m \(x2 over 5m\)  keda  is ready\n$", out)


async def test_logs_of_a_deployment_are_those_of_its_oldest_pod(served):
    _, stoker = served
    assert await stoker("logs", "deploy/llama", "--tail", "3") == (
        0,
        "llama-7c6f-aaaaa False 3 False\n",
        "",
    )


async def test_scale_says_what_kubectl_says_and_warns_of_the_autoscaler(served):
    backend, stoker = served
    code, out, err = await stoker("scale", "deployment/llama", "--replicas=3")
    assert (code, out) == (0, "deployment.apps/llama scaled\n")
    assert "stoker pause so llama-so" in err
    assert backend.calls == [("Deployment", "llama", 3)]
    backend.annotations = {"autoscaling.keda.sh/paused": "true"}
    assert (await stoker("scale", "deployment", "llama", "--replicas=3"))[2] == ""


@pytest.mark.parametrize(
    ("arguments", "annotations"),
    [
        (("pause", "llama-so"), {"autoscaling.keda.sh/paused": "true"}),
        (
            ("pause", "so", "llama-so", "--replicas", "2"),
            {"autoscaling.keda.sh/paused-replicas": "2"},
        ),
        (
            ("resume", "so/llama-so"),
            {"autoscaling.keda.sh/paused": None, "autoscaling.keda.sh/paused-replicas": None},
        ),
    ],
)
async def test_pause_and_resume_set_kedas_annotations(served, arguments, annotations):
    backend, stoker = served
    code, out, _ = await stoker(*arguments)
    assert (code, out.split()[0]) == (0, "scaledobject.keda.sh/llama-so")
    assert backend.calls == [("ScaledObject", "llama-so", annotations)]


async def test_only_scaled_objects_can_be_paused(served):
    _, stoker = served
    code, _, err = await stoker("pause", "deploy/llama")
    assert (code, err.splitlines()[0]) == (2, "error: a Deployment cannot be paused")


@pytest.mark.parametrize("name", [(), ("llama-so",), ("keda-hpa-llama-so",), ("deploy/llama",)])
async def test_explain_finds_the_scaled_object_by_any_of_its_names(served, name):
    _, stoker = served
    code, out, _ = await stoker("explain", *name)
    assert (code, out.splitlines()[0].split()[-2:]) == (0, ["HPA", "sync"])


async def test_explain_shows_kedas_look_when_it_changed_the_replicas(served):
    backend, stoker = served
    backend.all_ticks.append(a_tick(Reader.KEDA, 0, 1, "KEDAScaleTargetDeactivated"))
    _, out, _ = await stoker("explain")
    assert "0, was 1: KEDAScaleTargetDeactivated" in out
    _, out, _ = await stoker("explain", "--reader", "hpa", "-o", "json")
    assert json.loads(out)["reader"] == "HPA sync"


async def test_explain_says_that_nobody_looks_while_paused(served):
    backend, stoker = served
    assert "paused" not in (await stoker("explain"))[1]
    backend.annotations = {"autoscaling.keda.sh/paused": "true"}
    assert (await stoker("explain"))[1].startswith("paused: nobody looks until `stoker resume")


async def test_explain_of_something_else_is_not_found(served):
    _, stoker = served
    code, _, err = await stoker("explain", "nope")
    assert (code, err) == (
        1,
        'Error from server (NotFound): scaledobjects.keda.sh "nope" not found\n',
    )


async def test_top_once_ends(served):
    _, stoker = served
    assert await stoker("top", "--once") == (0, "", "")


async def test_without_a_run_a_command_says_how_to_start_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path))
    code = run(lambda: cli.stoker.main(["get", "so"], standalone_mode=False))
    told = capsys.readouterr().err
    assert code == 2
    assert told.startswith(f"error: no Stoker is running (looked in {tmp_path})\n")
    assert "stoker up FILE" in told
