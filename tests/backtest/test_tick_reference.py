"""docs/reference/tick.md names every field of a Tick and of the summary, and no other."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from pathlib import Path

import pytest

from stoker.backtest import Summary
from stoker.cli.backtesting import as_json
from stoker.tick import Tick

from .conftest import a_spec, metrics, walk

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "tick.md").read_text()
FIELDS, _, SUMMARY = PAGE.partition("## The summary of a run")


def paths(cls, prefix=""):
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield from _of_type(hints[field.name], f"{prefix}{field.name}")


def _of_type(hint, path):
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = arguments[0]
        yield from paths(inner, f"{path}[].") if dataclasses.is_dataclass(inner) else [path]
    elif typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = next((a for a in arguments if dataclasses.is_dataclass(a)), None)
        yield path
        if inner is not None:
            yield from paths(inner, f"{path}.")
    elif dataclasses.is_dataclass(hint):
        yield from paths(hint, f"{path}.")
    else:
        yield path


def test_every_field_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", FIELDS, re.MULTILINE)

    assert sorted(documented) == sorted(paths(Tick))


def test_every_number_of_the_summary_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", SUMMARY, re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    fields = [field.name for field in dataclasses.fields(Summary)]
    assert sorted(documented) == sorted([*fields, "scale_events"])


def test_a_tick_is_json_with_these_fields() -> None:
    document = json.loads(as_json(walk(a_spec(), metrics((0, 12)), 15)[-1].to_dict()))

    assert sorted(document) == sorted(field.name for field in dataclasses.fields(Tick))
    assert document["reader"] == "HPA sync"
    assert document["recommendations"][0]["replicas"] == 3


@pytest.mark.parametrize(
    ("number", "text"),
    [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (1.5, 1.5)],
)
def test_what_is_no_number_in_json_is_a_text(number, text) -> None:
    assert json.loads(as_json({"a": [{"b": number}]})) == {"a": [{"b": text}]}
