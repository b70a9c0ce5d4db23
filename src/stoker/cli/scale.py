"""`stoker scale`: set the replicas of a Deployment."""

from __future__ import annotations

from pathlib import Path

import click

from stoker.api.kinds import SCALED_OBJECT
from stoker.cli.connection import connect, one_target, state_dir_option
from stoker.scaling.annotations import stops


@click.command(short_help="Set the replicas of a Deployment.")
@click.argument("what", nargs=-1, required=True, metavar="deployment/NAME")
@click.option("--replicas", type=click.IntRange(min=0), required=True, metavar="N")
@state_dir_option
def scale(what: tuple[str, ...], replicas: int, state_dir: Path | None) -> None:
    """Set the replicas of a Deployment, as `kubectl scale` does.

    An autoscaler may set them back at its next look; `stoker pause so NAME` stops it.
    """
    kind, name = one_target(what)
    client = connect(state_dir)
    client.scale(kind, name, replicas)
    print(f"{kind.prefix}/{name} scaled")
    for found in client.objects(SCALED_OBJECT):
        paused = stops(found["metadata"].get("annotations", {}))
        if found["spec"]["scaleTargetRef"]["name"] == name and not paused:
            own = found["metadata"]["name"]
            click.echo(
                f"hint: scaledobject/{own} may set it back; `stoker pause so {own}` stops that",
                err=True,
            )
