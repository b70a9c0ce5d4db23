"""`stoker render`: the Kubernetes objects that files stand for."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from stoker.cli.files import compat_option, file_options


@click.command(short_help="Print the Kubernetes objects that files stand for.")
@file_options
@click.option(
    "--to",
    type=click.Choice(["keda", "hpa", "kserve"]),
    help="Only ScaledObjects and what they scale, only HPAs, or InferenceServices.",
)
@compat_option
@click.option(
    "--kubernetes-version",
    default="1.36",
    show_default=True,
    help="Of the cluster it is for; 1.37 lets a HorizontalPodAutoscaler scale to zero.",
)
@click.option(
    "-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True
)
def render(*, files: tuple[str, ...], output: str, **options: Any) -> None:
    """Print what FILE... become in a cluster: all that the chart and the controllers create.

    Helm values become what the chart renders, an InferenceService what KServe's controllers create,
    a ScaledObject comes with the HorizontalPodAutoscaler that KEDA makes of it. What cannot be said
    in the form that is asked for is told on standard error. `-` reads from standard input, and
    `stoker check -` or `stoker up -` read what this prints.
    """
    from stoker.api.rendering import render as rendered  # noqa: PLC0415 - keeps `--help` fast
    from stoker.errors import InputErrors  # noqa: PLC0415
    from stoker.resources.bundle import inspect  # noqa: PLC0415
    from stoker.ui.yamltext import to_yaml_stream  # noqa: PLC0415

    reading = inspect(
        files,
        release=options["release"],
        namespace=options["namespace"],
        kubernetes_version=options["kubernetes_version"],
        stdin=sys.stdin,
        as_kserve=options["compat"] == "kserve",
    )
    errors = [*reading.unreadable, *reading.refused]
    if errors:
        raise InputErrors(errors)
    done = rendered(reading.bundle, options["to"])
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    if output == "json":
        document = {"apiVersion": "v1", "kind": "List", "items": done.objects}
        print(json.dumps(document, indent=4))
    else:
        sys.stdout.write(to_yaml_stream(done.objects))
