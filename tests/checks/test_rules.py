"""Every rule: a file that has the fault, and the nearest one that has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stoker.checks import RULES, Finding, Severity, check
from stoker.checks.base import code_of
from stoker.resources import load

Find = Callable[..., list[Finding]]

GOOD = 'sum(vllm:num_requests_waiting{model_name="meta/llama"})'
TRAFFIC = 'sum(rate(vllm:num_incoming_requests_total{model="meta/llama"}[1m])) > bool 0'
USAGE = 'avg(vllm:kv_cache_usage_perc{model_name="meta/llama"})'
VALUE = {"metricType": "Value"}
CACHED = {"useCachedMetrics": True}
FALLBACK = {"failureThreshold": 3, "replicas": 2}


def meta(**metadata: str) -> dict[str, Any]:
    return {"metadata": metadata}


BERMUDA = {
    "timezone": "Europe/Bermuda", "start": "0 8 * * *", "end": "0 18 * * *",
    "desiredReplicas": "3",
}  # fmt: skip
STEPS = {
    "horizontalPodAutoscalerConfig": {
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}}
    }
}
USAGE_MAX = 'max(vllm:kv_cache_usage_perc{model_name="meta/llama"})'
QUANTILE = (
    "histogram_quantile(0.95, sum by (le) ("
    'rate(vllm:time_to_first_token_seconds_bucket{model_name="meta/llama"}[2m])))'
)
TOKENS = 'sum(rate(vllm:prompt_tokens_total{model_name="meta/llama"}[1m]))'
IN_PERCENT = {"metricType": "Value", "metadata": {"threshold": "70"}}
IN_SECONDS = {"metricType": "Value", "metadata": {"threshold": "0.5"}}


def formula(target: str) -> dict[str, Any]:
    return {"scalingModifiers": {"formula": "a", "target": target}}


FAULTS: list[tuple[str, str, list[str], dict[str, Any]]] = [
    ("query-syntax", "error", ["sum("], {}),
    ("query-result-type", "error", [GOOD.removeprefix("sum(").removesuffix(")") + "[1m]"], {}),
    ("query-result-type", "error", [f"scalar({GOOD})"], {}),
    ("multi-element-query", "error", ['vllm:num_requests_waiting{model_name="meta/llama"}'], {}),
    ("wrong-label", "error", ['sum(vllm:num_requests_waiting{model="llama3"})'], {}),
    ("wrong-label", "error", [TRAFFIC.replace("model=", "model_name=")], {}),
    ("wrong-model-name", "error", [GOOD.replace("meta/llama", "llama3")], {}),
    ("wrong-model-name", "error", [GOOD.replace('="meta/llama"', '=~"llama.*"')], {}),
    ("unfiltered-query", "info", ["sum(vllm:num_requests_waiting)"], {}),
    ("unfiltered-query", "warning", ["sum(vllm:num_requests_waiting)"], {"models": 2}),
    ("renamed-metric", "error", ['sum(vllm:gpu_cache_usage_perc{model_name="meta/llama"})'], {}),
    ("unknown-metric", "warning", ['sum(vllm:num_request_waiting{model_name="meta/llama"})'], {}),
    (
        "ratio-as-average-value",
        "warning",
        ['avg(vllm:kv_cache_usage_perc{model_name="meta/llama"})'],
        {},
    ),
    (
        "ratio-as-average-value",
        "warning",
        [
            (
                "histogram_quantile(0.95, sum by (le) ("
                'rate(vllm:time_to_first_token_seconds_bucket{model_name="meta/llama"}[2m])))'
            )
        ],
        {},
    ),
    ("total-as-value", "warning", [GOOD], {"trigger": VALUE}),
    (
        "keepalive-couples-models",
        "warning",
        ["sum(rate(vllm:num_incoming_requests_total[1m]) > bool 0)"],
        {},
    ),
    ("keepalive-as-value", "error", [TRAFFIC], {"trigger": VALUE}),
    ("first-request-does-not-wake", "info", [TRAFFIC], {"minReplicaCount": 0}),
    ("scale-to-zero-by-omission", "warning", [GOOD], {"minReplicaCount": None}),
    ("no-wake-from-zero", "error", [GOOD], {"minReplicaCount": 0}),
    ("cooldown-without-zero", "warning", [GOOD], {"cooldownPeriod": 360}),
    ("cooldown-skips-window", "info", [TRAFFIC], {"minReplicaCount": 0, "cooldownPeriod": 60}),
    ("idle-not-zero", "error", [GOOD], {"minReplicaCount": 3, "idleReplicaCount": 1}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(threshold="5m")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(threshold="1e400")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(activationThreshold=".5")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(serverAddress="p:9090")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(serverAddress=" ")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(ignoreNullValues="maybe")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": meta(customHeaders="a=b=c")}),
    ("metric-type-in-metadata", "warning", [GOOD], {"trigger": meta(metricType="Value")}),
    ("unknown-metadata", "warning", [GOOD], {"trigger": meta(thresholdd="5")}),
    (
        "activation-above-threshold",
        "error",
        [TRAFFIC],
        {"minReplicaCount": 0, "trigger": meta(activationThreshold="20")},
    ),
    (
        "fallback-never-engages",
        "error",
        [GOOD],
        {"fallback": FALLBACK, "advanced": formula("2.5"), "trigger": {"name": "a"}},
    ),
    ("fallback-flaps-when-cached", "warning", [GOOD], {"fallback": FALLBACK, "trigger": CACHED}),
    ("fallback-is-not-zero", "warning", [GOOD], {"fallback": {**FALLBACK, "replicas": 0}}),
    (
        "fallback-above-maximum",
        "warning",
        [GOOD],
        {"fallback": {**FALLBACK, "replicas": 9}, "maxReplicaCount": 3},
    ),
    ("short-rate-window", "info", [TOKENS], {}),
    ("short-rate-window", "warning", [TOKENS.replace("1m", "30s")], {}),
    ("quantile-without-le", "error", [QUANTILE.replace(" by (le)", "")], {}),
    ("rate-of-gauge", "error", [GOOD.replace("sum(", "sum(rate(").replace("})", "}[2m]))")], {}),
    ("counter-without-rate", "error", [TOKENS.replace("rate(", "(").replace("[1m]", "")], {}),
    ("impossible-threshold", "error", [USAGE_MAX], {"trigger": IN_PERCENT}),
    (
        "impossible-threshold",
        "error",
        [QUANTILE],
        {"trigger": {"metricType": "Value", "metadata": {"threshold": "2000"}}},
    ),
    (
        "router-counted-twice",
        "warning",
        [GOOD.replace('model_name="meta/llama"', 'namespace="llm"')],
        {},
    ),
    ("maximum-by-omission", "info", [GOOD], {"maxReplicaCount": None}),
    ("value-while-starting", "warning", [USAGE], {"trigger": VALUE}),
    ("zero-before-started", "info", [TRAFFIC], {"minReplicaCount": 0}),
    (
        "missing-authentication",
        "info",
        [GOOD],
        {"trigger": {"authenticationRef": {"name": "nowhere"}}},
    ),
    ("polling-not-used", "info", [GOOD], {"pollingInterval": 5}),
    ("double-slash", "info", [GOOD], {"trigger": meta(serverAddress="http://p:9090/")}),
    ("unbuildable-trigger", "error", [GOOD], {"trigger": {"type": "promtheus"}}),
    (
        "activation-target-unread",
        "error",
        [GOOD],
        {
            "trigger": {"name": "a"},
            "advanced": {
                "scalingModifiers": {"formula": "a", "target": "2", "activationTarget": "x"}
            },
        },
    ),
    ("unknown-time-zone", "error", [GOOD], {"trigger": {"type": "cron", "metadata": BERMUDA}}),
]
# shown in test_examples.py and test_surroundings.py: they look at other objects, too
SHOWN_ELSEWHERE = {
    "replica-count-ignored", "no-termination-grace", "start-longer-than-probes",
    "shutdown-longer-than-grace", "surge-needs-gpus", "no-disruption-budget",
    "more-replicas-than-gpus", "no-readiness-probe",
    "authentication-without-mode", "paused", "takes-over-autoscaler",
    "needs-newer-keda", "needs-newer-kubernetes",
}  # fmt: skip

CLEAN: list[tuple[str, list[str], dict[str, Any]]] = [
    ("the plain queue", [GOOD], {}),
    ("the queue or nothing", [f"{GOOD} or vector(0)"], {}),
    ("by a pinned label", [GOOD.replace("sum(", "sum by (model_name) (")], {}),
    ("any model", [GOOD.replace('model_name="meta/llama"', 'model_name=~".+"')], {}),
    ("by job", [GOOD.replace('model_name="meta/llama"', 'job="engines"')], {}),
    ("the sum of a ratio", [GOOD.replace("num_requests_waiting", "kv_cache_usage_perc")], {}),
    ("tokens", ['sum(rate(vllm:prompt_tokens_total{model_name="meta/llama"}[1m]))'], {}),
    (
        "a ratio under Value, one step at a time",
        [USAGE],
        {"trigger": {**VALUE, **meta(threshold="0.7")}, "advanced": STEPS},
    ),
    (
        "usage in percent, multiplied",
        [f"100 * {USAGE_MAX}"],
        {"trigger": IN_PERCENT, "advanced": STEPS},
    ),
    ("a quantile by le", [QUANTILE], {"trigger": IN_SECONDS, "advanced": STEPS}),
    ("a window of four scrapes", [TOKENS.replace("1m", "2m")], {}),
    ("an average of a gauge over time", [GOOD.replace("num", "num").replace("})", "}[1m])").replace(
        "sum(", "sum(avg_over_time(") + ")"], {}),
    ("a metric of others", ["sum(my_queue_length)"], {}),
    ("idle at zero", [TRAFFIC, GOOD], {"minReplicaCount": 2, "idleReplicaCount": 0}),
    ("cooldown with zero", [TRAFFIC, GOOD], {"minReplicaCount": 0, "cooldownPeriod": 600}),
    ("numbers as KEDA reads them", [GOOD], {"trigger": meta(threshold=" 1e3 ", timeout="5s")}),
    (
        "whole formula target",
        [GOOD],
        {"fallback": FALLBACK, "advanced": formula("2"), "trigger": {"name": "a"}},
    ),
    (
        "activation below threshold",
        [TRAFFIC],
        {"minReplicaCount": 0, "trigger": meta(activationThreshold="1")},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "severity", "queries", "options"),
    FAULTS,
    ids=[f"{index}-{fault[0]}" for index, fault in enumerate(FAULTS)],
)
def test_a_fault_is_found(
    findings: Find, rule: str, severity: str, queries: list[str], options: dict[str, Any]
) -> None:
    found = [item for item in findings(*queries, **options) if item.code == rule]
    assert len(found) == 1
    assert found[0].severity == severity
    assert found[0].place.line is not None
    assert all((found[0].message, found[0].why, found[0].hint, found[0].resource))


@pytest.mark.parametrize(
    ("queries", "options"), [case[1:] for case in CLEAN], ids=[case[0] for case in CLEAN]
)
def test_no_false_alarm(findings: Find, queries: list[str], options: dict[str, Any]) -> None:
    found = findings(*queries, **options)
    assert [item.code for item in found if item.severity is not Severity.INFO] == []


def test_every_rule_has_a_fault_that_shows_it() -> None:
    assert {code_of(rule) for rule in RULES} == {fault[0] for fault in FAULTS} | SHOWN_ELSEWHERE


def test_the_fix_of_an_unaggregated_query_can_be_pasted(findings: Find) -> None:
    (finding,) = [
        item for item in findings("vllm:num_requests_waiting") if item.severity is Severity.ERROR
    ]
    assert finding.hint == f"query: {GOOD}"
    again = findings(finding.hint.removeprefix("query: "))
    assert [item for item in again if item.severity is not Severity.INFO] == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "at 2 or more, whatever the load. Seen"),
        ({"minReplicaCount": 0}, "never returns to zero"),
        ({"fallback": FALLBACK}, "holds 2 replicas for ever"),
    ],
)
def test_the_consequence_depends_on_the_rest_of_the_object(
    findings: Find, options: dict[str, Any], sentence: str
) -> None:
    found = findings("vllm:num_requests_waiting", **options)
    assert sentence in next(item.why for item in found if item.code == "multi-element-query")


def test_the_charts_own_trigger_is_inert(findings: Find) -> None:
    """Document 000's fallback snippet: enabled and fallback, nothing else."""
    rules = {item.code for item in findings(minReplicaCount=None, fallback=FALLBACK)}
    assert {
        "multi-element-query",
        "wrong-label",
        "scale-to-zero-by-omission",
        "no-wake-from-zero",
    } <= rules


def test_a_finding_about_a_default_stands_at_what_is_around_it(findings: Find) -> None:
    found = findings(GOOD, minReplicaCount=None)
    place = next(item.place for item in found if item.code == "scale-to-zero-by-omission")
    assert str(place).startswith("<stdin>:13:5")


def test_findings_come_in_the_order_of_the_file(findings: Find) -> None:
    places = [
        (item.place.line, item.place.column)
        for item in findings("vllm:num_requests_waiting", "sum(", cooldownPeriod=360)
    ]
    assert len(places) > 3
    assert places == sorted(places)  # type: ignore[type-var]


def test_an_application_without_autoscaler_has_no_findings(tmp_path: Any) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        "servingEngineSpec:\n  modelSpec:\n"
        "    - {name: a, repository: r, tag: t, modelURL: m, requestCPU: 1, requestMemory: 1Gi}\n"
    )
    assert check(load([str(file)])) == ()
