"""`stoker explain`: why there are as many replicas as there are."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stoker.api.client import Client
from stoker.api.kinds import DEPLOYMENT, HPA, SCALED_OBJECT, Kind, resolve
from stoker.cli.connection import connect, state_dir_option
from stoker.cli.console import use_color
from stoker.errors import InputError
from stoker.scaling.annotations import stops
from stoker.scaling.observation import Reader

JsonObject = dict[str, Any]
_PAUSED = "ScaledObjectPaused"


@click.command(short_help="Say why there are as many replicas as there are.")
@click.argument("name", required=False)
@click.option(
    "--reader",
    type=click.Choice(["last", "hpa", "keda", "all"]),
    default="last",
    show_default=True,
    help="Whose look: the last of all that says most, of the HPA, of KEDA, or the last of each.",
)
@click.option("--history", type=click.IntRange(1, 1000), metavar="N", help="The last N looks.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@state_dir_option
def explain(
    name: str | None, reader: str, history: int | None, output: str, state_dir: Path | None
) -> None:
    """Go through the last decision on a ScaledObject or an HPA, step by step.

    NAME is that of the ScaledObject, its HPA or its Deployment; it can be left out when there is
    one only.
    """
    from stoker.ui.explain import explain as explained  # noqa: PLC0415 - keeps `--help` fast

    client = connect(state_dir)
    kind, found = _autoscaler(client, name)
    ticks = _chosen(client.ticks(found, limit=1000), reader, history)
    if not ticks:
        raise InputError(
            f"{kind.singular}/{found} has not been looked at so far",
            hint="KEDA polls at once, the HPA after one sync period: try again",
        )
    if output == "json":
        for tick in ticks:
            print(json.dumps(tick))
        return
    last = ticks[-1]["decision"]["reason"]
    if kind is SCALED_OBJECT and last != _PAUSED and _paused(client, found):
        print(f"paused: nobody looks until `stoker resume {found}`; this was the last look\n")
    texts = [explained(tick, color=use_color(sys.stdout)) for tick in ticks]
    sys.stdout.write("\n".join(texts))


def _paused(client: Client, name: str) -> bool:
    return stops(client.get(SCALED_OBJECT, name)["metadata"].get("annotations", {}))


def _chosen(ticks: list[JsonObject], reader: str, history: int | None) -> list[JsonObject]:
    hpa = [tick for tick in ticks if tick["reader"] == Reader.HPA]
    keda = [tick for tick in ticks if tick["reader"] != Reader.HPA]
    if reader == "all" and history is None:
        return sorted(keda[-1:] + hpa[-1:], key=lambda tick: float(tick["time"]))
    of_reader = {"hpa": hpa, "keda": keda}.get(reader, ticks)
    if history is not None:
        return of_reader[-history:]
    if reader == "last" and ticks:
        return [_most_telling(ticks[-1], hpa[-1:])]
    return of_reader[-1:]


def _most_telling(last: JsonObject, hpa: list[JsonObject]) -> JsonObject:
    """Between 1 and the maximum the HPA decides: its look says more than KEDA's poll after it."""
    keda_changed = last["decision"]["replicas"] != last["decision"]["was"]
    if hpa and not keda_changed and last["decision"]["replicas"] > 0:
        paused = last["decision"]["reason"] == _PAUSED
        return last if paused else hpa[0]
    return last


def _autoscaler(client: Client, name: str | None) -> tuple[Kind, str]:
    """The ScaledObject or the user's HPA that *name* means; without a name the only one."""
    found = [_names(one, SCALED_OBJECT) for one in client.objects(SCALED_OBJECT)]
    made_by_keda = {one.hpa for one in found}
    own = [one for one in client.objects(HPA) if one["metadata"]["name"] not in made_by_keda]
    found += [_names(one, HPA) for one in own]
    if name is None:
        return _only(found)
    wanted = None
    if "/" in name:
        prefix, _, name = name.partition("/")
        wanted = resolve(prefix)
    for one in found:
        names = {
            SCALED_OBJECT.kind: (one.name,) if one.kind is SCALED_OBJECT else (),
            HPA.kind: (one.hpa,),
            DEPLOYMENT.kind: (one.target,),
        }
        meant = names.get(wanted.kind, ()) if wanted else (one.name, one.hpa, one.target)
        if name in meant:
            return one.kind, one.name
    raise (wanted or SCALED_OBJECT).not_found(name)


@dataclass(frozen=True, slots=True)
class _Names:
    """By what a user may call what scales a Deployment."""

    kind: Kind
    name: str
    hpa: str
    target: str


def _names(found: JsonObject, kind: Kind) -> _Names:
    name, target = found["metadata"]["name"], found["spec"]["scaleTargetRef"]["name"]
    return _Names(kind, name, name if kind is HPA else found["status"]["hpaName"], target)


def _only(found: list[_Names]) -> tuple[Kind, str]:
    if not found:
        raise InputError("nothing is autoscaled in this run", hint="stoker get deployments")
    if len(found) > 1:
        what = "which ScaledObject?"
        if any(one.kind is HPA for one in found):
            what = "which ScaledObject or HPA?"
        names = ", ".join(sorted(one.name for one in found))
        raise InputError(what, hint=f"one of {names}")
    return found[0].kind, found[0].name
