"""``stoker calibrate``: a profile for replays, from a short sweep of a running engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stoker.cli.params import DURATION


@click.command(short_help="Measure a running engine and make a profile for replays of it.")
@click.argument("url", default="http://localhost:8000")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("profile.json"),
    show_default=True,
    metavar="FILE.json",
)
@click.option("--concurrency", default="1,4,16,32", show_default=True, metavar="N,...")
@click.option("--prompt-tokens", default="128,2048", show_default=True, metavar="N,...")
@click.option("--output-tokens", type=click.IntRange(8), default=64, show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Requests of each point, times its concurrency.",
)
@click.option(
    "--max-num-batched-tokens",
    type=click.IntRange(1),
    default=8192,
    show_default=True,
    help="As the engine was told.",
)
@click.option(
    "--max-num-seqs",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="As the engine was told.",
)
@click.option("--gpus", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--startup", type=DURATION, default="80s", show_default=True, help="Of a cold engine."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png|svg",
    help="Draw measured points and the fitted curve.",
)
@click.option("--model", help="Which, where the server has several.")
@click.option("--api-key", envvar="OPENAI_API_KEY", metavar="KEY")
def calibrate(url: str, **flags: Any) -> None:
    """Send a sweep of requests to the engine at URL, fit a step model, and write a profile.

    URL is one vLLM server, not a gateway in front of several; nobody else should use it meanwhile.
    Its KV cache is read from /metrics. The profile is for `stoker replay --profile FILE.json` and
    `stoker up --profile FILE.json`.
    """
    from stoker.cli.calibrating import run_calibration  # noqa: PLC0415 - keeps `--help` fast

    run_calibration(url, flags)
