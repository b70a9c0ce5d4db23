"""`stoker gateway`: the gateway alone, in front of any OpenAI servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stoker.cli.params import DURATION, PEM

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Run the gateway alone, in front of any OpenAI servers.")
@click.option(
    "--endpoints",
    type=_FILE,
    required=True,
    help="Models and where they are served (YAML); followed when it changes.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; unix:/PATH for a Unix socket.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the port.",
)
@click.option("--api-keys", type=_FILE, help="Who may send, and how much (YAML, or a Secret).")
@click.option("--access-log", type=click.Path(dir_okay=False, path_type=Path), help="JSON lines.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append a trace of all requests, for `stoker replay --trace`; no prompts, no keys.",
)
@click.option("--tls-cert", type=PEM, help="Serve over TLS with this certificate (PEM).")
@click.option("--tls-key", type=PEM, help="The key of it.")
@click.option(
    "--affinity",
    type=click.Choice(["session", "prefix"]),
    default="session",
    show_default=True,
    help="What keeps requests together: a header, or also the beginning of their prompts.",
)
@click.option("--session-header", default="X-Session-Id", show_default=True)
@click.option(
    "--heartbeat",
    type=DURATION,
    default="15s",
    show_default=True,
    help="Between signs of life in streams that wait; 0: none.",
)
@click.option(
    "--heartbeat-form",
    type=click.Choice(["comment", "chunk"]),
    default="comment",
    show_default=True,
    help="An SSE comment, or a chunk with an empty delta.",
)
@click.option(
    "--health-interval",
    type=DURATION,
    default="2s",
    show_default=True,
    help="Between looks at each endpoint's /health; 0: none.",
)
@click.option(
    "--drain-timeout", type=DURATION, default="300s", show_default=True, help="At the end."
)
@click.option(
    "--orphan-timeout",
    type=DURATION,
    default="60s",
    show_default=True,
    help="Its processes go on for so long when the one that was started is killed.",
)
@click.option(
    "--state-dir", type=click.Path(path_type=Path), help="Where its processes are remembered."
)
def gateway(**flags: Any) -> None:
    """Serve the models of a file of endpoints behind one address, until Ctrl-C.

    Requests wait while a model has no endpoint, go to the endpoint with the fewest requests, and
    to another one when theirs goes away before it has answered.
    """
    from stoker.cli.gatewaying import run_gateway  # noqa: PLC0415 - `--help` is fast

    run_gateway(flags)
