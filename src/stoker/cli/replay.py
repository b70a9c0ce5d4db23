"""``stoker replay``: what files would have cost on recorded traffic, and what users had felt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stoker.cli.controllers import controller_options
from stoker.cli.params import DURATION, MOMENT, TARGET
from stoker.cli.traffic import length_options, reading_options

_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(short_help="Say what files would have cost on recorded traffic, and how fast.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Recorded traffic; several are run one by one. All formats of `stoker trace`.",
)
@click.option(
    "--synthetic",
    metavar="EXPR",
    help="Invented traffic, as `diurnal(base=2,peak=16,period=1h)`; see `stoker trace`.",
)
@reading_options
@length_options
@click.option(
    "-m",
    "--metrics",
    multiple=True,
    metavar="[TRIGGER=]FILE",
    help="What a trigger was answered over time, for what traffic does not say: .csv, .parquet, or "
    "a query_range answer (.json).",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=TARGET,
    metavar="TRIGGER=NUMBER",
    help="Of a trigger whose file does not say it, such as an external one.",
)
@click.option(
    "--lookback",
    type=DURATION,
    default="5m",
    show_default=True,
    help="How long a sample in --metrics counts, as in Prometheus.",
)
@click.option("--duration", type=DURATION, help="Only so much of the trace, or of --synthetic.")
@click.option("--speed", type=_POSITIVE, metavar="X", help="The trace X times as fast.")
@click.option("--profile", help="Model and GPU, such as llama-3.1-8b-a100.")
@click.option(
    "--startup",
    metavar="D",
    help="Of an engine: 80s, or median and 95th percentile as 80s..200s, or phases as "
    "weights=40s,compile=25s.  [default: the profile's]",
)
@click.option("--max-num-seqs", type=click.IntRange(1), help="Batch limit, in place of files.")
@click.option("--gpus", type=click.IntRange(1), help="GPUs there are.  [default: any number]")
@click.option("--scheduling", metavar="D", default="0s", help="From a pod to its process: images.")
@click.option("--node-startup", metavar="D", default="0s", help="Of a node, where none has room.")
@click.option("--node-gpus", type=click.IntRange(1), default=8, show_default=True)
@click.option("--nodes", type=click.IntRange(0), help="Nodes that are always there.")
@click.option(
    "--sleepers",
    type=click.IntRange(0),
    default=0,
    help="So many replicas that are scaled down sleep, and are woken before others are started.",
)
@click.option(
    "--wake", metavar="D", default="1s..6s", show_default=True, help="Of one that sleeps."
)
@click.option(
    "--asleep-cost",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Of its price, for one that sleeps. 0 where others use its GPUs.",
)
@click.option("--failures", type=DURATION, help="Mean time between crashes of a replica.")
@click.option("--replicas", type=click.IntRange(0), help="At the start.  [default: of FILE, or 1]")
@click.option("--cold-start", is_flag=True, help="Replicas at the start have to start first.")
@click.option("--lead", type=DURATION, help="Time before the first request.  [default: none]")
@click.option(
    "--moments",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Look and scrape when a live run did, whose `stoker up -o json` printed FILE.",
)
@click.option(
    "--start",
    type=MOMENT,
    help="When it begins, for cron.  [default: with the dates of --metrics, else a Monday, 00:00]",
)
@click.option("--slo", default="ttft_p95<2s,itl_p95<50ms", show_default=True, metavar="CONDITIONS")
@click.option("--price", type=click.FloatRange(0), help="Of a GPU for an hour.")
@click.option("--baselines/--no-baselines", default=True, help="Fixed fleets and the clairvoyant.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE,...",
    help="Run with other values in FILE, each with each: --set threshold=5,10.",
)
@click.option("--recommend", is_flag=True, help="Name the cheapest run that keeps the SLO.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=1, help="So many seeds, from --seed on.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes.  [default: the cores]")
@click.option(
    "--flap-window",
    type=DURATION,
    default="10m",
    show_default=True,
    help="A scale event that reverses the last one within this time is a flap.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Everything on one page: curves, decisions with their reasons, comparison.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Each figure of the page as SVG and PNG.",
)
@click.option("--ticks", type=click.Path(path_type=Path), metavar="FILE.jsonl")
@click.option("--requests", type=click.Path(path_type=Path), metavar="FILE.parquet|csv")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--release", default="vllm", show_default=True, help="Helm release name.")
@click.option("--compat", type=click.Choice(["keda", "kserve"]), default="keda", show_default=True)
@click.option(
    "--scrape-interval",
    type=DURATION,
    help="In place of what monitors say; without either it is 5s.",
)
@controller_options
@click.option("--hold-timeout", type=DURATION, default="10m", show_default=True)
@click.option(
    "--client-timeout",
    type=DURATION,
    help="Clients go when their answer is not whole by then.  [default: they wait]",
)
@click.option(
    "--first-token-timeout",
    type=DURATION,
    help="Clients go when nothing of their answer has come by then.  [default: they wait]",
)
@click.option("--drain-timeout", type=DURATION, default="5m", show_default=True)
@click.option(
    "--activate-on-request/--no-activate-on-request",
    default=True,
    show_default=True,
    help="Wake a model at zero when a request waits, not at KEDA's next poll.",
)
def replay(**flags: Any) -> None:
    """Send recorded traffic through each FILE in virtual time: cost, latencies, scaling.

    Metrics, PromQL, polls, syncs and decisions are those of `stoker up`; engines are models of
    vLLM on a GPU. Each FILE is a run of its own; write A.yaml,B.yaml for files that belong
    together.

    \b
      stoker replay values.yaml --trace azure.csv --price 2.50
      stoker replay as-published.yaml corrected.yaml --trace azure.csv
      stoker replay values.yaml --trace azure.csv --set threshold=2,5,10 --recommend
      stoker replay so.yaml,deployment.yaml --synthetic 'poisson(rate=8)' --duration 1h
    """  # noqa: D301 - click reads the backspace itself
    from stoker.cli.replaying import run_replay  # noqa: PLC0415 - keeps `--help` fast

    run_replay(flags)
