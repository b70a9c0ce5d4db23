"""Rules about a trigger's metadata: what KEDA cannot build, and what it silently ignores."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator

from stoker.checks.base import Finding, Severity, Subject
from stoker.checks.keda import TYPES, build_failures
from stoker.scaling.spec import TriggerSpec

# KEDA parses numbers as JSON: `.5`, `5.`, `+5`, `1_000`, `NaN` and `10Gi` are refused.
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_GO_BOOLS = {"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"}
_REQUIRED = ("serverAddress", "query", "threshold")
_PROMETHEUS_KEYS = {
    *_REQUIRED, "activationThreshold", "authModes", "awsRegion", "customAuthHeader",
    "customAuthValue", "customHeaders", "identityOwner", "ignoreNullValues", "metricName",
    "namespace", "queryParameters", "timeout", "unsafeSsl",
}  # fmt: skip


def unbuildable_trigger(subject: Subject) -> Iterator[Finding]:
    """Metadata from which KEDA cannot build a scaler. One such trigger stops all of them."""
    for trigger in subject.scaling.triggers:
        if trigger.type != "prometheus":
            yield from _unbuildable_by_keda(subject, trigger)
            continue
        for key, problem, fix in _problems(trigger):
            text = (problem, _NO_HPA, fix)
            path = ("triggers", trigger.index, "metadata", key)
            place = subject.place(*path, key=not subject.is_written(*path))
            yield subject.finding("unbuildable-trigger", Severity.ERROR, text, place)


_NO_HPA = (
    "KEDA makes no HPA at all: Ready is False with ScaledObjectCheckFailed, and no trigger of this "
    "ScaledObject works. The webhook accepts the object"
)


def _unbuildable_by_keda(subject: Subject, trigger: TriggerSpec) -> Iterator[Finding]:
    """What KEDA says of any other type of trigger."""
    for problem in build_failures((trigger,)):
        is_type = trigger.type not in TYPES
        path = ("triggers", trigger.index, "type" if is_type else "metadata")
        near = difflib.get_close_matches(trigger.type.lower(), sorted(TYPES), n=1)
        hint = f"did you mean `{near[0]}`?" if is_type and near else ""
        text = (" ".join(problem.split()), _NO_HPA, hint or "see KEDA's page of that scaler")
        place = subject.place(*path, key=not is_type)
        yield subject.finding("unbuildable-trigger", Severity.ERROR, text, place)


_Problem = tuple[str, str, str]  # key, what is wrong, what to write


def _problems(trigger: TriggerSpec) -> Iterator[_Problem]:
    metadata = {key: value.strip() for key, value in trigger.metadata.items()}
    for key in _REQUIRED:
        if not metadata.get(key):
            from_env = f"{key}FromEnv"
            note = f"; {from_env} does not work for prometheus" if from_env in metadata else ""
            yield key, f"the prometheus trigger has no `{key}`{note}", f"{key}: ..."
    for key in ("threshold", "activationThreshold"):
        if metadata.get(key):
            yield from _number_problems(key, metadata[key])
    address = metadata.get("serverAddress", "")
    if address and not address.startswith(("http://", "https://")):
        problem = f'`serverAddress` "{address}" has no scheme'
        yield "serverAddress", problem, f"serverAddress: http://{address}"
    for key in ("ignoreNullValues", "unsafeSsl"):
        if metadata.get(key, "true") not in _GO_BOOLS:
            yield key, f'`{key}` "{metadata[key]}" is neither true nor false', f'{key}: "true"'
    for key in ("customHeaders", "queryParameters"):
        pairs = metadata.get(key, "")
        if pairs and any(pair.count("=") != 1 for pair in pairs.split(",")):
            problem = f"`{key}` must be key=value pairs, with one `=` in each"
            yield key, problem, "put the value into a TriggerAuthentication: the event prints it"


def _number_problems(key: str, value: str) -> Iterator[_Problem]:
    if not _JSON_NUMBER.fullmatch(value) or not math.isfinite(float(value)):
        yield key, f'`{key}` "{value}" is not a number to KEDA', f'{key}: "5"'


def metric_type_in_metadata(subject: Subject) -> Iterator[Finding]:
    """``metricType`` one level too deep."""
    for trigger in subject.scaling.triggers:
        if "metricType" not in trigger.metadata:
            continue
        value, acts = trigger.metadata["metricType"], trigger.metric_type
        text = (
            f"metricType inside metadata is ignored, {acts} is in force",
            "KEDA reads metricType beside `type`, and takes AverageValue where there is none",
            f"metricType: {value}, indented like `type`",
        )
        place = subject.place("triggers", trigger.index, "metadata", "metricType", key=True)
        severity = Severity.INFO if value == acts else Severity.WARNING
        yield subject.finding("metric-type-in-metadata", severity, text, place)


def unknown_metadata(subject: Subject) -> Iterator[Finding]:
    """Metadata that the prometheus scaler does not read."""
    for trigger in subject.scaling.triggers:
        if trigger.type != "prometheus":
            continue
        for key in trigger.metadata:
            if key in _PROMETHEUS_KEYS or key == "metricType":
                continue
            near = difflib.get_close_matches(key, sorted(_PROMETHEUS_KEYS), n=1, cutoff=0.7)
            text = (
                f"the prometheus trigger does not know `{key}`",
                "KEDA ignores it without a word, and its default is in force",
                f"{near[0]}: {json.dumps(trigger.metadata[key])}" if near else "leave it out",
            )
            place = subject.place("triggers", trigger.index, "metadata", key, key=True)
            yield subject.finding("unknown-metadata", Severity.WARNING, text, place)


def activation_above_threshold(subject: Subject) -> Iterator[Finding]:
    """A load that needs replicas and does not count as activity."""
    if not subject.scales_to_zero:
        return
    for trigger in subject.scaling.triggers:
        threshold = _number(trigger, "threshold")
        activation = _number(trigger, "activationThreshold")
        if threshold is None or activation is None or activation <= threshold:
            continue
        text = (
            f"activationThreshold {activation:g} is above threshold {threshold:g}",
            (
                "A value between them needs more than one replica and yet counts as no activity: "
                "at zero it does not wake, and running replicas go to zero after the cooldown"
            ),
            f'activationThreshold: "{min(threshold, 1):g}" or less; it is left at exactly that',
        )
        place = subject.place("triggers", trigger.index, "metadata", "activationThreshold")
        yield subject.finding("activation-above-threshold", Severity.ERROR, text, place)


def _number(trigger: TriggerSpec, key: str) -> float | None:
    text = trigger.metadata.get(key, "").strip()
    return float(text) if _JSON_NUMBER.fullmatch(text) else None
