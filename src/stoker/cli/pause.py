"""`stoker pause` and `stoker resume`: KEDA's annotations for an autoscaler that shall wait."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from stoker.api.kinds import SCALED_OBJECT
from stoker.cli.connection import connect, state_dir_option, targets
from stoker.errors import InputError
from stoker.scaling.annotations import PAUSED, PAUSED_REPLICAS


@click.command(short_help="Stop autoscaling of a ScaledObject.")
@click.argument("what", nargs=-1, required=True, metavar="[so] NAME")
@click.option("--replicas", type=click.IntRange(min=0), help="Scale to this number first.")
@state_dir_option
def pause(what: tuple[str, ...], replicas: int | None, state_dir: Path | None) -> None:
    """Stop autoscaling of a ScaledObject; its replicas stay, or become --replicas.

    The same as the annotations autoscaling.keda.sh/paused and paused-replicas.
    """
    if replicas is None:
        _annotate(what, state_dir, {PAUSED: "true"}, "paused")
    else:
        _annotate(what, state_dir, {PAUSED_REPLICAS: str(replicas)}, f"paused at {replicas}")


@click.command(short_help="Start autoscaling of a ScaledObject again.")
@click.argument("what", nargs=-1, required=True, metavar="[so] NAME")
@state_dir_option
def resume(what: tuple[str, ...], state_dir: Path | None) -> None:
    """Start autoscaling of a paused ScaledObject again."""
    _annotate(what, state_dir, {PAUSED: None, PAUSED_REPLICAS: None}, "resumed")


def _annotate(
    what: tuple[str, ...],
    state_dir: Path | None,
    annotations: Mapping[str, str | None],
    done: str,
) -> None:
    for name in _names(what):
        connect(state_dir).annotate(SCALED_OBJECT, name, annotations)
        print(f"{SCALED_OBJECT.prefix}/{name} {done}")


def _names(what: tuple[str, ...]) -> list[str]:
    """``so NAME``, ``so/NAME`` or just ``NAME``."""
    if len(what) == 1 and "/" not in what[0]:
        if what[0].lower() in SCALED_OBJECT.names:
            raise InputError("which ScaledObject?", hint="stoker get so")
        return [what[0]]
    names = []
    for kind, name in targets(what):
        if kind is not SCALED_OBJECT or name is None:
            raise InputError(
                f"a {kind.kind} cannot be paused", hint="only ScaledObjects can: `stoker get so`"
            )
        names.append(name)
    return names
