"""What the commands that read files have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def compat_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--compat kserve``: what upstream ignores is ignored here, too."""
    return click.option(
        "--compat",
        type=click.Choice(["kserve"]),
        help="Ignore what KServe's controller ignores in an InferenceService.",
    )(function)


def file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``FILE... --release --namespace``: as in `stoker up`, so that the objects are the same."""
    for decorate in (
        click.option("--release", default="vllm", show_default=True, help="Helm release name."),
        click.option(
            "-n",
            "--namespace",
            default="default",
            show_default=True,
            help="Namespace of objects that name none.",
        ),
        click.argument("files", nargs=-1, required=True, metavar="FILE..."),
    ):
        function = decorate(function)
    return function
