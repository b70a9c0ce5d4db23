"""`stoker describe`, as kubectl describes ScaledObjects and HPAs.

A ScaledObject is a custom resource: kubectl knows nothing of it and prints its fields as they are,
with headings made from their names. Deployments and pods: :mod:`stoker.ui.describe_workloads`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stoker.api.kinds import DEPLOYMENT, HPA, POD, kind_of
from stoker.ui.ages import age
from stoker.ui.columns import at, metric_pairs, source_key
from stoker.ui.describe_workloads import (
    annotation_lines,
    deployment_lines,
    label_lines,
    long_time,
    pod_lines,
)
from stoker.ui.tabs import tabulate

JsonObject = dict[str, Any]
# In the heading of a custom resource already; managedFields are nobody's reading.
_SKIPPED = frozenset(
    f"metadata.{key}" for key in ("name", "namespace", "labels", "annotations", "managedFields")
)
_ACRONYMS = frozenset({"API", "URL", "UID", "OSB", "GUID"})
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|-")


def describe(found: JsonObject, events: Sequence[JsonObject], now: float) -> str:
    """The object in full, and the *events* that are about it."""
    match kind_of(found):
        case kind if kind is HPA:
            lines = _hpa_lines(found)
        case kind if kind is DEPLOYMENT:
            lines = deployment_lines(found)
        case kind if kind is POD:
            lines = pod_lines(found)
        case _:
            lines = _custom_resource_lines(found)
    if not events:
        return tabulate([*lines, "Events:\t<none>"])
    return tabulate(lines) + tabulate(_event_lines(events, now))


def events_about(found: JsonObject, events: Sequence[JsonObject]) -> list[JsonObject]:
    """Those *events* that are about the object, in the order they came."""
    meta = found["metadata"]
    identity = (found["kind"], meta["name"], meta.get("namespace", ""))

    def about(event: JsonObject) -> tuple[str, str, str]:
        involved = event["involvedObject"]
        return involved["kind"], involved["name"], involved.get("namespace", "")

    return [event for event in events if about(event) == identity]


def _event_lines(events: Sequence[JsonObject], now: float) -> Iterator[str]:
    yield "Events:"
    yield "  Type\tReason\tAge\tFrom\tMessage"
    yield "  ----\t------\t----\t----\t-------"
    for event in sorted(events, key=lambda event: str(event.get("lastTimestamp", ""))):
        since = age(event.get("lastTimestamp"), now)
        if event.get("count", 1) > 1:
            since += f" (x{event['count']} over {age(event.get('firstTimestamp'), now)})"
        cells = (event["type"], event["reason"], since, at(event, "source.component", ""))
        yield "  " + "\t".join((*cells, str(event.get("message", "")).strip()))


def _custom_resource_lines(found: JsonObject) -> Iterator[str]:
    yield f"Name:\t{found['metadata']['name']}"
    yield f"Namespace:\t{at(found, 'metadata.namespace', '')}"
    yield from label_lines(at(found, "metadata.labels", {}))
    yield from annotation_lines(at(found, "metadata.annotations", {}))
    yield from _content_lines(found, 0, "")


def _content_lines(content: Mapping[str, Any], level: int, path: str) -> Iterator[str]:
    """Every field in the order of its name: values behind a tab, maps and lists indented."""
    indent = "  " * level
    for field in sorted(content):
        here, value = f"{path}{field}", content[field]
        if here in _SKIPPED:
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{smart_label(field)}:"
            yield from _content_lines(value, level + 1, f"{here}.")
        elif isinstance(value, list):
            yield f"{indent}{smart_label(field)}:"
            for item in value:
                if isinstance(item, Mapping):
                    yield from _content_lines(item, level + 1, f"{here}.")
                else:
                    yield f"{indent}  {_go(item)}"
        else:
            yield f"{indent}{smart_label(field)}:\t{_go(value)}"


def _go(value: Any) -> str:
    """A value as Go's ``%v`` prints it."""
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def smart_label(field: str) -> str:
    """``scaleTargetGVKR`` -> ``Scale Target GVKR``; a name with digits or dots stays."""
    if not all(char.isalpha() or char == "-" for char in field):
        return field
    words = (word.upper() if word.upper() in _ACRONYMS else word for word in _WORD.findall(field))
    return " ".join(word[:1].upper() + word[1:] for word in words)


def _hpa_lines(found: JsonObject) -> Iterator[str]:
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    target = spec["scaleTargetRef"]
    yield f"Name:\t{meta['name']}"
    yield f"Namespace:\t{meta.get('namespace', '')}"
    yield from label_lines(meta.get("labels", {}))
    yield from annotation_lines(meta.get("annotations", {}))
    yield f"CreationTimestamp:\t{long_time(meta['creationTimestamp'])}"
    yield f"Reference:\t{target['kind']}/{target['name']}"
    yield "Metrics:\t( current / target )"
    for metric, (current, wanted) in zip(spec["metrics"], metric_pairs(found), strict=True):
        yield _metric_line(found, metric, current, wanted)
    yield f"Min replicas:\t{spec.get('minReplicas', '<unset>')}"
    yield f"Max replicas:\t{spec['maxReplicas']}"
    if behavior := spec.get("behavior"):
        yield "Behavior:"
        yield from _rules_lines("Scale Up", behavior.get("scaleUp"))
        yield from _rules_lines("Scale Down", behavior.get("scaleDown"))
    current, desired = status.get("currentReplicas", 0), status.get("desiredReplicas", 0)
    yield f"{target['kind']} pods:\t{current} current / {desired} desired"
    yield from _hpa_condition_lines(status.get("conditions") or ())


def _metric_line(found: JsonObject, metric: JsonObject, current: str, wanted: str) -> str:
    """One metric, current and target, in the words of its type."""
    key = source_key(metric)
    source = metric[key]
    if key in {"resource", "containerResource"}:
        return _resource_line(found, source, current.partition(": ")[2], wanted)
    average = wanted.endswith(" (avg)") or key == "pods"
    wanted = wanted.removesuffix(" (avg)")
    about = f'"{source["metric"]["name"]}"'
    if key == "pods":
        return f"  {about} on pods:\t{current} / {wanted}"
    if key == "object":
        described = source["describedObject"]
        about += f" on {described['kind']}/{described['name']}"
    word = "average value" if average else "value"
    return f"  {about} (target {word}):\t{current} / {wanted}"


def _resource_line(
    found: JsonObject, resource: Mapping[str, Any], current: str, wanted: str
) -> str:
    what = f"resource {resource['name']}"
    if "container" in resource:
        what += f' of container "{resource["container"]}"'
    if not wanted.endswith("%"):
        return f"  {what} on pods:\t{current} / {wanted}"
    for status in at(found, "status.currentMetrics", ()):
        one = status.get(source_key(status), {})
        same = one.get("name") == resource["name"]
        if same and one.get("container") == resource.get("container") and current.endswith("%"):
            current = f"{current} ({one['current'].get('averageValue', '0')})"
    return f"  {what} on pods  (as a percentage of request):\t{current} / {wanted}"


def _rules_lines(heading: str, rules: Mapping[str, Any] | None) -> Iterator[str]:
    if rules is None:
        return
    yield f"  {heading}:"
    window = rules.get("stabilizationWindowSeconds")
    if window is not None:
        yield f"    Stabilization Window: {window} seconds"
    if policies := rules.get("policies"):
        yield f"    Select Policy: {rules.get('selectPolicy', 'Max')}"
        yield "    Policies:"
        for policy in policies:
            amount = f"Value: {policy['value']}\tPeriod: {policy['periodSeconds']} seconds"
            yield f"      - Type: {policy['type']}\t{amount}"


def _hpa_condition_lines(conditions: Sequence[JsonObject]) -> Iterator[str]:
    if not conditions:
        return
    yield "Conditions:"
    yield "  Type\tStatus\tReason\tMessage"
    yield "  ----\t------\t------\t-------"
    for condition in conditions:
        keys = ("type", "status", "reason", "message")
        yield "  " + "\t".join(str(condition.get(key, "")) for key in keys)
