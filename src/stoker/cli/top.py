"""`stoker top`: the live view."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stoker.api.views import Overview
from stoker.cli.connection import connect, state_dir_option
from stoker.clock import pause


@click.command(short_help="Live view of the running stack.")
@click.option("--once", is_flag=True, help="Print the state now and end.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True)
@state_dir_option
def top(once: bool, interval: float, state_dir: Path | None) -> None:
    """Show replicas, queues, latencies and decisions of each model, until Ctrl-C.

    Without a terminal a line for each model is printed at each look.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` and pipes do without
    from rich.live import Live  # noqa: PLC0415

    from stoker.ui.live import History, plain_line, render  # noqa: PLC0415

    client = connect(state_dir)
    console, history = Console(highlight=False), History()

    def print_lines(overview: Overview) -> None:
        for model in overview["models"]:
            print(plain_line(model, overview["time"]))
        sys.stdout.flush()

    overview = client.overview()
    if once or not console.is_terminal:
        while True:
            print_lines(overview)
            if once:
                return
            pause(interval)
            overview = client.overview()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            history.add(overview)
            live.update(render(overview, history), refresh=True)
            pause(interval)
            overview = client.overview()
