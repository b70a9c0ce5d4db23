"""Rules about a trigger's metadata: what KEDA cannot build, and what it silently ignores."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from zoneinfo import available_timezones

from stoker.checks.base import Finding, Severity, Subject
from stoker.checks.keda import TYPES, build_failures
from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.assumptions import certain_problem
from stoker.triggers.base import TriggerContext
from stoker.triggers.cron import location
from stoker.triggers.parameters import Source
from stoker.triggers.registry import SUPPORTED

# KEDA parses numbers as JSON: `.5`, `5.`, `+5`, `1_000`, `NaN` and `10Gi` are refused.
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_GO_BOOLS = {"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"}
_REQUIRED = ("serverAddress", "query", "threshold")
# What KEDA still takes besides, though it does nothing.
_OBSOLETE = {"prometheus": {"metricName", "awsRegion", "identityOwner"}}
_ANYTHING = {"external", "external-push"}  # they pass their metadata on


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
    """What KEDA says of any other type of trigger, whatever its secrets and variables are."""
    problems = list(build_failures((trigger,)))
    if problems and trigger.type in SUPPORTED:
        certain = certain_problem(trigger, TriggerContext(lambda _: None))
        problems = [certain] if certain else []
    for problem in problems:
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
        is_same = value == acts
        severity = Severity.INFO if is_same else Severity.WARNING
        path = ("triggers", trigger.index, "metadata", "metricType")
        edits = subject.edit(*path) if is_same else ()
        yield subject.finding("metric-type-in-metadata", severity, text, place, edits)


def unknown_metadata(subject: Subject) -> Iterator[Finding]:
    """Metadata that the scaler does not read."""
    for trigger in subject.scaling.triggers:
        known = _known_metadata(trigger.type)
        for key in trigger.metadata if known else ():
            if key in known or key == "metricType":
                continue
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.7)
            text = (
                f"the {trigger.type} trigger does not know `{key}`",
                "KEDA ignores it without a word, and the default of what was meant is in force",
                f"did you mean `{near[0]}`?" if near else "leave it out",
            )
            place = subject.place("triggers", trigger.index, "metadata", key, key=True)
            yield subject.finding("unknown-metadata", Severity.WARNING, text, place)


def _known_metadata(kind: str) -> set[str]:
    """The keys that a scaler reads; none where that is not known, or it takes all."""
    made = SUPPORTED.get(kind)
    if made is None or kind in _ANYTHING:
        return set()
    known = set(_OBSOLETE.get(kind, ()))
    for parameter in made.PARAMETERS:
        if Source.METADATA in parameter.order:
            known.update(parameter.names)
        if Source.ENV in parameter.order:
            known.update(f"{name}FromEnv" for name in parameter.names)
    return known


def unknown_time_zone(subject: Subject) -> Iterator[Finding]:
    """A cron trigger in a zone that there is not."""
    for trigger in subject.scaling.triggers:
        zone = trigger.metadata.get("timezone", "").strip()
        if trigger.type != "cron" or not zone or _is_zone(zone):
            continue
        near = difflib.get_close_matches(zone, sorted(available_timezones()), n=1)
        text = (
            f"there is no time zone {zone}",
            (
                "KEDA looks it up at each poll: the HPA is made, the trigger always fails, and "
                "Ready is False with TriggerError"
            ),
            f"timezone: {near[0]}" if near else "an IANA name such as Europe/Berlin",
        )
        place = subject.place("triggers", trigger.index, "metadata", "timezone")
        yield subject.finding("unknown-time-zone", Severity.ERROR, text, place)


def _is_zone(name: str) -> bool:
    try:
        location(name)
    except InputError:
        return False
    return True


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
