"""What the API server does to an object: refuse, drop, fill in, store."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.resources.admission import Admission, admit
from stoker.resources.composing import Composer
from stoker.resources.document import Document, Manifest, Origin
from stoker.resources.quantity import canonical_quantity
from stoker.resources.scaledobject import read_scaled_object

TRIGGER = {"type": "prometheus", "metadata": {"query": "q", "threshold": "5"}}
SCALED_OBJECT: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "so"},
    "spec": {"scaleTargetRef": {"name": "engine"}, "triggers": [TRIGGER]},
}
AUTOSCALER: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "hpa"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"},
        "maxReplicas": 5,
    },
}
AUTHENTICATION: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ClusterTriggerAuthentication",
    "metadata": {"name": "ta", "namespace": "left-out"},
    "spec": {"secretTargetRef": [{"parameter": "p", "name": "s", "key": "k"}]},
}


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """*base* with *value* at ``spec.triggers.0.type``."""
    result = copy.deepcopy(base)
    node: Any = result
    *parts, last = path.split(".")
    for part in parts:
        node = node[int(part)] if part.isdecimal() else node.setdefault(part, {})
    node[int(last) if last.isdecimal() else last] = value
    return result


def verdict(manifest: dict[str, Any], *, strict: bool = True, **options: Any) -> Admission:
    return admit(manifest, kind=manifest.get("kind", ""), namespace="ns", strict=strict, **options)


def told(manifest: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    """Field and reason of each cause."""
    found = verdict(manifest, **options)
    assert found.code == 422, found
    return [(cause.field, cause.reason.removeprefix("FieldValue")) for cause in found.causes]


SPEC = "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown"


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("spec.pollingInterval", 0, [("spec.pollingInterval", "Invalid")]),
        (
            "spec.pollingInterval",
            "5",
            [("spec.pollingInterval", "TypeInvalid"), ("<nil>", "Invalid")],
        ),
        ("spec.pollingInterval", 2**31, [("<nil>", "Invalid")]),
        ("spec.minReplicaCount", 101, [("spec", "Invalid")]),
        ("spec.triggers", [], [("spec.triggers", "Invalid")]),
        ("spec.triggers.0.type", "", [("spec.triggers[0].type", "Invalid")]),
        (
            "spec.triggers.0.metadata.threshold",
            5,
            [("spec.triggers[0].metadata.threshold", "TypeInvalid"), ("<nil>", "Invalid")],
        ),
        (
            "spec.fallback",
            {"failureThreshold": 1, "replicas": 1, "behavior": "x"},
            [("spec.fallback.behavior", "NotSupported"), ("<nil>", "Invalid")],
        ),
        (f"{SPEC}.tolerance", "x", [(f"{SPEC}.tolerance", "Invalid")]),
        ("metadata.name", "Upper", [("metadata.name", "Invalid")]),
        ("metadata.name", "", [("metadata.name", "Required"), ("<nil>", "Invalid")]),
        ("metadata.labels", {"a b": "c"}, [("metadata.labels", "Invalid")]),
        ("metadata.labels", {"a": "c d"}, [("metadata.labels", "Invalid")]),
        ("metadata.annotations", {"/a": "b"}, [("metadata.annotations", "Invalid")]),
    ],
)  # fmt: skip
def test_a_scaled_object_is_refused_with_these_causes(path, value, causes):
    assert told(changed(SCALED_OBJECT, path, value)) == causes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiVersion", "keda.sh/v1"), ("apiVersion", ""), ("apiVersion", 1), ("spec.foo", 1),
        ("metadata.namespace", "other"), ("metadata.labels", {"a": 1}), ("metadata.foo", "x"),
        ("metadata.name", 5), ("spec.triggers.0.metadata.a", {"b": 1}),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_is_a_bad_request(path, value):
    assert verdict(changed(SCALED_OBJECT, path, value)).code == 400


def test_without_strictness_unknown_fields_are_dropped_with_a_warning():
    found = verdict(changed(SCALED_OBJECT, "spec.triggers.0.foo", 1), strict=False)
    assert found.warnings == ('unknown field "spec.triggers[0].foo"',)
    assert found.stored is not None
    assert found.stored["spec"] == SCALED_OBJECT["spec"]


def test_a_null_counts_as_absent_and_a_default_takes_its_place():
    fallback = {"failureThreshold": 1, "replicas": 1, "behavior": None}
    found = verdict(
        changed(changed(SCALED_OBJECT, "spec.fallback", fallback), "spec.cooldownPeriod", None)
    )
    assert found.stored is not None
    assert found.stored["spec"]["fallback"]["behavior"] == "static"
    assert "cooldownPeriod" not in found.stored["spec"]


def test_the_object_that_is_given_is_not_changed():
    before = copy.deepcopy(SCALED_OBJECT)
    verdict(SCALED_OBJECT)
    assert before == SCALED_OBJECT


def test_an_object_without_a_namespace_of_its_own_gets_that_of_the_request():
    found = verdict(SCALED_OBJECT).stored
    assert found is not None
    assert found["metadata"]["namespace"] == "ns"
    of_cluster = verdict(AUTHENTICATION).stored
    assert of_cluster is not None
    assert "namespace" not in of_cluster["metadata"]


TARGET = {"type": "AverageValue", "averageValue": "5"}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": TARGET}}
FIRST = "spec.metrics[0]"


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("spec.minReplicas", -1, [("spec.minReplicas", "Invalid")]),
        (
            "spec.maxReplicas",
            0,
            [("spec.maxReplicas", "Required"), ("spec.maxReplicas", "Invalid")],
        ),
        ("spec.scaleTargetRef.apiVersion", "v1", [("spec.scaleTargetRef.apiVersion", "Invalid")]),
        ("spec.scaleTargetRef.name", "a/b", [("spec.scaleTargetRef.name", "Invalid")]),
        ("spec.metrics", [{"type": "Pods"}], [(f"{FIRST}.pods", "Required")]),
        (
            "spec.metrics",
            [{**EXTERNAL, "resource": {"name": "cpu", "target": TARGET}}],
            [(f"{FIRST}.resource", "Forbidden")],
        ),
        (
            "spec.metrics",
            [{"type": "External", "external": {"metric": {}, "target": {**TARGET, "value": "0"}}}],
            [
                (f"{FIRST}.external.metric.name", "Required"),
                (f"{FIRST}.external.target.value", "Invalid"),
                (f"{FIRST}.external.target.value", "Forbidden"),
            ],
        ),
        (
            "spec.metrics",
            [{"type": "Resource", "resource": {"target": {"type": "Utilization"}}}],
            [
                (f"{FIRST}.resource.name", "Required"),
                (f"{FIRST}.resource.target.averageUtilization", "Required"),
            ],
        ),
        (
            "spec.metrics",
            [{"type": "ContainerResource", "containerResource": {"name": "cpu", "target": {
                **TARGET, "averageUtilization": 5}}}],
            [
                (f"{FIRST}.containerResource.container", "Required"),
                (f"{FIRST}.containerResource.target.averageValue", "Forbidden"),
            ],
        ),
        (
            "spec.behavior",
            {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}},
            [
                ("spec.behavior.scaleUp.policies[0].value", "Invalid"),
                ("spec.behavior.scaleUp.policies[0].periodSeconds", "Invalid"),
            ],
        ),
        (
            "spec.behavior",
            {"scaleDown": {"stabilizationWindowSeconds": 3601, "selectPolicy": "x", "policies": []}
            },
            [
                ("spec.behavior.scaleDown.stabilizationWindowSeconds", "Invalid"),
                ("spec.behavior.scaleDown.selectPolicy", "NotSupported"),
                ("spec.behavior.scaleDown.policies", "Required"),
            ],
        ),
    ],
)  # fmt: skip
def test_an_autoscaler_is_refused_with_these_causes(path, value, causes):
    assert told(changed(AUTOSCALER, path, value)) == causes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.maxReplicas", "5"), ("spec.maxReplicas", 1.5), ("spec.maxReplicas", 2**31),
        ("spec.metrics", {}), ("spec.metrics", [1]), ("spec.behavior", []), ("spec.foo", 1),
        ("spec.behavior", {"scaleUp": {"tolerance": "5%"}}), ("apiVersion", "autoscaling/v3"),
        ("spec.scaleTargetRef.name", 5), ("metadata.name", []), ("metadata.namespace", "other"),
    ],
)  # fmt: skip
def test_an_autoscaler_of_another_shape_is_a_bad_request(path, value):
    assert verdict(changed(AUTOSCALER, path, value)).code == 400


def test_an_autoscaler_is_stored_with_its_defaults():
    found = verdict(changed(AUTOSCALER, "spec.behavior", {"scaleUp": None})).stored
    assert found is not None
    spec = found["spec"]
    assert spec["minReplicas"] == 1
    target = {"type": "Utilization", "averageUtilization": 80}
    assert spec["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert "stabilizationWindowSeconds" not in spec["behavior"]["scaleDown"]
    again = {key: value for key, value in found.items() if key != "status"}
    assert verdict(again).stored == found


def test_zero_replicas_of_an_autoscaler_need_a_later_kubernetes_and_a_metric_of_others():
    zero = changed(AUTOSCALER, "spec.minReplicas", 0)
    assert told(zero, kubernetes_version="1.37") == [("spec.metrics", "Forbidden")]
    external = changed(zero, "spec.metrics", [EXTERNAL])
    assert verdict(external, kubernetes_version="v1.37.2").allowed
    assert told(external) == [("spec.minReplicas", "Invalid")]  # up to 1.36


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("5.500", "5.500"), ("5.50", "5500m"), ("1e3", "1e3"), ("1e4", "10e3"), ("+5", "+5"),
        ("12000", "12k"), ("1500k", "1500k"), ("1Ki", "1Ki"), ("1024Mi", "1Gi"), ("0.5Gi", "512Mi"),
        ("-1.50", "-1500m"), ("0.0", "0"),
    ],
)  # fmt: skip
def test_a_quantity_is_kept_where_the_server_takes_it_for_short(written, stored):
    assert canonical_quantity(written) == stored


# -- properties -------------------------------------------------------------------------------

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.sampled_from([1.5, 2**31, "", "a", "5", "x"])
)
_VALUES = st.one_of(_SCALARS, st.just([]), st.just({}), st.lists(_SCALARS, max_size=2))
_PATHS = st.sampled_from(
    [
        "spec", "spec.triggers", "spec.triggers.0", "spec.triggers.0.type", "spec.fallback",
        "spec.triggers.0.metadata", "spec.triggers.0.metricType", "spec.triggers.0.name",
        "spec.triggers.0.useCachedMetrics", "spec.triggers.0.authenticationRef",
        "spec.scaleTargetRef", "spec.scaleTargetRef.name", "spec.scaleTargetRef.kind",
        "spec.pollingInterval", "spec.cooldownPeriod", "spec.minReplicaCount",
        "spec.maxReplicaCount", "spec.idleReplicaCount", "spec.initialCooldownPeriod",
        "spec.advanced", "spec.advanced.scalingModifiers", "spec.advanced.other",
        "spec.advanced.restoreToOriginalReplicaCount", "metadata.labels", "metadata.annotations",
        f"{SPEC}.policies", f"{SPEC}.tolerance", f"{SPEC}.selectPolicy",
        f"{SPEC}.stabilizationWindowSeconds", "metadata.name", "metadata.namespace", "kind",
        "apiVersion", "metadata.other", "other",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(path=_PATHS, value=_VALUES)
def test_what_is_stored_would_be_stored_again(path, value):
    found = verdict_of(path, value, strict=False)
    if found.stored is not None:
        again = admit(found.stored, kind="ScaledObject", namespace="ns", strict=True)
        assert (again.code, again.stored) == (201, found.stored)


@settings(max_examples=500)
@given(path=_PATHS, value=_VALUES)
@example("spec.triggers.0", None)
def test_the_loader_refuses_what_the_server_refuses(path, value):
    """Two readers of the same rules: one speaks to users, one follows the server."""
    manifest = changed(SCALED_OBJECT, path, value)
    verdict_ = verdict_of(path, value, strict=True)
    refused = not verdict_.allowed
    spec, errors = loaded(manifest)
    if refused and path != "metadata.namespace":  # a file may name any namespace
        assert spec is None, verdict_
        assert errors


def verdict_of(path: str, value: Any, *, strict: bool) -> Admission:
    manifest = changed(SCALED_OBJECT, path, value)
    return admit(manifest, kind="ScaledObject", namespace="ns", strict=strict)


def loaded(manifest: dict[str, Any]) -> tuple[Any, Any]:
    try:
        root = Composer("so.yaml", 0).compose(json.dumps(manifest))
    except InputError as error:
        return None, (error,)
    assert root is not None
    return read_scaled_object(Manifest(root.value, Origin(Document("so.yaml", root))), "ns")
