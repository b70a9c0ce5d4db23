"""`stoker backtest`: what a ScaledObject would have done with recorded metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stoker.cli.controllers import controller_options
from stoker.cli.params import DURATION, HEADER, MOMENT, TARGET

_SERIES = (".csv", ".json", ".jsonl", ".parquet", ".txt", ".prom", ".om", ".openmetrics")


@click.command(short_help="Say what a ScaledObject would have done with recorded metrics.")
@click.argument("files", nargs=-1, required=True, metavar="FILE")
@click.option(
    "-m",
    "--metrics",
    multiple=True,
    metavar="[TRIGGER=]SERIES",
    help="A query_range answer (.json), a table (.csv, .parquet) or OpenMetrics text.",
)
@click.option("--prometheus", "url", help="Ask this server with the file's own queries.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    type=HEADER,
    metavar="'NAME: VALUE'",
    help="Goes with every request to --prometheus, as with curl.",
)
@click.option(
    "--bearer-token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The token in it goes with every request to --prometheus.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=TARGET,
    metavar="TRIGGER=NUMBER",
    help="Of a trigger whose file does not say it, such as an external one.",
)
@click.option("--from", "start", type=MOMENT, help="2026-11-17T08:00, or now-24h.")
@click.option("--to", "end", type=MOMENT, help="As --from.")
@click.option("--compare", metavar="FILE", help="Run this file, too, and show both side by side.")
@click.option("--name", help="Which ScaledObject, where FILE has several.")
@click.option("--replicas", type=click.IntRange(0), help="At the start.  [default: of FILE, or 1]")
@click.option(
    "--startup",
    type=DURATION,
    default="0s",
    show_default=True,
    help="From a new replica to a ready one.",
)
@click.option(
    "--missing",
    type=click.Choice(["empty", "error"]),
    default="empty",
    show_default=True,
    help="What a trigger gets where there is no sample: an empty result, or an error.",
)
@click.option(
    "--lookback",
    type=DURATION,
    default="5m",
    show_default=True,
    help="How long a sample in a file counts, as in Prometheus.",
)
@click.option(
    "--flap-window",
    type=DURATION,
    default="10m",
    show_default=True,
    help="A scale event that reverses the last one within this time is a flap.",
)
@click.option("--all", "every", is_flag=True, help="Show every poll and sync, not only changes.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "jsonl", "csv"]),
    default="text",
    show_default=True,
    help="All but text have every poll and sync.",
)
@click.option("--plot", "picture", type=click.Path(path_type=Path), metavar="FILE.png|svg")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--release", default="vllm", show_default=True, help="Helm release name.")
@controller_options
def backtest(*, files: tuple[str, ...], metrics: tuple[str, ...], **flags: Any) -> None:
    """Say what the ScaledObject in FILE would have done with recorded metrics, and why.

    FILE is a ScaledObject or a values.yaml of the vLLM production-stack. The metrics come from
    files or from a running Prometheus:

    \b
      stoker backtest so.yaml --metrics waiting.json
      stoker backtest so.yaml --metrics queue=waiting.json --metrics s1-prometheus=rate.json
      stoker backtest so.yaml --metrics tuesday.csv --compare other.yaml
      stoker backtest so.yaml --prometheus http://localhost:9090 --from now-24h --to now

    The ScaledObject is created when the metrics begin. Nothing is fed back: other replicas would
    not have changed the metrics.
    """  # noqa: D301 - click reads the backspace itself
    from stoker.cli.backtesting import run_backtest  # noqa: PLC0415 - keeps `--help` fast

    # `--metrics a.csv b.csv`: what follows is more of the same
    more = tuple(name for name in files[1:] if name.lower().endswith(_SERIES))
    extra = [name for name in files[1:] if name not in more]
    if extra:
        raise click.UsageError(f"one FILE at a time, `{extra[0]}` is a second one; see --compare")
    run_backtest(files[0], (*metrics, *more), flags)
