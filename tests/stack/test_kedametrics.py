"""KEDA's metrics of scalers, and what triggers may ask of their run."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stoker.api.kinds import TRIGGER
from stoker.api.triggers import trigger as trigger_object
from stoker.errors import StokerError
from stoker.metrics.monitors import ServiceFacts
from stoker.resources.workload import Workload
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import ScaleTargetRef, ScalingSpec, TriggerSpec
from stoker.stack.kedametrics import keda_page
from stoker.stack.neighbours import Neighbours
from stoker.targets.base import Pod
from stoker.triggers.polling import TriggerRecord
from stoker.ui.columns import columns_of

SPEC = ScalingSpec(
    "llama",
    ScaleTargetRef("llama"),
    (TriggerSpec(0, "redis"), TriggerSpec(1, "prometheus", name="queue")),
)


def record(index: int = 0, name: str = "s0-redis-q") -> TriggerRecord:
    return TriggerRecord(SPEC.triggers[index], name, 5.0)


def reading(**more: Any) -> TriggerReading:
    return TriggerReading(0, "s0-redis-q", None, 5.0, **more)


def scaled(*records: TriggerRecord) -> Any:
    triggers = [
        SimpleNamespace(spec=one.spec, is_kedas=True, records={one.metric_name: one})
        for one in records
    ]
    return SimpleNamespace(controller=SimpleNamespace(spec=SPEC), triggers=triggers)


def samples(*records: TriggerRecord) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(keda_page([scaled(*records)], [])):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_the_page_has_kedas_names_and_labels() -> None:
    good, bad = record(), record(1, "s1-prometheus")
    good.note(replace(reading(active=True), value=7.0), 100.0, 0.25)
    for now in (1.0, 2.0):
        bad.note(reading(error="no"), now, 0.5)

    page = samples(good, bad)

    labels = {
        "namespace": "default", "scaledObject": "llama", "scaler": "redisScaler",
        "triggerIndex": "0", "metric": "s0-redis-q", "type": "scaledobject",
    }  # fmt: skip
    named = {**labels, "scaler": "queue", "triggerIndex": "1", "metric": "s1-prometheus"}
    assert page["keda_scaler_metrics_value"] == [(labels, 7.0)]
    assert page["keda_scaler_active"] == [(labels, 1.0), (named, 0.0)]
    assert page["keda_scaler_metrics_latency_seconds"] == [(labels, 0.25), (named, 0.5)]
    assert page["keda_scaler_detail_errors_total"] == [(labels, 0.0), (named, 2.0)]
    assert page["stoker_scaler_last_success_timestamp_seconds"] == [(labels, 100.0)]
    own = {"namespace": "default", "scaledObject": "llama"}
    assert page["keda_scaled_object_errors_total"] == [(own, 2.0)]
    assert page["keda_scaled_object_paused"] == [(own, 0.0)]
    assert page["keda_trigger_registered_total"] == [
        ({"type": "prometheus"}, 1.0),
        ({"type": "redis"}, 1.0),
    ]


def test_a_value_stays_while_its_trigger_fails() -> None:
    one = record()
    one.note(replace(reading(), value=7.0), 1.0, 0.1)
    one.note(reading(error="no"), 2.0, 0.1)

    assert samples(one)["keda_scaler_metrics_value"][0][1] == 7.0


def test_a_trigger_in_a_table() -> None:
    one = record()
    one.note(replace(reading(active=True), value=7.25), 1000.0, 0.012)
    one.note(reading(error="no"), 1010.0, 0.012)
    found = trigger_object(one, SPEC, 0.0)

    cells = [column.cell(found, 1040.0) for column in columns_of(TRIGGER, wide=True)]

    assert cells == [
        "llama-s0-redis-q", "redis", "7.25", "5", "False", "1 (since 30s)", "40s ago",
        "llama", "12ms", "no",
    ]  # fmt: skip
    fresh = trigger_object(record(), SPEC, 0.0)
    cells = [column.cell(fresh, 1.0) for column in columns_of(TRIGGER)]
    assert cells[2:] == ["<unknown>", "5", "False", "0", "<none>"]


def pod(name: str, **more: Any) -> Pod:
    return Pod(name, "llama", "default", 0.0, **{"phase": "Running", "port": 4711, **more})


def neighbours(*pods: Pod) -> Neighbours:
    workload = Workload("llama", "default", "llama", (), pod_labels={"app": "llama"})
    deployment = SimpleNamespace(pods=lambda: pods)
    running: Any = [SimpleNamespace(workload=workload, deployment=deployment)]
    services = (
        ServiceFacts("front", "default", {"http": 8000}, {"app": "llama"}),
        ServiceFacts("all", "default", {}, {}),
    )
    bundle: Any = SimpleNamespace(services=services)
    return Neighbours(running, bundle)


def test_pods_have_the_labels_of_their_template_and_their_own() -> None:
    (facts,) = neighbours(pod("a", phase="Pending", labels={"hash": "x"})).pods()

    assert (facts.namespace, facts.phase) == ("default", "Pending")
    assert facts.labels == {"app": "llama", "hash": "x"}


def test_the_endpoints_of_a_service_are_its_ready_pods() -> None:
    run = neighbours(
        pod("a", ready=True, port=1),
        pod("b", ready=False, port=2),
        pod("c", ready=True, terminating=True, port=3),
        pod("d", ready=True, port=None),
    )

    assert run.endpoints("front", "default", 80) == ["http://127.0.0.1:1"]
    assert run.endpoints("all", "default", 80) == []  # no selector selects nothing
    with pytest.raises(StokerError, match="failed to get kubernetes endpoints"):
        run.endpoints("front", "other", 80)
