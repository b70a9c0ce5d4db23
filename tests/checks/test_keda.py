"""What KEDA's webhook and operator say, each on an object that the API server has stored."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.backtest.conformance import run_file
from stoker.checks.keda import (
    Autoscaler,
    Cluster,
    Container,
    Readiness,
    Source,
    authentication_refusal,
    autoscaler,
    readiness,
    webhook_refusal,
)
from stoker.resources.admission import admit
from stoker.resources.composing import Composer
from stoker.resources.document import Document, Manifest, Origin
from stoker.resources.scaledobject import read_scaled_object
from stoker.scaling.spec import ScaleTargetRef

PROMETHEUS = {
    "type": "prometheus",
    "metadata": {"serverAddress": "http://p:9090", "query": "q", "threshold": "5"},
}
CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}
FORMULA = {"scalingModifiers": {"formula": "a", "target": "5"}}
NAMED = [{**PROMETHEUS, "name": "a"}]


def scaled_object(name: str = "so", meta: Any = None, **spec: Any) -> dict[str, Any]:
    base = {"scaleTargetRef": {"name": "engine"}, "triggers": [PROMETHEUS], "minReplicaCount": 1}
    metadata = {"name": name, **(meta or {})}
    return copy.deepcopy({"metadata": metadata, "spec": {**base, **spec}})


def cluster(*resources: str, **others: Any) -> Cluster:
    containers = (Container("vllm", frozenset(resources)),)
    return Cluster({("deployment", "engine"): containers}, **others)


ELSEWHERE = ScaleTargetRef("elsewhere")
HERE = ScaleTargetRef("engine")

REFUSED = [
    ({"triggers": [CPU]}, cluster(), "doesn't have the cpu request"),
    (
        {"triggers": [{**CPU, "metadata": {"value": "60", "containerName": "vllm"}}]},
        cluster(),
        "req",
    ),
    ({"triggers": [CPU], "minReplicaCount": 0}, cluster("cpu"), "only cpu/memory triggers"),
    ({"triggers": [CPU], "scaleTargetRef": {"name": "x"}}, cluster("cpu"), "not found"),
    ({"scaleTargetRef": {"name": "engine", "kind": "Inference"}}, cluster(), "no matches for kind"),
    ({}, cluster(scaled_objects=(("other", HERE, "h"),)), "managed by the ScaledObject 'other'"),
    ({}, cluster(scaled_objects=(("o", ELSEWHERE, "keda-hpa-so"),)), "the HPA 'keda-hpa-so'"),
    ({}, cluster(autoscalers=(Autoscaler("h", HERE),)), "managed by the hpa 'h'"),
    (
        {"meta": {"annotations": {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}}},
        cluster(autoscalers=(Autoscaler("h", HERE),)),
        "must be specified by name",
    ),
    ({"idleReplicaCount": 1}, cluster(), "IdleReplicaCount=1 must be less"),
    (
        {"idleReplicaCount": 0, "minReplicaCount": None},
        cluster(),
        "IdleReplicaCount=0 must be less",
    ),
    (
        {"fallback": {"failureThreshold": 1, "replicas": 1, "behavior": "scalingModifiers"}},
        cluster(),
        "requires scalingModifiers.formula",
    ),
    (
        {"fallback": {"failureThreshold": 1, "replicas": 1}, "triggers": [CPU]},
        cluster("cpu"),
        "at least one trigger",
    ),
    ({"name": "n" * 55}, cluster(), "HPA name"),
    ({"name": "n" * 64}, cluster(), "scaledobject name"),
    ({"triggers": NAMED * 2}, cluster(), "defined multiple times"),
    ({"triggers": [{**CPU, "useCachedMetrics": True}]}, cluster("cpu"), "useCachedMetrics"),
    ({"triggers": [{**PROMETHEUS, "metricType": "Utilization"}]}, cluster(), "Utilization"),
    ({"advanced": {"scalingModifiers": {"target": "5"}}}, cluster(), "Formula is mandatory"),
    ({"advanced": {"scalingModifiers": {"formula": "a"}}}, cluster(), "target is empty"),
    ({"advanced": FORMULA}, cluster(), "unknown name a"),
    (
        {"advanced": {"scalingModifiers": {"formula": "a", "target": "0"}}, "triggers": NAMED},
        cluster(),
        "error converting target",
    ),
]


@pytest.mark.parametrize(("spec", "around", "told"), REFUSED, ids=[case[2] for case in REFUSED])
def test_the_webhook_refuses(spec: dict[str, Any], around: Cluster, told: str) -> None:
    refusal = webhook_refusal(scaled_object(**spec), around)
    assert refusal is not None
    assert told in refusal


ALLOWED: list[tuple[dict[str, Any], Cluster]] = [
    ({}, cluster()),
    ({"triggers": [CPU]}, cluster("cpu")),
    ({"triggers": [{**CPU, "metadata": {"value": "1", "containerName": "x"}}]}, cluster()),
    ({"name": "n" * 54}, cluster()),
    ({"idleReplicaCount": 0, "minReplicaCount": 0}, cluster()),
    ({}, cluster(autoscalers=(Autoscaler("h", HERE, is_shared=True),))),
    ({}, cluster(autoscalers=(Autoscaler("h", HERE, owner="so"),))),
    ({}, cluster(scaled_objects=(("so", HERE, "keda-hpa-so"),))),
    ({"advanced": FORMULA, "triggers": NAMED}, cluster()),
    ({"scaleTargetRef": {"name": "nowhere"}}, cluster()),
    ({"triggers": [{"type": "prometheus", "metadata": {"threshold": "x"}}]}, cluster()),
    ({"triggers": [{"type": "no-such", "metadata": {}}]}, cluster()),
]


@pytest.mark.parametrize(("spec", "around"), ALLOWED, ids=range(len(ALLOWED)))
def test_the_webhook_allows(spec: dict[str, Any], around: Cluster) -> None:
    assert webhook_refusal(scaled_object(**spec), around) is None


def answer(_: object) -> Source:
    return Source.ANSWERS


WINDOW = {
    "horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 9999}}}
}
PAUSED = "autoscaling.keda.sh/paused-replicas"
FAILING: list[tuple[dict[str, Any], str]] = [
    ({"name": "n" * 64}, "label"),
    ({"scaleTargetRef": {"name": "nowhere"}}, "not found"),
    ({"scaleTargetRef": {"name": "engine", "kind": "Inference"}}, "no matches for kind"),
    (
        {"scaleTargetRef": {"name": "engine", "envSourceContainerName": "x"}},
        "container with name x",
    ),
    ({"idleReplicaCount": 1}, "IdleReplicaCount=1"),
    ({"triggers": [{"type": "no-such", "metadata": {}}]}, "no scaler found for type: no-such"),
    ({"triggers": [{"type": "prometheus", "metadata": {}}]}, 'parameter "serverAddress"'),
    ({"advanced": FORMULA}, "unknown name a"),
    ({"advanced": WINDOW}, "must be less than or equal to 3600"),
    ({"advanced": {"horizontalPodAutoscalerConfig": {"name": "A"}}}, "lowercase RFC 1123"),
    ({"triggers": [{**PROMETHEUS, "metricType": "average"}]}, "must be either Utilization"),
    (
        {"triggers": [{**PROMETHEUS, "metadata": {**PROMETHEUS["metadata"], "threshold": "0"}}]},  # type: ignore[dict-item]
        "must be positive",
    ),
    ({"meta": {"annotations": {PAUSED: "-1"}}}, "greater than or equal to 0"),
    ({"meta": {"annotations": {PAUSED: "x"}}}, "not a whole number"),
]


@pytest.mark.parametrize(("spec", "told"), FAILING, ids=[case[1] for case in FAILING])
def test_the_operator_fails_on(spec: dict[str, Any], told: str) -> None:
    found = readiness(scaled_object(**spec), cluster(), answer)
    assert (found.status, found.reason) == ("False", "ScaledObjectCheckFailed")
    assert told in found.message


def test_a_paused_object_is_ready_whatever_its_triggers() -> None:
    meta = {"annotations": {"autoscaling.keda.sh/paused": "true"}}
    broken = scaled_object(meta=meta, triggers=[{"type": "no-such", "metadata": {}}])
    assert readiness(broken, cluster(), answer).status == "True"


FALLBACK = {"failureThreshold": 3, "replicas": 2}


@pytest.mark.parametrize(
    ("sources", "spec", "ready"),
    [
        ([Source.ANSWERS], {}, ("True", "ScaledObjectReady")),
        ([Source.FAILS], {}, ("False", "TriggerError")),
        ([Source.FAILS], {"fallback": FALLBACK}, ("True", "ScaledObjectReady")),
        ([Source.FAILS, Source.ANSWERS], {}, ("Unknown", "PartialTriggerError")),
        ([Source.HAS_NO_METRICS], {}, ("False", "ScaledObjectCheckFailed")),
        ([Source.HAS_NO_METRICS, Source.ANSWERS], {}, ("Unknown", "PartialTriggerError")),
        ([Source.CANNOT_BE_BUILT, Source.ANSWERS], {}, ("False", "ScaledObjectCheckFailed")),
    ],
)
def test_ready_says_how_many_sources_fail(
    sources: list[Source], spec: dict[str, Any], ready: tuple[str, str]
) -> None:
    stored = scaled_object(triggers=[PROMETHEUS] * len(sources), **spec)
    found = readiness(stored, cluster(), lambda trigger: sources[trigger.index])
    assert found == Readiness(*ready, found.message)
    assert (found.status, found.reason) == ready


def test_the_hpa_lists_external_metrics_first_and_a_formula_alone() -> None:
    made = autoscaler(scaled_object(triggers=[CPU, PROMETHEUS]))
    assert made is not None
    assert [metric["type"] for metric in made["spec"]["metrics"]] == ["External", "Resource"]
    assert made["spec"]["metrics"][0]["external"]["metric"]["name"] == "s1-prometheus"
    composite = {"scalingModifiers": {"formula": "a", "target": "0.8", "metricType": "Value"}}
    made = autoscaler(scaled_object(triggers=NAMED, advanced=composite))
    assert made is not None
    (metric,) = made["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "composite-metric"
    assert metric["external"]["target"] == {"type": "Value", "value": "800m"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"podIdentity": {"provider": "azure-workload", "identityId": ""}}, "identityId"),
        ({"podIdentity": {"provider": "azure-workload", "identityAuthorityHost": "h"}}, "TenantID"),
        ({"podIdentity": {"provider": "azure-workload", "identityTenantId": ""}}, "TenantId"),
        (
            {"podIdentity": {"provider": "aws", "roleArn": "r", "identityOwner": "workload"}},
            "roleA",
        ),
        ({"podIdentity": {"provider": "aws", "externalID": "x"}}, "externalID"),
        ({"oauth2": {"type": "password"}}, "clientCredentials"),
        ({"oauth2": {"type": "clientCredentials"}}, "clientId is required"),
        ({"oauth2": {"type": "clientCredentials", "clientId": "c", "tokenUrl": "x"}}, "valid http"),
    ],
)
def test_the_webhook_refuses_an_authentication(spec: dict[str, Any], told: str) -> None:
    assert told in (authentication_refusal(spec) or "")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"podIdentity": {"provider": "azure-workload"}},
        {"podIdentity": {"provider": "gcp"}, "oauth2": {"type": "password"}},
        {"oauth2": {"type": "clientCredentials", "clientId": "c", "tokenUrl": "https://h/t"}},
    ],
)
def test_the_webhook_allows_an_authentication(spec: dict[str, Any]) -> None:
    assert authentication_refusal(spec) is None


def test_a_wrong_verdict_in_a_recording_is_found(tmp_path: Path) -> None:
    import gzip  # noqa: PLC0415

    sample = Path(__file__).parents[1] / "data" / "recordings" / "validation.jsonl.gz"
    with gzip.open(sample, "rt") as file:
        rows = [json.loads(line) for line in file]
    assert run_file(sample, "sample").ok
    of_webhook = next(row for row in rows if (row.get("webhook") or {}).get("allowed"))
    of_webhook["webhook"]["allowed"] = False
    of_operator = next(r for r in rows if (r.get("keda") or {}).get("hpa") and r is not of_webhook)
    of_operator["keda"]["conditions"]["Ready"][0] = "False"
    of_server = next(row for row in rows if row["strict"]["code"] == 422)
    of_server["strict"]["causes"].append(["spec.x", "FieldValueRequired", ""])
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run_file(changed, "changed")
    assert found.total - found.passed == 3
    assert any("webhook" in text for text in found.differences)
    assert any("Ready True" in text for text in found.differences)
    assert any("causes" in text for text in found.differences)


def test_all_recorded_verdicts_are_those_of_the_real_servers(shared_data: Path) -> None:
    result = run_file(shared_data / "kubernetes" / "validation.jsonl.gz", "validation")
    assert result.differences == ()
    assert result.total > 300


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.sampled_from([1.5, "", "a", "5", "x", "0"])
)
_PLACES = st.sampled_from(
    [
        "pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount",
        "idleReplicaCount", "initialCooldownPeriod", "fallback", "advanced", "triggers.0.name",
        "triggers.0.metricType", "triggers.0.useCachedMetrics", "triggers.0.metadata.threshold",
        "fallback.failureThreshold", "fallback.replicas", "fallback.behavior", "other",
        "advanced.scalingModifiers.formula", "advanced.scalingModifiers.target",
        "advanced.scalingModifiers.metricType", "advanced.horizontalPodAutoscalerConfig.name",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.tolerance",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.policies",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.stabilizationWindowSeconds",
        "scaleTargetRef.kind", "scaleTargetRef.apiVersion",
    ]
)  # fmt: skip


@settings(max_examples=400)
@given(st.dictionaries(_PLACES, _SCALARS, min_size=1, max_size=3))
def test_the_loader_refuses_nothing_that_all_of_them_take(changes: dict[str, Any]) -> None:
    """API server, webhook and operator: one of them has to refuse what the loader refuses."""
    manifest = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", **scaled_object()}
    for place, value in changes.items():
        node: Any = manifest["spec"]
        *parts, last = place.split(".")
        for part in parts:
            inner = node[int(part)] if part.isdecimal() else node.setdefault(part, {})
            node = inner if isinstance(inner, dict | list) else {}
        node[last] = value
    verdict = admit(manifest, kind="ScaledObject", namespace="default", strict=True)
    if verdict.stored is None or webhook_refusal(verdict.stored, cluster()) is not None:
        return
    if readiness(verdict.stored, cluster(), answer).reason == "ScaledObjectCheckFailed":
        return
    root = Composer("so.yaml", 0).compose(json.dumps(manifest))
    assert root is not None
    document = Manifest(root.value, Origin(Document("so.yaml", root)))
    spec, errors = read_scaled_object(document, "default")
    assert spec is not None, errors
