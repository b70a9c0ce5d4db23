"""`stoker version`."""

from __future__ import annotations

import click

import stoker


@click.command(short_help="Print the version.")
def version() -> None:
    """Print the version."""
    print(f"stoker {stoker.__version__}")
