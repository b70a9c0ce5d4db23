"""`stoker render`: the Kubernetes objects that files stand for."""

from __future__ import annotations

import json
import sys

import click

from stoker.cli.files import file_options


@click.command(short_help="Print the Kubernetes objects that files stand for.")
@file_options
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml")
def render(*, files: tuple[str, ...], namespace: str, release: str, output: str) -> None:
    """Print the Deployments and ScaledObjects that FILE... become, as the chart renders them."""
    from stoker.resources import load  # noqa: PLC0415 - keeps `--help` fast
    from stoker.resources import render as rendered  # noqa: PLC0415
    from stoker.ui.yamltext import to_yaml_stream  # noqa: PLC0415

    objects = rendered(load(files, release=release, namespace=namespace, stdin=sys.stdin))
    if output == "json":
        document = {"apiVersion": "v1", "kind": "List", "items": objects}
        print(json.dumps(document, indent=4))
    else:
        sys.stdout.write(to_yaml_stream(objects))
