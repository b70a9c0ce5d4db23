"""Rules about the objects around a ScaledObject: monitors, credentials, versions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stoker.checks.base import Finding, Severity, Subject
from stoker.metrics.monitors import selects
from stoker.resources.authentication import Authentication
from stoker.resources.bundle import Bundle
from stoker.resources.monitoring import PlacedMonitor

# Parameters that KEDA's prometheus scaler reads only in one of its authModes.
_MODES = {
    "ca": "tls", "cert": "tls", "key": "tls", "bearerToken": "bearer", "username": "basic",
    "password": "basic", "customAuthHeader": "custom", "customAuthValue": "custom",
}  # fmt: skip


def monitor_selects_nothing(bundle: Bundle) -> Iterator[Finding]:
    """A PodMonitor or ServiceMonitor that matches none of the files' pods or Services."""
    if not bundle.applications:
        return
    for placed in bundle.monitors:
        monitor = placed.monitor
        candidates = list(_labels(bundle, placed))
        if any(selects(monitor.selector, labels) for labels in candidates):
            continue
        if not candidates:
            continue  # the Services are made by something that is not in the files
        what = "pods" if monitor.kind == "PodMonitor" else "Services"
        yield Finding(
            "monitor-selects-nothing",
            Severity.WARNING,
            f"the selector matches none of the {what} in these files",
            (
                "Prometheus scrapes nothing through it, the query is empty, and an empty result is "
                "a good 0 to KEDA"
            ),
            f"labels that they have: {_told(candidates[0])}",
            placed.origin,
            str(placed),
        )


def sticky_service(bundle: Bundle) -> Iterator[Finding]:
    """A Service that keeps each client at one replica."""
    for manifest in bundle.objects:
        spec = manifest.content.get("spec")
        if manifest.kind != "Service" or not isinstance(spec, Mapping):
            continue
        selector = spec.get("selector")
        if spec.get("sessionAffinity") != "ClientIP" or not isinstance(selector, Mapping):
            continue
        labels = [application.workload.pod_labels for application in bundle.applications]
        if not any(selector.items() <= mine.items() for mine in labels):
            continue
        yield Finding(
            "sticky-service",
            Severity.WARNING,
            "sessionAffinity ClientIP keeps each client at one replica",
            (
                "New replicas get new clients only. Behind a gateway or a load balancer there is "
                "one client, and so one replica does everything, however many there are"
            ),
            "sessionAffinity: None, and a gateway that looks at the pending requests",
            manifest.place("spec", "sessionAffinity"),
            f"Service {manifest.name}",
        )


def _labels(bundle: Bundle, placed: PlacedMonitor) -> Iterator[Mapping[str, str]]:
    if placed.monitor.kind == "PodMonitor":
        yield from (application.workload.pod_labels for application in bundle.applications)
    else:
        yield from (service.labels for service in bundle.services)


def _told(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in labels.items()) or "there are none"


def takes_over_autoscaler(subject: Subject) -> Iterator[Finding]:
    """The name of an HPA that belongs to another workload."""
    for manifest in subject.bundle.objects:
        if manifest.kind != "HorizontalPodAutoscaler" or manifest.name != subject.scaling.hpa_name:
            continue
        spec = manifest.content.get("spec")
        reference = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
        target = str(reference.get("name", "")) if isinstance(reference, Mapping) else ""
        if not subject.scaling.horizontal_pod_autoscaler_name or (
            target == subject.scaling.target.name
        ):
            continue
        text = (
            f"the HPA {manifest.name} belongs to {target}",
            (
                "KEDA takes an HPA of that name over and rewrites it, whatever it scales. The "
                "webhook allows it, Ready is True, and the other workload is left without an "
                "autoscaler"
            ),
            "another name, or none: KEDA then makes keda-hpa-" + subject.scaling.name,
        )
        path = ("advanced", "horizontalPodAutoscalerConfig", "name")
        yield subject.finding("takes-over-autoscaler", Severity.ERROR, text, subject.place(*path))


def missing_authentication(subject: Subject) -> Iterator[Finding]:
    """An ``authenticationRef`` to an object that is not there."""
    known = {(one.kind, one.name): one for one in subject.bundle.authentications}
    for trigger in subject.scaling.triggers:
        name, kind = trigger.authentication_ref, trigger.authentication_kind
        if name is None or (kind, name) in known:
            continue
        near = difflib.get_close_matches(name, [n for k, n in known if k == kind], n=1)
        text = (
            f"the {kind} {name} is not in these files",
            (
                "KEDA ignores a reference to nothing: the query goes out without credentials, with "
                "Ready=True. It fails only where an authMode needs the secret"
            ),
            f"did you mean {near[0]}?" if near else f"name the file of the {kind} too",
        )
        severity = Severity.WARNING if known else Severity.INFO
        place = subject.place("triggers", trigger.index, "authenticationRef", "name")
        yield subject.finding("missing-authentication", severity, text, place)


def authentication_without_mode(subject: Subject) -> Iterator[Finding]:
    """Credentials that no ``authModes`` asks for."""
    known = {(one.kind, one.name): one for one in subject.bundle.authentications}
    for trigger in subject.scaling.triggers:
        reference = trigger.authentication_ref or ""
        found = known.get((trigger.authentication_kind, reference))
        if trigger.type != "prometheus" or found is None:
            continue
        modes = trigger.metadata.get("authModes") or trigger.metadata.get("authMode") or ""
        wanted = {_MODES[name] for name in _parameters(found) if name in _MODES}
        given = {mode.strip() for mode in modes.split(",")}
        if not wanted or wanted & given or "authModes" in _parameters(found):
            continue
        text = (
            f"{found} has credentials that the trigger does not use",
            (
                "The prometheus trigger reads them only in the mode that they belong to. Without "
                "authModes the query goes out without them; a `ca` is ignored with them"
            ),
            f'authModes: "{",".join(sorted(wanted))}" in the trigger\'s metadata',
        )
        place = subject.place("triggers", trigger.index, "authenticationRef", "name")
        yield subject.finding("authentication-without-mode", Severity.WARNING, text, place)


def _parameters(found: Authentication) -> set[str]:
    spec = found.spec
    lists = (spec.secret_target_ref, spec.config_map_target_ref, spec.env)
    return {item.parameter for listed in lists for item in listed or ()}


def polling_not_used(subject: Subject) -> Iterator[Finding]:
    """``pollingInterval`` where KEDA's poll decides nothing."""
    scaling = subject.scaling
    if not subject.is_written("pollingInterval") or subject.scales_to_zero:
        return
    if any(trigger.use_cached_metrics for trigger in scaling.triggers):
        return
    text = (
        f"pollingInterval {scaling.polling_interval:g} does not make scaling faster",
        (
            "It is for 0 <-> 1 and for cached metrics. Between 1 and more the HPA asks by itself, "
            "every 15 s; KEDA 2.20's webhook warns of the same"
        ),
        "leave it out, or add useCachedMetrics",
    )
    place = subject.place("pollingInterval", key=True)
    yield subject.finding("polling-not-used", Severity.INFO, text, place)


def double_slash(subject: Subject) -> Iterator[Finding]:
    """A ``serverAddress`` that ends with a slash."""
    for trigger in subject.scaling.triggers:
        address = trigger.metadata.get("serverAddress", "").strip()
        if trigger.type != "prometheus" or not address.endswith("/"):
            continue
        text = (
            "serverAddress ends with a slash",
            "KEDA asks for //api/v1/query: some proxies answer that with a redirect or 404",
            f"serverAddress: {address.rstrip('/')}",
        )
        path = ("triggers", trigger.index, "metadata", "serverAddress")
        edits = subject.edit(*path, value=address.rstrip("/"))
        yield subject.finding("double-slash", Severity.INFO, text, subject.place(*path), edits)


def paused(subject: Subject) -> Iterator[Finding]:
    """An annotation that keeps it from scaling."""
    for name, value in subject.scaling.annotations.items():
        if not name.startswith("autoscaling.keda.sh/paused") or value in {"false", "0"}:
            continue
        text = (
            f"the annotation {name} is set",
            (
                "Nothing scales in one direction or both while it is there. At zero, with load, "
                "paused-scale-out still shows Active=True"
            ),
            "take the annotation out when the pause is over",
        )
        place = subject.manifest.place("metadata", "annotations", name, key=True)
        yield subject.finding("paused", Severity.INFO, text, place)


# -- versions ---------------------------------------------------------------------------------

_BEHAVIOR = ("advanced", "horizontalPodAutoscalerConfig", "behavior")
# path below spec, the value that needs it (None: any), the first version of KEDA
_KEDA_FIELDS: tuple[tuple[tuple[str, ...], str | None, str], ...] = (
    (("advanced", "scalingModifiers"), None, "2.12"),
    (("fallback", "behavior"), None, "2.17"),
    (("fallback", "behavior"), "scalingModifiers", "2.20"),
)
_KEDA_ANNOTATIONS = {
    "autoscaling.keda.sh/paused-scale-in": "2.18",
    "autoscaling.keda.sh/paused-scale-out": "2.18",
    "autoscaling.keda.sh/force-activation": "2.18",
}
_TOLERANCE = "1.35"  # HPAConfigurableTolerance is on from here


def needs_newer_keda(subject: Subject) -> Iterator[Finding]:
    """A field that the cluster's KEDA does not know yet."""
    version = subject.versions.keda
    for path, value, first in _KEDA_FIELDS:
        written: Any = subject.manifest.content.get("spec")
        for key in path:
            written = written.get(key) if isinstance(written, Mapping) else None
        if written is None or (value is not None and written != value):
            continue
        if _numbers(version) < _numbers(first):
            named = ".".join(path) + (f": {value}" if value else "")
            yield _newer(subject, "KEDA", named, version, first, path)
    for name, first in _KEDA_ANNOTATIONS.items():
        if name in subject.scaling.annotations and _numbers(version) < _numbers(first):
            yield _newer(subject, "KEDA", name, version, first, ())


def needs_newer_kubernetes(subject: Subject) -> Iterator[Finding]:
    """A field that the cluster's HPA controller does not know yet."""
    version = subject.versions.kubernetes
    for direction in ("scaleUp", "scaleDown"):
        path = (*_BEHAVIOR, direction, "tolerance")
        if subject.is_written(*path) and _numbers(version) < _numbers(_TOLERANCE):
            yield _newer(subject, "Kubernetes", "tolerance", version, _TOLERANCE, path)


def _newer(
    subject: Subject, who: str, what: str, version: str, first: str, path: tuple[str, ...]
) -> Finding:
    text = (
        f"{what} needs {who} {first}, and the cluster has {version}",
        "An older one drops the field or ignores it without a word",
        f"{who} {first} or newer, or leave it out",
    )
    place = subject.place(*path, key=True) if path else subject.manifest.place("metadata")
    return subject.finding(f"needs-newer-{who.lower()}", Severity.ERROR, text, place)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
