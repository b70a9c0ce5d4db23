"""Findings that come from reading the files: what is refused, ignored, missing or not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stoker.checks import keda
from stoker.checks.base import Finding, Severity
from stoker.checks.edits import quoting
from stoker.errors import InputError, Place
from stoker.resources.admission import KINDS, admit
from stoker.resources.bundle import Bundle, Reading
from stoker.resources.document import Manifest
from stoker.resources.validation import IN_QUOTES
from stoker.scaling.spec import RESOURCE_TRIGGERS, ScaleTargetRef, ScalingSpec

# What a controller silently leaves out of a resource that it translates, and how bad that is.
IGNORED = {
    "autoscaling-ignored": Severity.WARNING,
    "behavior-dropped": Severity.WARNING,
    "min-replicas-not-zero": Severity.WARNING,
    "pod-metric-not-a-name": Severity.ERROR,
    "prefill-not-run": Severity.INFO,
    "scale-target-ignored": Severity.WARNING,
    "scrape-port-overwritten": Severity.ERROR,
    "target-type-ignored": Severity.WARNING,
    "unknown-field": Severity.WARNING,
    "wva-not-run": Severity.INFO,
}


def from_reading(reading: Reading) -> Iterator[Finding]:
    """What *reading* says without any rule."""
    for error in reading.unreadable:
        yield _refusal("unreadable", error)
    bundle = reading.bundle
    parties = _Parties(bundle)
    for error in reading.refused:
        finding = parties.told(_refusal("refused", error))
        if finding.hint.startswith(IN_QUOTES):
            finding = replace(finding, edits=quoting(bundle.documents, finding.place))
        yield finding
    for one in bundle.ignored:
        severity = IGNORED.get(one.rule, Severity.WARNING)
        yield Finding(one.rule, severity, one.message, one.why, one.fix, one.place, one.about)
    yield from _verdicts(bundle)
    looked_at = set()
    for alone in bundle.unattached:
        about = f"ScaledObject {alone.scaling.name}"
        looked_at.add(about)
        if alone.deployment is None:
            yield Finding(
                "target-not-in-files",
                Severity.INFO,
                f"the scale target {alone.scaling.target} is not in these files",
                "Rules that compare it with what it scales could not be asked",
                "name the file of the scale target too",
                alone.manifest.place("spec", "scaleTargetRef", "name"),
                about,
            )
    for skipped in bundle.skipped:
        if skipped.what not in looked_at:
            reason = f"not looked at: {skipped.reason}"
            yield Finding("not-read", Severity.INFO, reason, "", "", skipped.place, skipped.what)


def _refusal(code: str, error: InputError) -> Finding:
    place = error.place or Place("")
    return Finding(code, Severity.ERROR, error.message, "", error.hint or "", place)


class _Parties:
    """Who refuses what: the API server, KEDA's webhook or its operator, in their own words."""

    def __init__(self, bundle: Bundle) -> None:
        self._manifests = [item for item in bundle.objects if item.kind in KINDS]
        self._verdicts: dict[int, tuple[str, str]] = {}

    def told(self, finding: Finding) -> Finding:
        """*finding*, a refusal, with the code and the words of who refuses the object."""
        for index, manifest in enumerate(self._manifests):
            if not _stands_in(finding.place, manifest):
                continue
            if index not in self._verdicts:
                self._verdicts[index] = _verdict(manifest)
            code, words = self._verdicts[index]
            resource = f"{manifest.kind} {manifest.name}".strip()
            return replace(finding, code=code, why=words, resource=resource)
        return finding


def _stands_in(place: Place, manifest: Manifest) -> bool:
    document = manifest.origin.document
    if manifest.origin.written(()) != () or place.file != document.file or place.line is None:
        return False
    return document.line < place.line <= document.line + document.text.count("\n") + 1


def _verdict(manifest: Manifest) -> tuple[str, str]:
    """A code, and what the party says; no words where none of them would refuse the object."""
    meta = manifest.content.get("metadata")
    namespace = str((meta.get("namespace") if isinstance(meta, dict) else None) or "default")
    verdict = admit(manifest.content, kind=manifest.kind, namespace=namespace, strict=True)
    if verdict.stored is None:
        told = [f"{cause.field}: {cause.message}" for cause in verdict.causes[:1]]
        return "refused", f"The API server says: {(told or [verdict.message])[0]}"
    if manifest.kind != "ScaledObject":
        return "refused", ""
    cluster = _alone(verdict.stored)
    refusal = keda.webhook_refusal(verdict.stored, cluster)
    if refusal is not None:
        return "webhook-refuses", f"KEDA's webhook says: {' '.join(refusal.split())}"
    ready = keda.readiness(verdict.stored, cluster, lambda _: keda.Source.ANSWERS)
    if ready.status == "False":
        return "operator-fails", f"KEDA's operator says: {' '.join(ready.message.split())}"
    return "refused", ""


def _alone(stored: dict[str, Any]) -> keda.Cluster:
    """A cluster that has what the ScaledObject wants, and nothing else."""
    reference = stored["spec"]["scaleTargetRef"]
    kind = (reference.get("kind") or "Deployment").lower()
    container = keda.Container(reference.get("envSourceContainerName") or "", RESOURCE_TRIGGERS)
    kinds = frozenset({(reference.get("apiVersion") or "apps/v1", kind)})
    return keda.Cluster({(kind, reference["name"]): (container,)}, kinds=kinds)


_Scaled = tuple[ScalingSpec, Manifest]


def _scaled(bundle: Bundle) -> list[_Scaled]:
    """Every ScaledObject that could be read."""
    alone = [(one.scaling, one.manifest) for one in bundle.unattached]
    return alone + [
        (one.scaling, one.scaled_object)
        for one in bundle.applications
        if one.scaling is not None and one.scaled_object is not None
    ]


def _verdicts(bundle: Bundle) -> Iterator[Finding]:
    """What KEDA says of objects that hold by themselves, because of those around them."""
    scaled = _scaled(bundle)
    around = _Around(bundle, scaled)
    for scaling, manifest in scaled:
        verdict = admit(
            manifest.content, kind="ScaledObject", namespace=scaling.namespace, strict=False
        )
        if verdict.stored is None:
            continue
        refusal = keda.webhook_refusal(verdict.stored, around.cluster(scaling))
        if refusal is not None:
            yield _webhook(refusal, manifest)
    for authentication in bundle.authentications:
        spec = authentication.manifest.content.get("spec") or {}
        refusal = keda.authentication_refusal(spec)
        if refusal is not None:
            yield _webhook(refusal, authentication.manifest)


def _webhook(refusal: str, manifest: Manifest) -> Finding:
    return Finding(
        "webhook-refuses",
        Severity.ERROR,
        f"KEDA's webhook refuses it: {refusal}",
        (
            "Where the webhook is installed `kubectl apply` fails; without it KEDA takes the "
            "object, and two autoscalers or none at all work on the replicas"
        ),
        "see `stoker check --explain webhook-refuses`",
        manifest.place("spec", key=True),
        f"{manifest.kind} {manifest.name}",
    )


class _Around:
    """The cluster as far as the files say. What they do not have may be there all the same."""

    def __init__(self, bundle: Bundle, scaled: list[_Scaled]) -> None:
        self._scaled: dict[str, list[tuple[str, ScaleTargetRef, str]]] = {}
        for scaling, _ in scaled:
            mine = (scaling.name, scaling.target, scaling.hpa_name)
            self._scaled.setdefault(scaling.namespace, []).append(mine)
        self._by_target: dict[tuple[str, str, str], list[tuple[str, ScaleTargetRef, str]]] = {}
        self._by_hpa: dict[tuple[str, str], list[tuple[str, ScaleTargetRef, str]]] = {}
        for namespace, listed in self._scaled.items():
            for entry in listed:
                self._by_target.setdefault((namespace, *_key(entry[1])), []).append(entry)
                self._by_hpa.setdefault((namespace, entry[2]), []).append(entry)
        self._containers = {
            (item.kind.lower(), item.name): tuple(_containers(item))
            for item in bundle.objects
            if item.kind in {"Deployment", "StatefulSet"}
        }
        self._autoscalers = tuple(
            found for item in bundle.objects if (found := _autoscaler(item)) is not None
        )

    def cluster(self, scaling: ScalingSpec) -> keda.Cluster:
        """What matters for one ScaledObject."""
        target = scaling.target
        key = _key(target)
        unknown = (keda.Container("", RESOURCE_TRIGGERS),)  # not in the files: not to be judged
        near = {
            *self._by_target.get((scaling.namespace, *key), ()),
            *self._by_hpa.get((scaling.namespace, scaling.hpa_name), ()),
        }
        return keda.Cluster(
            {key: self._containers.get(key, unknown)},
            tuple(one for one in self._autoscalers if _key(one.target) == key),
            tuple(sorted(near, key=lambda entry: entry[0])),
            frozenset({(target.api_version, target.kind.lower())}),
        )


def _key(target: ScaleTargetRef) -> tuple[str, str]:
    return target.kind.lower(), target.name


def _containers(manifest: Manifest) -> Iterator[keda.Container]:
    node: Any = manifest.content
    for key in ("spec", "template", "spec"):
        node = node.get(key) if isinstance(node.get(key), dict) else {}
    for container in node.get("containers") or ():
        if not isinstance(container, dict):
            continue
        resources = container.get("resources") or {}
        given = {*(resources.get("requests") or ()), *(resources.get("limits") or ())}
        yield keda.Container(str(container.get("name", "")), frozenset(given & RESOURCE_TRIGGERS))


def _autoscaler(manifest: Manifest) -> keda.Autoscaler | None:
    """An HPA of the files: a person's, or one that KEDA made and a cluster or `render` told."""
    if manifest.kind != "HorizontalPodAutoscaler":
        return None
    spec, meta = manifest.content.get("spec"), manifest.content.get("metadata")
    reference = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
    if not isinstance(reference, dict) or not isinstance(meta, dict):
        return None
    target = ScaleTargetRef(
        str(reference.get("name", "")), str(reference.get("kind", "")),
        str(reference.get("apiVersion", "")),
    )  # fmt: skip
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    shared = annotations.get("validations.keda.sh/hpa-ownership") == "false"
    owner = str(labels.get("scaledobject.keda.sh/name", ""))
    return keda.Autoscaler(manifest.name, target, owner, is_shared=shared)
