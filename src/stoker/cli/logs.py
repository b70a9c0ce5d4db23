"""`stoker logs`: the output of a replica."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stoker.api.kinds import DEPLOYMENT, POD
from stoker.cli.connection import connect, state_dir_option, targets
from stoker.errors import InputError


@click.command(short_help="Print the output of a replica.")
@click.argument("pod", metavar="POD")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what comes, until Ctrl-C.")
@click.option("--tail", type=int, default=-1, metavar="N", help="Only the last N lines; -1: all.")
@click.option("-p", "--previous", is_flag=True, help="Of the process before the last restart.")
@state_dir_option
def logs(pod: str, follow: bool, tail: int, previous: bool, state_dir: Path | None) -> None:
    """Print the output of a replica, as `kubectl logs` does.

    POD is the name of a pod, pod/NAME, or deployment/NAME for its oldest pod.
    """
    client = connect(state_dir)
    name = pod
    if "/" in pod:
        kind, found = targets((pod,))[0]
        name = found or ""
        if kind is DEPLOYMENT:
            client.get(kind, name)
            name = _first_pod(name, [p for p in client.objects(POD) if _belongs(p, name)])
        elif kind is not POD:
            raise InputError(f"a {kind.kind} has no output", hint="name a pod or a deployment")
    tail_lines = None if tail < 0 else tail
    for chunk in client.logs(name, follow=follow, tail=tail_lines, previous=previous):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _belongs(pod: dict[str, object], deployment: str) -> bool:
    """Pods carry the name of their ReplicaSet, which is the Deployment's and a hash."""
    metadata = pod["metadata"]
    assert isinstance(metadata, dict)  # noqa: S101 - an object without metadata is none
    owners = metadata.get("ownerReferences", ())
    names = (str(owner["name"]) for owner in owners)
    return any(name == deployment or name.rpartition("-")[0] == deployment for name in names)


def _first_pod(deployment: str, pods: list[dict[str, object]]) -> str:
    if not pods:
        raise InputError(
            f"deployment/{deployment} has no pods now", hint="stoker get pods, stoker explain"
        )
    names = [(pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]) for pod in pods]  # type: ignore[index]
    return str(min(names)[1])
