"""`stoker get`: objects as kubectl lists them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from stoker.api.client import Client
from stoker.api.kinds import Kind, ServerError
from stoker.cli.connection import (
    connect,
    in_namespace,
    namespace_option,
    state_dir_option,
    targets,
)
from stoker.clock import wall_time
from stoker.errors import InputError
from stoker.ui.printers import (
    ObjectTable,
    TableOptions,
    as_json,
    as_yaml,
    name_line,
    selected,
    sort_by,
)

JsonObject = dict[str, Any]
_Target = tuple[Kind, str | None]


@dataclass(frozen=True, slots=True)
class _Query:
    """Which objects are wanted, and in which form."""

    targets: tuple[_Target, ...]
    namespace: str | None  # None: all
    output: str
    table: TableOptions
    selector: str
    sort_by: str

    @property
    def single(self) -> bool:
        """One object by its name: printed as itself, not in a List."""
        return len(self.targets) == 1 and self.targets[0][1] is not None

    def chosen(self, objects: list[JsonObject]) -> list[JsonObject]:
        """Those *objects* that are wanted."""
        if self.namespace is not None:
            objects = in_namespace(objects, self.namespace)
        return selected(objects, self.selector)


@click.command(short_help="List objects of the running stack.")
@click.argument("what", nargs=-1, required=True, metavar="KIND[,KIND] [NAME ...]")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "name", "yaml", "json"]),
    default="table",
    help="Form of the output.",
)
@click.option("-w", "--watch", is_flag=True, help="Print what changes, until Ctrl-C.")
@click.option("--output-watch-events", is_flag=True, help="Say with -w what happened to an object.")
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", help="Only objects with these labels: a=1,b!=2.")
@click.option("--sort-by", default="", help="Order by a field, such as .lastTimestamp.")
@click.option("--no-headers", is_flag=True, help="No first line with the names of the columns.")
@click.option("--show-labels", is_flag=True, help="Labels as the last column.")
@state_dir_option
def get(
    *,
    what: tuple[str, ...],
    output: str,
    watch: bool,
    output_watch_events: bool,
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    sort_by: str,
    no_headers: bool,
    show_labels: bool,
    state_dir: Path | None,
) -> None:
    """List objects of the running stack, as `kubectl get` does.

    KIND is scaledobjects (so), horizontalpodautoscalers (hpa), deployments (deploy), pods (po),
    events (ev), triggers, triggerauthentications (ta) or clustertriggerauthentications (cta).
    """
    wanted = targets(what)
    client = connect(state_dir)
    table = TableOptions(
        wide=output == "wide",
        headers=not no_headers,
        with_namespace=all_namespaces,
        with_kind=len({kind.kind for kind, _ in wanted}) > 1,
        show_labels=show_labels,
        watch_events=output_watch_events,
    )
    chosen = None if all_namespaces else namespace or client.namespace
    query = _Query(tuple(wanted), chosen, output, table, selector, sort_by)
    if watch:
        _watch(client, query)
    else:
        _list(client, query)


def _list(client: Client, query: _Query) -> None:
    """Print what is there now. Objects that are not there are told after those that are."""
    found, missing = _found(client, query)
    if query.output in ("table", "wide"):
        _print_tables(found, query)
    elif query.output == "name":
        sys.stdout.writelines(map(name_line, found))
    elif found or not query.single:
        form = as_json if query.output == "json" else as_yaml
        sys.stdout.write(form(found, single=query.single))
    if not found and not missing and query.output in ("table", "wide", "name"):
        where = f" in {query.namespace} namespace" if query.namespace else ""
        print(f"No resources found{where}.", file=sys.stderr)
    if missing:
        sys.stdout.flush()
        for error in missing[:-1]:
            print(f"Error from server ({error.reason}): {error.message}", file=sys.stderr)
        raise missing[-1]


def _found(client: Client, query: _Query) -> tuple[list[JsonObject], list[ServerError]]:
    found: list[JsonObject] = []
    missing: list[ServerError] = []
    for kind, name in query.targets:
        objects = query.chosen(client.objects(kind))
        if query.sort_by:
            objects = sort_by(objects, query.sort_by)
        if name is None:
            found += objects
            continue
        named = [one for one in objects if one["metadata"]["name"] == name]
        found += named
        if not named:
            missing.append(kind.not_found(name))
    return found, missing


def _print_tables(found: list[JsonObject], query: _Query) -> None:
    """A table for each kind, an empty line between them."""
    kinds = {kind.kind: kind for kind, _ in query.targets}
    now = wall_time()
    for number, (kind, objects) in enumerate(groupby(found, key=lambda one: str(one["kind"]))):
        if number:
            print()
        sys.stdout.write(ObjectTable(kinds[kind], query.table).part(list(objects), now))


def _watch(client: Client, query: _Query) -> None:
    """Print what is there as one part, then a line for each change, until the run ends."""
    if len(query.targets) != 1:
        raise InputError("--watch follows one kind or one object", hint="for example `get so -w`")
    kind, name = query.targets[0]
    if name is not None and not query.chosen([client.get(kind, name)]):
        raise kind.not_found(name)
    table = ObjectTable(kind, query.table)
    first: list[JsonObject] | None = []
    for change in client.watch(kind, name):
        if change["type"] == "BOOKMARK":
            _print_change(table, query, first or [], "ADDED")
            first = None
            continue
        objects = query.chosen([change["object"]])
        if first is not None:
            first += objects
        else:
            _print_change(table, query, objects, change["type"])


def _print_change(table: ObjectTable, query: _Query, objects: list[JsonObject], event: str) -> None:
    if query.output in ("table", "wide"):
        sys.stdout.write(table.part(objects, wall_time(), event=event))
    elif query.output == "name":
        sys.stdout.writelines(map(name_line, objects))
    else:
        for one in objects:
            if query.output == "yaml":
                sys.stdout.write("---\n" + as_yaml([one], single=True))
            else:
                sys.stdout.write(as_json([one], single=True))
    sys.stdout.flush()
