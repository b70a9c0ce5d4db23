"""The tutorial, as published and corrected, with real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from urllib.request import urlopen

import pytest
from rich.console import Console
from tests.e2e.conftest import EXAMPLES, QUICK_FLAGS, QUICK_PROBES, stoker

from stoker.cli.demonstration import Pace, run

pytestmark = pytest.mark.e2e
TUTORIAL = EXAMPLES / "01-production-stack"


def test_the_demo_scales_up_and_down_and_no_request_fails(tmp_path, capsys):
    """The path of `make demo`, with probes that look at once."""
    values = tmp_path / "values.yaml"
    values.write_text((TUTORIAL / "values.yaml").read_text() + QUICK_PROBES)
    pace = Pace(
        values=str(values),
        up=("--max-num-seqs=4", *QUICK_FLAGS[1:]),
        trace_seconds=26,
        speed=6,
        limit=55.0,
    )
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    code = run(Console(width=200), state_dir, pace, live=False)
    out = capsys.readouterr().out
    assert code == 0, out
    assert "ok: replicas 1→" in out
    assert " 0 failed" in out


def test_the_file_as_published_freezes_at_two_or_more_replicas(up):
    """KEDA takes one element, every replica has its own: up once, and never down again."""
    stack = up((TUTORIAL / "as-published.yaml").read_text() + QUICK_PROBES, "--max-num-seqs=2")
    assert "the query has one element for each replica" in stack.log.read_text()
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    burst = stoker("load", stack.gateway, "--num-requests=30", "--prompt-len=200")
    assert burst.returncode == 0, burst.stderr
    stack.until(lambda: stack.ready() >= 2, "the burst has brought more replicas")

    def stuck() -> dict | None:
        """A look that found the queue empty for longer than the window, and changed nothing."""
        ticks = [t for t in stack.client.ticks(SCALED) if t["reader"] == "HPA sync"][-10:]
        failed = all(t["decision"]["reason"] == "FailedGetExternalMetric" for t in ticks)
        return ticks[-1] if len(ticks) == 10 and failed else None

    tick = stack.until(stuck, "ten syncs in a row have no metric")
    assert tick["decision"]["replicas"] == tick["decision"]["was"] >= 2
    assert stack.client.overview()["models"][0]["waiting"] == 0
    told = stoker("explain", "--state-dir", str(stack.state_dir)).stdout
    assert "returned multiple elements" in told
    assert "sum(vllm:num_requests_waiting)" in told, "explain says what to write"
    hpa = stack.objects("hpa")[0]
    active = next(c for c in hpa["status"]["conditions"] if c["type"] == "ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "FailedGetExternalMetric")


SCALED = "vllm-llama3-scaledobject"


def test_a_request_to_a_model_at_zero_is_held_and_answered(up):
    """The tutorial answers 503 here."""
    values = (EXAMPLES / "02-scale-to-zero" / "values.yaml").read_text()
    values = values.replace("initialCooldownPeriod: 300", "initialCooldownPeriod: 0")
    values = values.replace(
        "maxReplicaCount: 5", "maxReplicaCount: 5\n        cooldownPeriod: 3"
    ).replace("[1m]", "[5s]")
    stack = up(values + QUICK_PROBES)

    def at_zero() -> bool:
        return not stack.objects("pods") and stack.client.overview()["models"][0]["wanted"] == 0

    stack.until(at_zero, "an unused model is at zero")
    answer = stack.chat(max_tokens=3)
    assert answer["usage"]["completion_tokens"] == 3
    events = {event["reason"]: event["message"] for event in stack.objects("events")}
    assert "from 0 to 1" in events["KEDAScaleTargetActivated"]
    stack.until(at_zero, "it is at zero again after the cooldown")


@pytest.mark.needs("curl")
def test_the_prometheus_api_answers_as_the_tutorials_curl_expects(up):
    stack = up((TUTORIAL / "values.yaml").read_text() + QUICK_PROBES)
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    url = stack.client.overview()["prometheus_url"]

    def answer() -> dict | None:
        command = [
            "curl", "-sG", f"{url}/api/v1/query", "--data-urlencode",
            "query=vllm:num_requests_waiting",
        ]  # fmt: skip
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert found["status"] == "success"
        return found["data"]["result"][0] if found["data"]["result"] else None

    metric = stack.until(answer, "the replica has been scraped")["metric"]
    assert metric["model_name"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert {"namespace", "pod", "container", "job", "instance", "endpoint", "service"} <= set(
        metric
    )


POD_MONITOR = """
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: engines}
spec:
  selector: {matchLabels: {app.kubernetes.io/component: serving-engine}}
  podMetricsEndpoints:
    - port: container-port
      relabelings: [{sourceLabels: [__meta_kubernetes_pod_label_model], targetLabel: team}]
    - port: zmq-port
"""


def test_a_pod_monitor_beside_the_values_names_the_series(up):
    stack = up((TUTORIAL / "values.yaml").read_text() + QUICK_PROBES + POD_MONITOR)

    def seen() -> dict | None:
        model = stack.client.overview()["models"][0]
        return model if model["waiting"] is not None else None

    stack.until(seen, "the live view has found the replica's series")
    url = stack.client.overview()["prometheus_url"]
    query = f"{url}/api/v1/query?query=vllm:num_requests_waiting"
    with urlopen(query) as answer:  # noqa: S310 - our own server
        (series,) = json.load(answer)["data"]["result"]
    assert series["metric"]["job"] == "default/engines"
    assert series["metric"]["team"] == "llama3"
    (event,) = [e for e in stack.objects("events") if e["reason"] == "NotScraped"]
    assert "55555" in event["message"], "the port that no process here has"


def test_the_commands_of_the_tutorial_print_what_kubectl_prints(up):
    stack = up((TUTORIAL / "values.yaml").read_text() + QUICK_PROBES)
    stack.until(lambda: stack.ready() == 1, "one replica is ready")
    where = f"--state-dir={stack.state_dir}"
    lines = stoker("get", "scaledobjects", where).stdout.splitlines()
    assert lines[0].split() == [
        "NAME", "SCALETARGETKIND", "SCALETARGETNAME", "MIN", "MAX", "READY", "ACTIVE",
        "FALLBACK", "PAUSED", "TRIGGERS", "AUTHENTICATIONS", "AGE",
    ]  # fmt: skip
    assert lines[1].split()[:6] == [
        SCALED, "apps/v1.Deployment", "vllm-llama3-deployment-vllm", "1", "3", "True",
    ]  # fmt: skip
    hpa = stoker("get", "hpa", where).stdout.splitlines()[1].split()
    assert hpa[:2] == [f"keda-hpa-{SCALED}", "Deployment/vllm-llama3-deployment-vllm"]
    paused = stoker("pause", SCALED, where)
    assert paused.returncode == 0, paused.stderr
    assert not stack.objects("hpa"), "KEDA deletes the HPA of a paused object"
    scaled = stoker("scale", "deployment/vllm-llama3-deployment-vllm", "--replicas=2", where)
    assert scaled.stdout == "deployment.apps/vllm-llama3-deployment-vllm scaled\n"
    stack.until(lambda: stack.ready() == 2, "a paused object leaves the replicas to the user")
    assert stoker("resume", SCALED, where).returncode == 0
    stack.until(lambda: stack.ready() == 1, "the HPA has the number again")


def test_the_module_runs_as_a_program():
    assert (
        stoker("version").stdout
        == subprocess.run(
            [sys.executable, "-m", "stoker", "version"], capture_output=True, text=True, check=True
        ).stdout
    )
