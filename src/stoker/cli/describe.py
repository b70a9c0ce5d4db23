"""`stoker describe`: objects in full, with their events."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stoker.api.kinds import EVENT
from stoker.cli.connection import (
    connect,
    in_namespace,
    namespace_option,
    state_dir_option,
    targets,
)
from stoker.clock import wall_time
from stoker.ui.describe import describe as described
from stoker.ui.describe import events_about


@click.command(short_help="Show objects in full, with their events.")
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME ...]")
@namespace_option
@state_dir_option
def describe(what: tuple[str, ...], namespace: str | None, state_dir: Path | None) -> None:
    """Show objects in full, with their events, as `kubectl describe` does."""
    wanted = targets(what)
    client = connect(state_dir)
    chosen = namespace or client.namespace
    texts = []
    events = client.objects(EVENT)
    for kind, name in wanted:
        objects = in_namespace(client.objects(kind), chosen)
        if name is not None:
            objects = [one for one in objects if one["metadata"]["name"] == name]
            if not objects:
                raise kind.not_found(name)
        texts += [described(one, events_about(one, events), wall_time()) for one in objects]
    if texts:
        sys.stdout.write("\n\n".join(texts))
    else:
        print(f"No resources found in {chosen} namespace.", file=sys.stderr)
