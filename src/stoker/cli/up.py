"""`stoker up`: run the stack until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stoker.cli.controllers import controller_options
from stoker.cli.files import compat_option
from stoker.cli.params import DURATION, PEM, PORT_OR_OFF


@click.command(short_help="Run the files of the field on this machine, until Ctrl-C.")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--engine",
    type=click.Choice(["auto", "simulated", "vllm"]),
    default="auto",
    show_default=True,
    help="What a replica is: real `vllm serve`, or a server that has only its timing.",
)
@click.option("--gpus", type=click.IntRange(0, 1024), help="GPUs of this machine, or to pretend.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--gateway-port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--gateway-workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the gateway's port.",
)
@click.option("--prometheus-port", type=click.IntRange(0, 65535), default=9090, show_default=True)
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--release", default="vllm", show_default=True, help="Helm release name.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where a run keeps its state.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "--scrape-interval",
    type=DURATION,
    help="In place of what monitors say; without either it is 5s.",
)
@click.option(
    "--validate",
    type=click.Choice(["strict", "warn", "ignore"]),
    default="strict",
    show_default=True,
    help="What a field that nobody reads is: an error, as for kubectl apply, or a warning.",
)
@controller_options
@click.option("--hold-timeout", type=DURATION, default="10m", show_default=True)
@click.option("--drain-timeout", type=DURATION, default="5m", show_default=True)
@click.option("--orphan-timeout", type=DURATION, default="1m", show_default=True)
@click.option(
    "--activate-on-request/--no-activate-on-request",
    default=True,
    show_default=True,
    help="Wake a model at zero when a request waits, not at KEDA's next poll.",
)
@click.option(
    "--wake-on-push/--no-wake-on-push",
    default=True,
    show_default=True,
    help="Look at once when a pushed value wants more replicas, not at the next poll or sync.",
)
@click.option(
    "--otlp-grpc-port",
    type=PORT_OR_OFF,
    default="auto",
    show_default=True,
    help="Of the OTLP receiver; auto is 4317 if a trigger asks for what is pushed, else off.",
)
@click.option(
    "--otlp-http-port",
    type=PORT_OR_OFF,
    default="auto",
    show_default=True,
    help="The same over HTTP; auto is 4318 or off.",
)
@click.option("--otlp-tls-cert", type=PEM, help="OTLP over TLS with this certificate (PEM).")
@click.option("--otlp-tls-key", type=PEM, help="The key of it.")
@click.option("--otlp-tls-client-ca", type=PEM, help="Senders must show a certificate of it.")
@click.option(
    "--otlp-metric-suffixes/--no-otlp-metric-suffixes",
    default=True,
    show_default=True,
    help="Units and _total in names, as add_metric_suffixes of the collector.",
)
@click.option(
    "--otlp-resource-attributes/--no-otlp-resource-attributes",
    default=False,
    show_default=True,
    help="Attributes of resources as labels, as resource_to_telemetry_conversion.",
)
@click.option("--prometheus", "prometheus_url", help="Ask this server in place of every other.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append a trace of all requests, for `stoker replay --trace`; no prompts, no keys.",
)
@click.option("--profile", help="Simulated engine: model and GPU, such as llama-3.1-8b-a100.")
@click.option("--startup", type=DURATION, help="Simulated engine: length of its cold start.")
@click.option("--max-num-seqs", type=click.IntRange(1), help="Simulated engine: batch limit.")
@compat_option
@click.option(
    "--until-stdin-closes",
    is_flag=True,
    hidden=True,
    help="Stop when the program that started this one is gone.",
)
def up(**flags: Any) -> None:
    """Run model servers, gateway, metrics and autoscaler from FILE... until Ctrl-C.

    FILE is a values.yaml of the vLLM production-stack, or Kubernetes documents (InferenceService,
    ScaledObject, Deployment), or a directory of them, or - for standard input.

    The first Ctrl-C finishes requests and stops replicas gracefully, the second one forces.
    """
    from stoker.cli.running import run_up  # noqa: PLC0415 - keeps `--help` fast

    run_up(flags)
