"""What the commands that talk to a running Stoker have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stoker.api.client import Client
from stoker.api.kinds import Kind, resolve
from stoker.errors import InputError

JsonObject = dict[str, Any]


def state_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--state-dir``: which run is meant."""
    option = click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="State directory of the run, as given to `stoker up`.",
    )
    return option(function)


def namespace_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-n``: whose objects are meant."""
    return click.option("-n", "--namespace", help="Default: the namespace of the run.")(function)


def connect(state_dir: Path | None) -> Client:
    """The running Stoker. Raises ConflictError when there is none."""
    return Client.discover(state_dir)


def targets(words: tuple[str, ...]) -> list[tuple[Kind, str | None]]:
    """What ``so``, ``so,hpa``, ``so NAME ...`` and ``so/NAME ...`` mean: kinds, and names if any.

    Raises:
        ServerError: there is no such kind.
        InputError: the two forms are mixed.
    """
    if any("/" in word for word in words):
        return [_slashed(word) for word in words]
    kinds = [resolve(name) for name in words[0].split(",") if name]
    if not kinds:
        raise InputError("which kind of object?", hint="for example `so`, `hpa` or `pods`")
    if len(words) == 1:
        return [(kind, None) for kind in kinds]
    return [(kind, name) for kind in kinds for name in words[1:]]


def one_target(words: tuple[str, ...]) -> tuple[Kind, str]:
    """A single object, as ``KIND NAME`` or ``KIND/NAME``."""
    found = targets(words)
    kind, name = found[0]
    if len(found) != 1 or name is None:
        raise InputError(
            "one object is needed", hint=f"write `{kind.singular}/NAME` or `{kind.singular} NAME`"
        )
    return kind, name


def _slashed(word: str) -> tuple[Kind, str]:
    kind, slash, name = word.partition("/")
    if not slash or not kind or not name:
        raise InputError(
            f"`{word}`: all or none of the arguments have the form KIND/NAME",
            hint="for example `so/llama deploy/llama`",
        )
    return resolve(kind), name


def in_namespace(objects: list[JsonObject], namespace: str) -> list[JsonObject]:
    """The *objects* of one namespace."""
    return [found for found in objects if found["metadata"].get("namespace") == namespace]
