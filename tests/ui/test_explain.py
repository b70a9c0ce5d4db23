from __future__ import annotations

import json
import re

import pytest

from stoker.scaling.decision import Decision, Recommendation
from stoker.scaling.observation import (
    PodStatus,
    Reader,
    TargetStatus,
    TriggerReading,
    TriggerValue,
)
from stoker.scaling.spec import ScaleTargetRef
from stoker.tick import Samples, Tick
from stoker.ui.explain import explain

pytestmark = pytest.mark.usefixtures("_utc")
QUERY = 'sum(vllm:num_requests_waiting{model_name="llama3"})'
AT = 1_795_356_195.0  # 14:03:15 UTC
READING = TriggerReading(0, "s0-prometheus", 12.0, 5.0, active=True, source=QUERY, answer="12")
VALUE = TriggerValue("s0-prometheus", 12.0, 5.0, active=True)
SELECTOR = (
    "(&LabelSelector{MatchLabels:map[string]string{scaledobject.keda.sh/name: llama,},"
    "MatchExpressions:[]LabelSelectorRequirement{},})"
)


def a_tick(**fields):
    pods = (
        PodStatus("a", ready=True),
        PodStatus("b"),
        PodStatus("c"),
    )
    base = {
        "time": AT,
        "reader": Reader.HPA,
        "namespace": "default",
        "name": "vllm-llama3-scaledobject",
        "target": ScaleTargetRef("vllm-llama3-deployment-vllm"),
        "samples": Samples(3, 1184, 2.3),
        "readings": (READING,),
        "values": (VALUE,),
        "recommendations": (Recommendation("s0-prometheus", 3, "ceil(12 / 5)"),),
        "decision": Decision(3, 1, "SucceededRescale", "the HPA controller was able to update"),
        "status": TargetStatus(3, 3, pods),
        "next": (f"holds 3 until {{t:{AT + 300:.3f}}}, then 1 if nothing changes",),
    }
    return json.loads(json.dumps(Tick(**(base | fields)).to_dict()))


def test_a_tick_is_told_in_six_steps_and_what_comes_next():
    assert explain(a_tick()) == (
        "vllm-llama3-scaledobject -> Deployment vllm-llama3-deployment-vllm"
        "              14:03:15, HPA sync\n"
        "1 sample          3 replicas scraped 2s ago, 1,184 series\n"
        f"2 query           {QUERY} = 12\n"
        "3 trigger value   s0-prometheus 12, target 5 (AverageValue), active (12 > 0)\n"
        "4 recommendation  3 = ceil(12 / 5)\n"
        "5 decision        3, was 1: SucceededRescale, the HPA controller was able to update\n"
        "6 replicas        1 ready, 2 starting\n"
        "next              holds 3 until 14:08:15, then 1 if nothing changes\n"
    )


def test_a_query_with_several_elements_is_told_with_what_to_write():
    error = "prometheus query vllm:num_requests_waiting returned multiple elements"
    reading = TriggerReading(
        0, "s0-prometheus", None, 5.0, error=error, source="vllm:num_requests_waiting"
    )
    value = TriggerValue("s0-prometheus", None, 5.0, error=error)
    want = Recommendation("s0-prometheus", None, error="unable to fetch metrics")
    text = explain(a_tick(readings=(reading,), values=(value,), recommendations=(want,)))
    lines = text.splitlines()
    assert lines[2] == "2 query           vllm:num_requests_waiting"
    assert lines[3].strip() == f"error: {error}"
    assert "one for each series" in lines[4]
    assert "hint: write `sum(vllm:num_requests_waiting)`" in lines[5]
    assert lines[6] == "3 trigger value   error: s0-prometheus has no value"
    assert lines[7] == "4 recommendation  error: none, s0-prometheus has no value"
    assert text.count(error) == 1, "said once, in its first words"


def test_a_fallback_is_named():
    value = TriggerValue("s0-prometheus", 15.0, 5.0, active=True, is_fallback=True)
    text = explain(a_tick(values=(value,)))
    assert "3 trigger value   fallback: s0-prometheus 15, target 5 (AverageValue)" in text


def test_a_paused_object_says_so():
    text = explain(
        a_tick(
            reader=Reader.KEDA,
            readings=(),
            values=(),
            recommendations=(),
            decision=Decision(2, 2, "ScaledObjectPaused", "ScaledObject is paused"),
        )
    )
    assert "4 recommendation  none: paused" in text
    assert "5 decision        2: ScaledObjectPaused, ScaledObject is paused" in text


def test_at_zero_the_hpa_asks_nobody():
    text = explain(
        a_tick(
            samples=Samples(0, 0, 75.0),
            readings=(),
            values=(),
            recommendations=(),
            decision=Decision(0, 0, "ScalingDisabled", "scaling is disabled"),
            status=TargetStatus(0, 0),
        )
    )
    assert "no replica to scrape; the last answer is 75s old" in text
    assert "not asked: at 0 replicas the HPA is off" in text
    assert "4 recommendation  none: at 0 replicas" in text
    assert "6 replicas        0 ready\n" in text


def test_before_the_first_scrape_there_is_nothing_to_tell():
    assert "nothing was scraped so far" in explain(a_tick(samples=Samples(0, 0, None)))


def test_kedas_poll_gives_no_recommendation_and_says_why():
    text = explain(a_tick(reader=Reader.KEDA, recommendations=()))
    assert "KEDA only wakes and puts to sleep" in text


def test_an_inactive_trigger_shows_its_threshold():
    value = TriggerValue("s0-prometheus", 3.25, 5.0, activation_threshold=4.0)
    assert "not active (3.25 is not above 4)" in explain(a_tick(values=(value,)))


def test_several_metrics_are_told_by_their_names():
    wants = (Recommendation("s0", 3, "ceil(12 / 5)"), Recommendation("s1", 1, "within tolerance"))
    lines = explain(a_tick(recommendations=wants)).splitlines()
    assert lines[4] == "4 recommendation  s0: 3 = ceil(12 / 5)"
    assert lines[5].strip() == "s1: 1: within tolerance"


def test_the_selector_of_a_metric_is_left_out():
    decision = Decision(3, 1, "SucceededRescale", f"external metric s0{SELECTOR} above target")
    assert "external metric s0 above target" in explain(a_tick(decision=decision))


def test_pods_that_wait_or_go_are_counted():
    pods = (
        PodStatus("a", ready=True, terminating=True),
        PodStatus("b", phase="Pending"),
    )
    text = explain(a_tick(status=TargetStatus(2, 1, pods)))
    assert "6 replicas        0 ready, 1 pending, 1 terminating, 2 asked for" in text


def test_color_adds_nothing_but_color():
    tick = a_tick()
    colored = explain(tick, color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == explain(tick)
