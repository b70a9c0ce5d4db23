"""`stoker explain`: why there are as many replicas as there are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from stoker.api.client import Client
from stoker.api.kinds import DEPLOYMENT, HPA, SCALED_OBJECT, resolve
from stoker.cli.connection import connect, state_dir_option
from stoker.cli.console import use_color
from stoker.errors import InputError
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
    """Go through the last decision on a ScaledObject, step by step.

    NAME is that of the ScaledObject, its HPA or its Deployment; it can be left out when there is
    one only.
    """
    from stoker.ui.explain import explain as explained  # noqa: PLC0415 - keeps `--help` fast

    client = connect(state_dir)
    found = _scaled_object(client, name)
    ticks = _chosen(client.ticks(found, limit=1000), reader, history)
    if not ticks:
        raise InputError(
            f"scaledobject/{found} has not been looked at so far",
            hint="KEDA polls at once, the HPA after one sync period: try again",
        )
    if output == "json":
        for tick in ticks:
            print(json.dumps(tick))
        return
    if _paused(client.get(SCALED_OBJECT, found)) and ticks[-1]["decision"]["reason"] != _PAUSED:
        print(f"paused: nobody looks until `stoker resume {found}`; this was the last look\n")
    texts = [explained(tick, color=use_color(sys.stdout)) for tick in ticks]
    sys.stdout.write("\n".join(texts))


def _paused(scaled_object: JsonObject) -> bool:
    conditions = scaled_object["status"]["conditions"]
    return any(c["type"] == "Paused" and c["status"] == "True" for c in conditions)


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


def _scaled_object(client: Client, name: str | None) -> str:
    objects = client.objects(SCALED_OBJECT)
    if name is None:
        return _only(objects)
    kind = SCALED_OBJECT
    if "/" in name:
        prefix, _, name = name.partition("/")
        kind = resolve(prefix)
    for found in objects:
        own = found["metadata"]["name"]
        hpa, target = found["status"]["hpaName"], found["spec"]["scaleTargetRef"]["name"]
        names = {
            SCALED_OBJECT.kind: (own, hpa, target),
            HPA.kind: (hpa,),
            DEPLOYMENT.kind: (target,),
        }
        if name in names.get(kind.kind, ()):
            return str(own)
    raise SCALED_OBJECT.not_found(name)


def _only(objects: list[JsonObject]) -> str:
    names = [str(found["metadata"]["name"]) for found in objects]
    if not names:
        raise InputError("nothing is autoscaled in this run", hint="stoker get deployments")
    if len(names) > 1:
        raise InputError("which ScaledObject?", hint="one of " + ", ".join(sorted(names)))
    return names[0]
