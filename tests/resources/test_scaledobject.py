"""ScaledObjects: KEDA's defaults, and what the API server, the webhook or the operator refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from stoker.errors import InputError
from stoker.resources.composing import Composer
from stoker.resources.document import Document, Manifest, Origin
from stoker.resources.scaledobject import read_scaled_object
from stoker.scaling.spec import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    Fallback,
    MetricType,
    PolicyType,
    ScalingPolicy,
    ScalingSpec,
    SelectPolicy,
)

PLAIN = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "so"},
    "spec": {
        "scaleTargetRef": {"name": "engine"},
        "triggers": [{"type": "prometheus", "metadata": {"query": "q", "threshold": "5"}}],
    },
}


def read(text: str) -> tuple[ScalingSpec | None, list[InputError]]:
    root = Composer("so.yaml", 0).compose(text)
    assert root is not None
    manifest = Manifest(root.value, Origin(Document("so.yaml", root)))
    spec, errors = read_scaled_object(manifest, "ns")
    return spec, list(errors)


def with_spec(**spec: object) -> str:
    return yaml.safe_dump({**PLAIN, "spec": {**PLAIN["spec"], **spec}}, sort_keys=False)  # type: ignore[dict-item]


def spec_of(**spec: object) -> ScalingSpec:
    result, errors = read(with_spec(**spec))
    assert errors == []
    assert result is not None
    return result


def messages(**spec: object) -> list[str]:
    result, errors = read(with_spec(**spec))
    assert result is None
    return [error.message for error in errors]


def test_what_is_left_out_has_kedas_defaults() -> None:
    spec = spec_of()
    assert (spec.polling_interval, spec.cooldown_period, spec.initial_cooldown_period) == (
        30,
        300,
        0,
    )
    assert (spec.min_replica_count, spec.max_replica_count) == (None, None)
    assert (spec.min_replicas, spec.max_replicas, spec.hpa_min_replicas) == (0, 100, 1)
    assert spec.behavior is None
    assert spec.namespace == "ns"
    assert spec.hpa_name == "keda-hpa-so"
    assert str(spec.target) == "Deployment engine"
    assert spec.triggers[0].metric_type is MetricType.AVERAGE_VALUE


def test_an_empty_behavior_is_filled_in_and_an_absent_one_is_not() -> None:
    config = {"horizontalPodAutoscalerConfig": {"behavior": {}}}
    assert spec_of(advanced=config).behavior == Behavior(DEFAULT_SCALE_UP, DEFAULT_SCALE_DOWN)
    assert spec_of(advanced={"horizontalPodAutoscalerConfig": {}}).behavior is None


def test_policies_of_the_user_replace_the_default_ones_and_leave_the_window() -> None:
    policy = {"type": "Pods", "value": 1, "periodSeconds": 60}
    rules = {"policies": [policy], "tolerance": "0.05", "selectPolicy": "Min"}
    config = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": rules}}}
    behavior = spec_of(advanced=config).behavior
    assert behavior is not None
    assert behavior.scale_up.policies == (ScalingPolicy(PolicyType.PODS, 1, 60),)
    assert behavior.scale_up.stabilization_window_seconds == 0
    assert behavior.scale_up.tolerance == 0.05
    assert behavior.scale_up.select_policy is SelectPolicy.MIN
    assert behavior.scale_down == DEFAULT_SCALE_DOWN


def test_fallback_and_formula_are_read() -> None:
    spec = spec_of(
        triggers=[{"type": "prometheus", "name": "a", "metadata": {"threshold": "5"}}],
        fallback={"failureThreshold": 3, "replicas": 2},
        advanced={"scalingModifiers": {"formula": "a", "target": "2.5"}},
    )
    assert spec.fallback == Fallback(3, 2, "static")
    assert spec.modifiers is not None
    assert (spec.modifiers.target, spec.modifiers.target_text) == (2.5, "2.5")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"pollingInterval": 0}, "`spec.pollingInterval` must be at least 1, not 0"),
        (
            {"pollingInterval": "15s"},
            '`spec.pollingInterval` must be an integer, not the text "15s"',
        ),
        ({"cooldownPeriod": True}, "`spec.cooldownPeriod` must be an integer, not true"),
        ({"maxReplicaCount": 2**31}, "`spec.maxReplicaCount` must be less than 2147483648"),
        (
            {"minReplicaCount": 101},
            "`spec.minReplicaCount` is 101, more than `spec.maxReplicaCount` 100 (its default)",
        ),
        (
            {"idleReplicaCount": 0},
            "`spec.idleReplicaCount` is 0, it must be less than minReplicaCount 0",
        ),
        ({"triggers": []}, "`spec.triggers` must not be empty"),
        ({"triggers": {"type": "prometheus"}}, "`spec.triggers` must be a list, not a mapping"),
        ({"fallback": {"replicas": 1}}, "`spec.fallback.failureThreshold` is required"),
        (
            {"advanced": {"scalingModifiers": {"formula": "a"}}},
            "`spec.advanced.scalingModifiers` has a formula but no target",
        ),
        (
            {"fallback": {"failureThreshold": 1, "replicas": 1, "behavior": "scalingModifiers"}},
            "fallback behavior scalingModifiers needs a formula",
        ),
        (
            {"triggers": [{"type": "cpu", "metadata": {"value": "50"}}]},
            "`spec.triggers` has only cpu and memory, which cannot wake from zero",
        ),
    ],
)
def test_what_kedas_server_refuses_is_refused(spec: dict[str, object], message: str) -> None:
    assert [text for text in messages(**spec) if text.startswith(message)]


def test_an_explicit_minimum_of_zero_counts_as_one_for_the_idle_count() -> None:
    assert spec_of(minReplicaCount=0, idleReplicaCount=0).idle_replica_count == 0


def test_metadata_must_be_text_and_the_hint_says_how() -> None:
    _, errors = read(with_spec(triggers=[{"type": "prometheus", "metadata": {"threshold": 5}}]))
    assert [error.message for error in errors] == [
        "`spec.triggers[0].metadata.threshold` must be a string, not 5"
    ]
    assert errors[0].hint == 'put it in quotes: `threshold: "5"`'


def test_an_unknown_field_is_told_at_its_key_with_the_near_one() -> None:
    text = with_spec().replace("triggers:", "triggerz:")
    _, errors = read(text)
    unknown = next(error for error in errors if "unknown" in error.message)
    assert unknown.message == "unknown field `triggerz` in `spec`"
    assert unknown.hint == "did you mean `triggers`?"
    line = text.split("\n").index("  triggerz:") + 1
    assert str(unknown.place) == f"so.yaml:{line}:3"


def test_a_field_indented_too_far_is_told_where_it_belongs() -> None:
    policy = {"type": "Pods", "value": 1, "periodSeconds": 60, "tolerance": "0.1"}
    behavior = {"scaleDown": {"policies": [policy]}}
    _, errors = read(with_spec(advanced={"horizontalPodAutoscalerConfig": {"behavior": behavior}}))
    assert [error.hint for error in errors] == [
        "it belongs in `spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown`"
    ]


def test_what_a_real_cluster_took_is_taken(shared_data: Path) -> None:
    """The reverse is not so: triggers and other objects are looked at elsewhere."""
    with gzip.open(shared_data / "kubernetes" / "validation.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["kind"] == "ScaledObject"]
    assert len(rows) > 200
    refused = 0
    for row in rows:
        webhook = row.get("webhook") or {}
        ready = ((row.get("keda") or {}).get("conditions") or {}).get("Ready") or ["True"]
        accepted = (
            row["strict"]["code"] == 201
            and (not webhook.get("called") or webhook["allowed"])
            and ready[0] != "False"
        )
        try:
            spec, _ = read(row.get("manifest_yaml") or json.dumps(row["manifest"]))
        except InputError:
            spec = None
        refused += spec is None
        assert spec is not None or not accepted, row["what"]
        if row["strict"]["code"] != 201 and "namespace" not in row["what"]:
            assert spec is None, row["what"]
    assert refused > 80


def named(**advanced: object) -> dict[str, object]:
    trigger = {"type": "prometheus", "name": "queue", "metadata": {"query": "q", "threshold": "5"}}
    return {"triggers": [trigger], "advanced": {"scalingModifiers": advanced}}


@pytest.mark.parametrize(
    ("written", "column"),
    [
        pytest.param("queue + load", 24, id="plain"),
        pytest.param('"queue + load"', 25, id="quoted"),
        pytest.param(">-\n        queue +\n        load", 16, id="folded: where the text begins"),
    ],
)
def test_an_error_in_a_formula_points_at_its_column(written: str, column: int) -> None:
    text = with_spec(**named(formula="FORMULA", target="5")).replace("FORMULA", written)
    line = 1 + next(n for n, row in enumerate(text.split("\n")) if "formula:" in row)

    _, errors = read(text)

    assert [error.message for error in errors] == [
        "the formula cannot be used: unknown name load (column 9)"
    ]
    assert errors[0].hint == "named triggers: queue"
    assert str(errors[0].place) == f"so.yaml:{line}:{column}"


def test_all_problems_are_told_at_once_with_their_places() -> None:
    text = with_spec(minReplicaCount=9, maxReplicaCount=3, **named(formula="queue", target="0"))

    _, errors = read(text)

    assert [(error.message, error.place and error.place.line) for error in errors] == [
        ('`spec.advanced.scalingModifiers.target` must be a number above 0, not "0"', 19),
        ("`spec.minReplicaCount` is 9, more than `spec.maxReplicaCount` 3", 14),
    ]


def test_a_half_written_formula_is_no_missing_one() -> None:
    fallback = {"failureThreshold": 1, "replicas": 1, "behavior": "scalingModifiers"}

    assert messages(fallback=fallback, **named(formula="queue")) == [
        "`spec.advanced.scalingModifiers` has a formula but no target"
    ]
