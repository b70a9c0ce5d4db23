"""`stoker demo`: the production-stack tutorial on this machine, replicas up and down again."""

from __future__ import annotations

import click


@click.command(short_help="The tutorial on this machine: replicas 1 to 3 and back, in two minutes.")
@click.option(
    "--real-time",
    is_flag=True,
    help="Keep the numbers of the file and of a cluster: takes about 11 minutes.",
)
@click.option("--plain", is_flag=True, help="Print lines in place of the live view.")
def demo(*, real_time: bool, plain: bool) -> None:
    """Show the production-stack's KEDA tutorial without Kubernetes and without a GPU.

    First what is wrong with its values.yaml as published; then the corrected file at work, under a
    slice of recorded production traffic. Exits with 0 only if it scaled up and down again and no
    request failed.
    """
    from stoker.cli.demonstration import run_demo  # noqa: PLC0415 - keeps `--help` fast

    raise SystemExit(run_demo(real_time=real_time, plain=plain))
