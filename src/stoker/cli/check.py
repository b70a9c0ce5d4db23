"""`stoker check`: what is wrong in files, and what to write instead."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from stoker.cli.console import EXIT_ERROR, EXIT_NO, use_color
from stoker.errors import InputError

if TYPE_CHECKING:  # pydantic and the PromQL grammar are not needed to print a help page
    from collections.abc import Callable, Iterable

    from stoker.checks import Finding, Source
    from stoker.resources import Reading


def _explain(context: click.Context, _option: click.Parameter, code: str | None) -> None:
    """`--explain CODE` needs no file."""
    if code is None:
        return
    from stoker.checks import codes  # noqa: PLC0415 - keeps `--help` fast
    from stoker.checks.examining import known_code  # noqa: PLC0415
    from stoker.checks.pages import read_page  # noqa: PLC0415

    if code == "all":
        width = max(map(len, codes()))
        for name in codes():
            page = read_page(name)
            print(f"{name:<{width}}  {page.severity:<7}  {page.summary}")
    else:
        print(read_page(known_code(code, "--explain")).text, end="")
    context.exit()


@click.command(short_help="Say what is wrong in files, and what to write instead.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-n",
    "--namespace",
    default="default",
    show_default=True,
    help="Namespace of objects that name none.",
)
@click.option("--release", default="vllm", show_default=True, help="Helm release name.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="For people, programs, code scanning, or annotations of a pull request.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error", "never"]),
    default="error",
    show_default=True,
    help="End with 1 when there is a finding of this severity or worse.",
)
@click.option(
    "--live",
    metavar="URL",
    help="Ask this Prometheus, or the /metrics page of an engine, the queries of the files.",
)
@click.option(
    "--kubernetes-version", default="1.36", show_default=True, help="Of the cluster it is for."
)
@click.option("--keda-version", default="2.20", show_default=True, help="Of that cluster.")
@click.option("--gpus", type=click.IntRange(min=0), help="How many GPUs that cluster has.")
@click.option("--fix", is_flag=True, help="Mend in the files what can be mended safely.")
@click.option("--diff", is_flag=True, help="Show what --fix would change, and change nothing.")
@click.option("--select", multiple=True, metavar="CODE", help="Only these rules.")
@click.option("--ignore", multiple=True, metavar="CODE", help="Not these rules.")
@click.option(
    "--explain",
    metavar="CODE",
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Print the page of a rule; `all` lists them.",
)
def check(
    *,
    files: tuple[str, ...],
    namespace: str,
    release: str,
    output: str,
    fail_on: str,
    **options: Any,
) -> int:
    """Say what is wrong in FILE..., and what to write instead.

    That is what a cluster refuses, and what it accepts and does not do as it reads. `-` reads from
    standard input. A comment `# stoker: ignore[CODE]` behind a line, above it, or at the head of
    a document keeps a finding quiet.

    Ends with 0 when there is nothing, with 1 when there are findings of the severity of `--fail-on`
    or worse, with 2 when a file cannot be read.
    """
    from stoker.checks import Selection, Versions, examine  # noqa: PLC0415 - keeps `--help` fast
    from stoker.resources import inspect  # noqa: PLC0415

    selection = Selection.of(options["select"], options["ignore"])
    versions = Versions(
        _version("--kubernetes-version", options["kubernetes_version"]),
        _version("--keda-version", options["keda_version"]),
        options["gpus"],
    )
    live = _source(options["live"]) if options["live"] else None

    def look() -> tuple[Reading, tuple[Finding, ...]]:
        reading = inspect(
            files,
            release=release,
            namespace=namespace,
            kubernetes_version=versions.kubernetes,
            stdin=sys.stdin,
        )
        return reading, examine(reading, selection, versions, live)

    reading, findings = look()
    if options["diff"]:
        from stoker.cli.fixing import fix  # noqa: PLC0415

        print(fix(findings, write=False), end="")
        return EXIT_ERROR if reading.unreadable else EXIT_NO if _mendable(findings) else 0
    if options["fix"]:
        reading, findings = _fixed(look, findings, reading)
    _tell(findings, reading, output)
    if reading.unreadable:
        return EXIT_ERROR
    return EXIT_NO if _fails(findings, fail_on) else 0


_ROUNDS = 5  # two faults of one value are mended one after the other


def _fixed(
    look: Callable[[], tuple[Reading, tuple[Finding, ...]]],
    findings: tuple[Finding, ...],
    reading: Reading,
) -> tuple[Reading, tuple[Finding, ...]]:
    """What is left when the files have been mended. The changes go to stderr."""
    from stoker.cli.fixing import fix  # noqa: PLC0415 - keeps `--help` fast

    for _ in range(_ROUNDS):
        changes = fix(findings, write=True)
        if not changes:
            break
        print(changes, end="", file=sys.stderr)
        reading, findings = look()
    return reading, findings


def _mendable(findings: Iterable[Finding]) -> bool:
    return any(finding.edits for finding in findings)


def _source(url: str) -> Source:
    """A Prometheus, or a page where the address ends with ``/metrics``."""
    from stoker.checks import Source  # noqa: PLC0415 - keeps `--help` fast
    from stoker.cli.query_sources import Page, Server  # noqa: PLC0415
    from stoker.clock import wall_time  # noqa: PLC0415

    now = wall_time()
    is_page = url.rstrip("/").endswith("/metrics")
    asked = Page.fetch(url, now) if is_page else Server(url, hint="is a Prometheus running there?")
    return Source(url, lambda query: asked.instant(query, now), now, is_page)


def _version(flag: str, text: str) -> str:
    """`1.37` of `v1.37.2`."""
    found = re.fullmatch(r"v?(\d+\.\d+)(\.\d+)?([-+].*)?", text)
    if found is None:
        raise InputError(f"{flag}: `{text}` is not a version", hint="such as 1.36 or v2.20.2")
    return found[1]


def _tell(findings: tuple[Finding, ...], reading: Reading, output: str) -> None:
    from stoker import __version__  # noqa: PLC0415 - keeps `--help` fast
    from stoker.cli import findings as forms  # noqa: PLC0415

    if output == "json":
        print(forms.as_json(findings))
    elif output == "sarif":
        print(forms.as_sarif(findings, __version__))
    elif output == "github":
        if findings:
            print(forms.as_github(findings))
    else:
        color = use_color(sys.stdout)
        for finding in findings:
            print(forms.finding_text(finding, color=color))
        bundle = reading.bundle
        scaled = sum(1 for item in bundle.objects if item.kind == "ScaledObject")
        print(forms.summary(findings, len(bundle.applications), scaled))


def _fails(findings: Iterable[Finding], fail_on: str) -> bool:
    severities = {"never": (), "error": ("error",), "warning": ("error", "warning")}[fail_on]
    return any(str(finding.severity) in severities for finding in findings)
