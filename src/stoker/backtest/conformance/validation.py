"""Recorded verdicts about resources: API server, webhook, operator, and the object that is stored.

A line is one resource that was sent to a real cluster. The cluster of the recording stands in
:func:`_cluster`: what could be told from the resource alone is not repeated in each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from stoker.backtest.conformance.recorded import Case
from stoker.checks import keda
from stoker.errors import InputError
from stoker.resources.admission import Admission, admit
from stoker.resources.composing import Composer
from stoker.scaling.spec import ScaleTargetRef, TriggerSpec
from stoker.triggers.cron import location

FIELDS = frozenset({"id", "kind", "what", "strict", "lenient", "stored"})

_NAMESPACE = "val"
_PROMETHEUS = re.compile(r"http://127\.0\.0\.1:19093/val/?")
# Scalers that connect when they are built. Nobody listened where the recording pointed them to.
_CONNECT_AT_ONCE = {
    "rabbitmq", "redis", "redis-cluster", "redis-cluster-streams", "redis-sentinel",
    "redis-sentinel-streams", "redis-streams",
}  # fmt: skip
_MANAGED = re.compile(
    r"the (?P<what>workload|HPA) '(?P<name>[^']*)' .*is already managed by the ScaledObject "
    r"'(?P<other>[^']*)'"
)
_FOREIGN = (
    keda.Autoscaler("foreign1", ScaleTargetRef("hpa-target")),
    keda.Autoscaler("foreign2", ScaleTargetRef("hpa-target2")),
    keda.Autoscaler("foreign3", ScaleTargetRef("hpa-target3"), is_shared=True),
)
_SPECIAL_TARGETS = ("shared-target", "hpa-target", "hpa-target2", "hpa-target3")


def validation_differences(case: Case) -> Iterator[str]:
    """What differs in one line."""
    name = f"{case['id']} {case['what']}"
    manifest, duplicates = _manifest(case)
    verdicts: dict[str, Admission] = {}
    for mode in ("strict", "lenient"):
        verdict = verdicts[mode] = admit(
            manifest,
            kind=case["kind"],
            namespace=_NAMESPACE,
            strict=mode == "strict",
            duplicates=duplicates,
        )
        for text in _admission_differences(verdict, case[mode]):
            yield f"{name}: {mode}: {text}"
    found = verdicts["lenient"]
    if list(found.warnings) != (case["lenient"].get("warnings") or []):
        recorded = case["lenient"].get("warnings")
        yield f"{name}: warnings {list(found.warnings)}, recorded {recorded}"
    if found.stored != case["stored"]:
        yield f"{name}: stored {found.stored}, recorded {case['stored']}"
    if found.stored is not None:
        for text in _keda_differences(found.stored, case):
            yield f"{name}: {text}"


def _manifest(case: Case) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The resource, and the keys that its YAML gives twice."""
    if "manifest" in case:
        return case["manifest"], ()
    twice: list[tuple[str, int]] = []
    root = Composer("", 0, twice).compose(case["manifest_yaml"])
    told = tuple(f'line {line}: key "{key}" already set in map' for key, line in twice)
    return (root.value if root else {}), told


def _admission_differences(verdict: Admission, recorded: Case) -> Iterator[str]:
    if verdict.code != recorded["code"]:
        told = verdict.message or [cause.message for cause in verdict.causes]
        yield f"{verdict.code} {told}, recorded {recorded['code']} {recorded.get('message', '')}"
        return
    found = {(cause.field, cause.reason) for cause in verdict.causes}
    wanted = {(field, reason) for field, reason, _ in recorded.get("causes") or ()}
    if found != wanted and recorded.get("reason") == "Invalid":
        yield f"causes {sorted(found)}, recorded {sorted(wanted)}"


def _keda_differences(stored: dict[str, Any], case: Case) -> Iterator[str]:
    webhook = case.get("webhook") or {}
    if webhook.get("called") and webhook.get("allowed") is not None:
        refusal = _webhook_refusal(stored, case)
        if (refusal is None) != webhook["allowed"]:
            told = webhook.get("message") or "allowed"
            yield f"webhook: {refusal or 'allowed'}, recorded {told}"
    ready = ((case.get("keda") or {}).get("conditions") or {}).get("Ready")
    if case["kind"] == "ScaledObject" and ready:
        found = keda.readiness(stored, _cluster(case), _source)
        if [found.status, found.reason] != ready[:2]:
            yield f"Ready {found.status} {found.reason} {found.message}, recorded {ready}"
        yield from _autoscaler_differences(stored, case["keda"].get("hpa") or ())


def _autoscaler_differences(stored: dict[str, Any], recorded: Sequence[Case]) -> Iterator[str]:
    """The HPA that KEDA made of it."""
    for autoscaler in recorded:
        found = (keda.autoscaler(stored) or {}).get("spec")
        if found != autoscaler["spec"]:
            yield f"HPA {found}, recorded {autoscaler['spec']}"


def _webhook_refusal(stored: dict[str, Any], case: Case) -> str | None:
    if case["kind"] == "ScaledObject":
        return keda.webhook_refusal(stored, _cluster(case))
    return keda.authentication_refusal(stored.get("spec") or {})


def _cluster(case: Case) -> keda.Cluster:
    """What was in the namespace: a Deployment for each resource, and those of other owners."""
    resources = frozenset({"cpu", "memory"}) if case.get("target_has_requests") else frozenset()
    container = (keda.Container("c", resources),)
    named = (case["id"], *_SPECIAL_TARGETS)
    return keda.Cluster(
        {("deployment", name): container for name in named}, _FOREIGN, tuple(_rivals(case))
    )


def _rivals(case: Case) -> Iterator[tuple[str, ScaleTargetRef, str]]:
    """The ScaledObject that was there before this one and excludes it.

    The lines do not say in which order objects came that exclude each other. Only the refusal
    itself tells, by the name of the other.
    """
    told = (case.get("webhook") or {}).get("message") or ""
    found = _MANAGED.search(told)
    if found is None:
        return
    if found["what"] == "workload":
        yield found["other"], ScaleTargetRef(found["name"]), ""
    else:
        yield found["other"], ScaleTargetRef(""), found["name"]


def _source(trigger: TriggerSpec) -> keda.Source:
    """How the source of a trigger behaved: there was a Prometheus, and nothing else."""
    match trigger.type:
        case "prometheus":
            address = trigger.metadata.get("serverAddress", "")
            answers = _PROMETHEUS.fullmatch(address) is not None
        case "cron":
            answers = _is_zone(trigger.metadata.get("timezone", ""))
        case "external" | "external-push":
            return keda.Source.HAS_NO_METRICS
        case "rabbitmq" if trigger.metadata.get("host", "").startswith("http"):
            answers = False  # asked at polls only
        case kind if kind in _CONNECT_AT_ONCE:
            return keda.Source.CANNOT_BE_BUILT
        case kind:  # those that the HPA asks, or that count pods
            answers = kind in {"cpu", "memory", "kubernetes-workload"}
    return keda.Source.ANSWERS if answers else keda.Source.FAILS


def _is_zone(name: str) -> bool:
    try:
        location(name.strip())
    except InputError:
        return False
    return True
