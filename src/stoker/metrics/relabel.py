"""Relabelling: the steps that Prometheus takes on the labels of a target or of a sample.

Source: Prometheus' configuration reference, ``relabel_config``; documents of the Prometheus
Operator write the same fields in camel case.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from stoker.errors import InputError
from stoker.metrics.regex import compile_regex

_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_ACTIONS: Final = frozenset(
    [
        "replace",
        "keep",
        "drop",
        "keepequal",
        "dropequal",
        "hashmod",
        "labelmap",
        "labeldrop",
        "labelkeep",
        "lowercase",
        "uppercase",
    ]
)
_NEED_TARGET: Final = frozenset(
    ["replace", "keepequal", "dropequal", "hashmod", "lowercase", "uppercase"]
)


@dataclass(frozen=True, slots=True)
class Relabeling:
    """One step. The defaults are Prometheus'."""

    action: str = "replace"
    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    target_label: str = ""
    regex: str = "(.*)"
    modulus: int = 0
    replacement: str = "$1"


def read_relabeling(document: object, where: str) -> Relabeling:
    """A step as the Operator's documents write it. Raises InputError that names *where*."""
    if not isinstance(document, Mapping):
        raise InputError(f"`{where}` must be a mapping")
    text = {key: _text(document, key, where) for key in ("separator", "targetLabel", "regex")}
    action = (_text(document, "action", where) or "replace").lower()
    sources = document.get("sourceLabels") or ()
    if not isinstance(sources, list | tuple) or not all(isinstance(one, str) for one in sources):
        raise InputError(f"`{where}.sourceLabels` must be a list of label names")
    if action not in _ACTIONS:
        raise InputError(
            f"unknown relabelling action `{action}` in `{where}`",
            hint="one of " + ", ".join(sorted(_ACTIONS)),
        )
    modulus = document.get("modulus") or 0
    if not isinstance(modulus, int) or (action == "hashmod" and modulus <= 0):
        raise InputError(f"`{where}`: `hashmod` needs a positive `modulus`")
    if action in _NEED_TARGET and not text["targetLabel"]:
        raise InputError(f"`{where}`: `{action}` needs a `targetLabel`")
    regex, replacement = text["regex"], _text(document, "replacement", where)
    separator = text["separator"]
    try:
        compile_regex("(.*)" if regex is None else regex)
    except InputError as error:
        raise InputError(f"`{where}.regex`: {error.message}", hint=error.hint) from None
    return Relabeling(
        action,
        tuple(sources),
        ";" if separator is None else separator,
        text["targetLabel"] or "",
        "(.*)" if regex is None else regex,
        modulus,
        "$1" if replacement is None else replacement,
    )


def _text(document: Mapping[str, object], key: str, where: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"`{where}.{key}` must be a string, got `{value}`")
    return value


def relabelled(labels: Mapping[str, str], steps: Iterable[Relabeling]) -> dict[str, str] | None:
    """The labels after all *steps*; None if one of them drops the target or sample."""
    current = {name: value for name, value in labels.items() if value}
    for step in steps:
        if not _apply(step, current):
            return None
    return current


def _apply(step: Relabeling, labels: dict[str, str]) -> bool:  # noqa: C901, PLR0912 - one case an action
    """Takes one step. False: what has these labels is dropped."""
    pattern = compile_regex(step.regex)
    value = step.separator.join(labels.get(name, "") for name in step.source_labels)
    match step.action:
        case "keep":
            return pattern.matches(value)
        case "drop":
            return not pattern.matches(value)
        case "keepequal":
            return value == labels.get(step.target_label, "")
        case "dropequal":
            return value != labels.get(step.target_label, "")
        case "replace":
            found = pattern.fullmatch(value)
            if found is not None:
                target = expand(step.target_label, found)
                _set(labels, target, expand(step.replacement, found))
        case "lowercase":
            _set(labels, step.target_label, value.lower())
        case "uppercase":
            _set(labels, step.target_label, value.upper())
        case "hashmod":
            digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
            _set(labels, step.target_label, str(int.from_bytes(digest[8:]) % step.modulus))
        case "labelmap":
            for name, text in list(labels.items()):
                found = pattern.fullmatch(name)
                if found is not None:
                    _set(labels, expand(step.replacement, found), text)
        case _:
            dropping = step.action == "labeldrop"
            for name in [one for one in labels if pattern.matches(one) == dropping]:
                del labels[name]
    return True


def _set(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def expand(template: str, found: re.Match[str]) -> str:
    """Go's regexp templates: ``$1``, ``${1}``, ``$name``, ``$$``; an unknown group is empty."""

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdigit():
            number = int(name)
            return (found[number] or "") if number <= found.re.groups else ""
        return (found[name] or "") if name in found.re.groupindex else ""

    return _REFERENCE.sub(group, template)
