"""`stoker query`: PromQL against the running stack, any Prometheus, or a page in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.connection import connect, state_dir_option
from stoker.cli.params import DURATION
from stoker.clock import wall_time
from stoker.errors import InputError

if TYPE_CHECKING:
    from stoker.cli.query_sources import QuerySource

_SPARKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


@click.command(short_help="Ask a PromQL query.")
@click.argument("expr")
@click.option("--time", "at", metavar="TIME", help="Unix seconds or RFC 3339. Default: now.")
@click.option("--range", "span", type=DURATION, help="A range query over this long, up to TIME.")
@click.option("--step", type=DURATION, help="Step of a range query. Default: a 60th of the range.")
@click.option("--url", help="A Prometheus. Default: that of the running stack.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A metrics page, as `curl .../metrics` saves it. Default time: that of its newest sample.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option("--explain", is_flag=True, help="Print the query's tree with the value of each node.")
@state_dir_option
def query(  # noqa: PLR0917 - a command has as many options as it has
    expr: str,
    at: str | None,
    span: float | None,
    step: float | None,
    url: str | None,
    file: Path | None,
    output: str,
    explain: bool,
    state_dir: Path | None,
) -> None:
    """Evaluate EXPR and print the answer as promtool does.

    A trigger that reads 0 is found with --explain: it shows at which node the series get lost.
    """
    from stoker.cli.query_sources import Page, Server, moment  # noqa: PLC0415 - `--help` is fast

    if url is not None and file is not None:
        raise InputError("`--url` and `--file` exclude each other")
    if explain and span is not None:
        raise InputError("`--explain` shows one moment", hint="leave `--range` out")
    source: QuerySource
    if file is not None:
        source = Page.from_file(file, wall_time())
    else:
        address = url if url is not None else connect(state_dir).overview()["prometheus_url"]
        source = Server(address)
    when = moment(at) if at is not None else source.newest(wall_time())
    if explain:
        _print_tree(expr, source, when, output)
    elif span is not None:
        _print_range(source.range_(expr, when - span, when, step or max(span / 60, 1.0)), output)
    else:
        _print_instant(source.instant(expr, when), output)


def _print_instant(value: object, output: str) -> None:
    from stoker.promql.value import Matrix, Scalar, String, Vector  # noqa: PLC0415

    assert isinstance(value, Scalar | String | Vector | Matrix)  # noqa: S101
    if output == "json":
        _print_json(value)
        return
    text = str(value)
    if text:
        print(text)
    else:
        print("no data", file=sys.stderr)
    _print_notes(value.annotations)


def _print_range(value: object, output: str) -> None:
    from stoker.metrics.sample import format_value  # noqa: PLC0415
    from stoker.promql.value import Matrix  # noqa: PLC0415

    assert isinstance(value, Matrix)  # noqa: S101
    if output == "json":
        _print_json(value)
        return
    for series in value.series:
        values = [v for _, v in series.points]
        low, high, last = min(values), max(values), values[-1]
        print(series.labels)
        shown = f"min {format_value(low)}  max {format_value(high)}  last {format_value(last)}"
        print(f"  {sparkline(values)}  {shown}")
    if not value.series:
        print("no data", file=sys.stderr)
    _print_notes(value.annotations)


def _print_json(value: object) -> None:
    from stoker.api.prometheus_wire import value_json  # noqa: PLC0415

    print(json.dumps(value_json(value)))  # type: ignore[arg-type]


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(note, file=sys.stderr)


def _print_tree(expr: str, source: QuerySource, at: float, output: str) -> None:
    from stoker.cli.query_tree import explained  # noqa: PLC0415

    nodes = explained(expr, source, at)
    if output == "json":
        rows = [{"depth": one.depth, "query": one.text, "value": one.value} for one in nodes]
        print(json.dumps(rows))
        return
    for node in nodes:
        print(f"{'  ' * node.depth}{node.text}")
        for line in node.value.splitlines():
            print(f"{'  ' * node.depth}    = {line}")


def sparkline(values: list[float], width: int = _WIDTH) -> str:
    """A character a point, or a part of the points where there are more than *width*."""
    shown = values
    if len(values) > width:
        shown = [values[i * len(values) // width] for i in range(width)]
    finite = [value for value in shown if value - value == 0]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    size = high - low
    return "".join(
        " " if value - value != 0 else _SPARKS[int((value - low) / size * 7) if size else 0]
        for value in shown
    )
