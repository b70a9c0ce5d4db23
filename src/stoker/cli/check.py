"""`stoker check`: what is wrong in files, and what to write instead."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from stoker.cli.console import EXIT_NO, use_color
from stoker.cli.files import file_options

if TYPE_CHECKING:  # pydantic and the PromQL grammar are not needed to print a help page
    from stoker.checks import Finding
    from stoker.resources import Bundle

_COLORS = {"error": "red", "warning": "yellow", "info": "cyan"}
_SEVERITIES = ("error", "warning", "info")


@click.command(short_help="Say what is wrong in files, and what to write instead.")
@file_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error", "never"]),
    default="error",
    show_default=True,
    help="End with 1 when there is a finding of this severity or worse.",
)
def check(
    *, files: tuple[str, ...], namespace: str, release: str, output: str, fail_on: str
) -> int:
    """Say what is wrong in FILE... although a cluster accepts it, and what to write instead.

    Files that cannot be read or understood end with 2. `-` reads from standard input.
    """
    from stoker.checks import check as find  # noqa: PLC0415 - keeps `--help` fast
    from stoker.resources import load  # noqa: PLC0415

    bundle = load(files, release=release, namespace=namespace, stdin=sys.stdin)
    findings = find(bundle)
    if output == "json":
        print(_as_json(findings, bundle))
    else:
        color = use_color(sys.stdout)
        for finding in findings:
            print(finding_text(finding, color=color))
        for skipped in bundle.skipped:
            print(f"skipped: {skipped.what}: {skipped.reason}\n  --> {skipped.place}\n")
        print(_summary(findings, bundle))
    return EXIT_NO if _fails(findings, fail_on) else 0


def finding_text(finding: Finding, *, color: bool = False) -> str:
    """A finding as errors are told: what, where, why, and the hint."""
    severity = str(finding.severity)
    title = (
        click.style(f"{severity}:", fg=_COLORS[severity], bold=True) if color else f"{severity}:"
    )
    about = f" ({finding.about})" if finding.about else ""
    return (
        f"{title} {finding.message}{about}\n"
        f"  --> {finding.place}\n\n"
        f"why: {finding.why}\n"
        f"hint: {finding.fix}\n"
        f"rule: {finding.rule}\n"
    )


def _summary(findings: Iterable[Finding], bundle: Bundle) -> str:
    counts = Counter(str(finding.severity) for finding in findings)
    told = [_count(counts[severity], severity) for severity in _SEVERITIES if counts[severity]]
    models = _count(len(bundle.applications), "model server")
    scaled = _count(sum(a.scaling is not None for a in bundle.applications), "ScaledObject")
    return f"{', '.join(told) or 'nothing wrong'} in {models} with {scaled}"


def _count(number: int, noun: str) -> str:
    plural = "" if number == 1 or noun == "info" else "s"
    return f"{number} {noun}{plural}"


def _as_json(findings: Sequence[Finding], bundle: Bundle) -> str:
    document = {
        "findings": [asdict(finding) for finding in findings],
        "skipped": [asdict(skipped) for skipped in bundle.skipped],
    }
    return json.dumps(document, indent=2)


def _fails(findings: Iterable[Finding], fail_on: str) -> bool:
    severities = {"never": (), "error": ("error",), "warning": ("error", "warning")}[fail_on]
    return any(str(finding.severity) in severities for finding in findings)
