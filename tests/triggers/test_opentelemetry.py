"""Triggers of the otel add-on, answered by what was pushed here."""

from __future__ import annotations

import pytest

from stoker.errors import InputError
from stoker.metrics.otlp.addon import MetricStore
from stoker.metrics.otlp.receiver import RawPoint
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.opentelemetry import OpenTelemetryTrigger, asks_the_addon
from stoker.triggers.registry import build_trigger

NOW = 1_700_000_000.0
METADATA = {
    "scalerAddress": "keda-otel-scaler.keda.svc:4318",
    "metricQuery": 'sum(vllm:num_requests_running{deployment="llama"})',
    "targetValue": "4",
}


def build(store=None, **changed):
    metadata = {k: v for k, v in (METADATA | changed).items() if v is not None}
    context = TriggerContext(
        lambda _: None, name="llama", namespace="llm", pushed=store or MetricStore()
    )
    return build_trigger(TriggerSpec(0, "external", metadata), context)


@pytest.fixture
def store():
    store = MetricStore()
    for pod, value in (("a", 3.0), ("b", 6.0)):
        point = RawPoint(
            "vllm:num_requests_running", {"pod": pod, "deployment": "llama"}, value, NOW
        )
        store.put([point], NOW)
    return store  # fmt: skip


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("keda-otel-scaler.keda.svc:4318", True),
        ("keda-otel-scaler.keda.svc.cluster.local:4318", True),
        ("scaler.example.org:4318", False),
        ("127.0.0.1:4318", False),
        ("keda-otel-scaler.keda.svc", False),
        ("", False),
    ],
)
def test_add_on_at_a_service_is_here(address, here):
    assert asks_the_addon("external", METADATA | {"scalerAddress": address}) is here
    assert asks_the_addon("external-push", METADATA | {"scalerAddress": address}) is here
    assert not asks_the_addon("prometheus", METADATA)
    assert not asks_the_addon("external", {"scalerAddress": address})


async def test_value_is_what_was_pushed(store):
    trigger = build(store)
    assert isinstance(trigger, OpenTelemetryTrigger)
    reading = await trigger.read(NOW + 1)
    assert (reading.value, reading.active, reading.error) == (9, True, None)
    assert (reading.metric_name, reading.target) == ("s0-llm-llama", 4)
    assert reading.answer == "9 (2 series)"


async def test_nothing_pushed_is_0_and_not_active():
    reading = await build().read(NOW)
    assert (reading.value, reading.active, reading.error) == (0, False, None)
    assert "never pushed" in reading.answer


@pytest.mark.parametrize(
    ("clamps", "value"),
    [
        ({"clampMin": "10"}, 10),
        ({"clampMax": "2.5"}, 2.5),
        ({"clampMin": "1", "clampMax": "20"}, 9),
        ({"clampMin": "lots"}, 9),
    ],
)
async def test_value_is_clamped(store, clamps, value):
    assert (await build(store, **clamps).read(NOW)).value == value


async def test_clamp_min_keeps_it_active():
    reading = await build(clampMin="1").read(NOW)
    assert (reading.value, reading.active) == (1, True)


async def test_unknown_operation_is_the_last_value(store):
    assert (await build(store, operationOverTime="median").read(NOW)).value == 9
    assert (await build(store, operationOverTime="count").read(NOW)).value == 2


@pytest.mark.parametrize("target", [None, "", "many"])
def test_target_is_needed(target):
    with pytest.raises(InputError, match="targetValue"):
        build(targetValue=target)


async def test_query_that_cannot_be_read_is_an_error_of_the_read():
    reading = await build(metricQuery='sum(m{a="b"}{namespace="n"})').read(NOW)
    assert reading.value is None
    assert "unable to parse labels" in reading.error
