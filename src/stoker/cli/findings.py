"""Findings as people, programs and code reviews read them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # pydantic and the PromQL grammar are not needed to print a help page
    from stoker.checks import Finding

_COLORS = {"error": "red", "warning": "yellow", "info": "cyan"}
_SEVERITIES = ("error", "warning", "info")
_SARIF_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def finding_text(finding: Finding, *, color: bool = False) -> str:
    """A finding as errors are told: what, where, why, and the hint."""
    severity = str(finding.severity)
    title = (
        click.style(f"{severity}:", fg=_COLORS[severity], bold=True) if color else f"{severity}:"
    )
    about = f" ({finding.resource})" if finding.resource else ""
    lines = [f"{title} {finding.message}{about}"]
    if finding.place.file:
        lines.append(f"  --> {finding.place}")
    lines.append("")
    if finding.why:
        lines.append(f"why: {finding.why}")
    if finding.hint:
        lines.append(f"hint: {finding.hint}")
    lines.append(f"rule: {finding.code}")
    return "\n".join(lines) + "\n"


def summary(findings: Iterable[Finding], models: int, scaled_objects: int) -> str:
    """`2 errors, 1 warning in 1 model server with 1 ScaledObject`."""
    counts = Counter(str(finding.severity) for finding in findings)
    told = [_count(counts[severity], severity) for severity in _SEVERITIES if counts[severity]]
    where = f"{_count(models, 'model server')} and {_count(scaled_objects, 'ScaledObject')}"
    return f"{', '.join(told) or 'nothing wrong'} in {where}"


def _count(number: int, noun: str) -> str:
    plural = "" if number == 1 or noun == "info" else "s"
    return f"{number} {noun}{plural}"


def as_json(findings: Iterable[Finding]) -> str:
    """A list of objects. Line and column count from 1 and are null where there is none."""
    return json.dumps([_record(finding) for finding in findings], indent=2, ensure_ascii=False)


def _record(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "file": finding.place.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "resource": finding.resource,
        "message": _sentences(finding),
        "hint": finding.hint,
    }


def _sentences(finding: Finding) -> str:
    """What is wrong and what it does, in one text."""
    return f"{finding.message}. {finding.why}" if finding.why else finding.message


def as_github(findings: Iterable[Finding]) -> str:
    """Workflow commands: GitHub shows them beside the lines of a pull request."""
    return "\n".join(_annotation(finding) for finding in findings)


_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}


def _annotation(finding: Finding) -> str:
    place = finding.place
    properties = {"file": place.file, "line": place.line, "col": place.column}
    written = [f"{key}={_property(str(value))}" for key, value in properties.items() if value]
    written.append(f"title={_property(finding.code)}")
    text = _sentences(finding) + (f"\nhint: {finding.hint}" if finding.hint else "")
    return f"::{_GITHUB[finding.severity]} {','.join(written)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(findings: Sequence[Finding], version: str) -> str:
    """A SARIF 2.1.0 log with one run; its rules are those that found something."""
    from stoker.checks.pages import read_page  # noqa: PLC0415 - keeps `--help` fast

    codes = sorted({finding.code for finding in findings})
    rules = []
    for code in codes:
        page = read_page(code)
        rules.append(
            {
                "id": code,
                "shortDescription": {"text": page.summary},
                "help": {"text": page.text, "markdown": page.text},
                "defaultConfiguration": {"level": _SARIF_LEVELS[page.severity]},
            }
        )
    driver = {"name": "stoker", "version": version, "rules": rules}
    results = [_result(finding, codes.index(finding.code)) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _result(finding: Finding, rule_index: int) -> dict[str, Any]:
    place = finding.place
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule_index,
        "level": _SARIF_LEVELS[finding.severity],
        "message": {
            "text": _sentences(finding) + (f"\nhint: {finding.hint}" if finding.hint else "")
        },
    }
    if place.file:
        location: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.file)}}
        if place.line:
            region = {"startLine": place.line, "startColumn": place.column}
            location["region"] = {key: value for key, value in region.items() if value}
        result["locations"] = [{"physicalLocation": location}]
    return result


def _uri(file: str) -> str:
    """A relative reference, or a file URI; standard input has no better name than its own."""
    from pathlib import Path  # noqa: PLC0415
    from urllib.parse import quote  # noqa: PLC0415

    return Path(file).as_uri() if Path(file).is_absolute() else quote(file)
