"""``--set path=value,value``: the same file with other settings.

A path is written as in Helm, ``spec.triggers[0].metadata.threshold``, or only its end if that is
clear: ``threshold``.
"""

from __future__ import annotations

import copy
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from stoker.errors import InputError, Place

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One path and the values that it takes in turn."""

    path: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Read ``path=value,value``. Raises InputError."""
        path, sign, values = text.partition("=")
        if not sign or not path.strip() or not values.strip():
            raise InputError(
                f"`--set {text}` has no value", hint="write --set pollingInterval=5,15,30"
            )
        try:
            found = tuple(yaml.safe_load(value) for value in values.split(","))
        except yaml.YAMLError:
            raise InputError(f"`--set {text}`: `{values}` cannot be read as YAML") from None
        return cls(path.strip(), found)


def combinations(settings: Sequence[Setting]) -> list[tuple[tuple[str, Any], ...]]:
    """All values with all values, in the order in which they were written."""
    columns = [[(setting.path, value) for value in setting.values] for setting in settings]
    return list(itertools.product(*columns))


def label(combination: Sequence[tuple[str, Any]]) -> str:
    """``threshold=5 pollingInterval=15``."""
    return " ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in combination)


def edited(texts: Sequence[tuple[str, str]], combination: Sequence[tuple[str, Any]]) -> io.StringIO:
    """The documents of *texts*, pairs of a file and what it has, with new values.

    Raises:
        InputError: a path leads nowhere, or to several places.
    """
    documents = [
        document
        for _, text in texts
        for document in yaml.safe_load_all(text)
        if document is not None
    ]
    where = Place(texts[0][0]) if texts else None
    documents = copy.deepcopy(documents)
    for path, value in combination:
        document, full = _find(documents, path, where)
        _set(document, full, value, where)
    return io.StringIO(yaml.safe_dump_all(documents, sort_keys=False))


def _find(documents: list[Any], path: str, where: Place | None) -> tuple[Any, Path]:
    """The only place that *path* can mean."""
    wanted = _parts(path)
    found = [
        (document, full)
        for document in documents
        for full in _paths(document)
        if full[-len(wanted) :] == wanted
    ]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        names = ", ".join(sorted({written(full) for _, full in found}))
        raise InputError(
            f"`--set {path}` can mean {len(found)} settings",
            hint=f"write more of the path: {names}",
            place=where,
        )
    # Not there yet: it is made, in the document that has the place for it.
    for length in range(len(wanted) - 1, 0, -1):
        parents = [
            (document, full)
            for document in documents
            for full in _paths(document)
            if full[-length:] == wanted[:length]
        ]
        if len(parents) == 1 and all(isinstance(part, str) for part in wanted[length:]):
            document, full = parents[0]
            return document, (*full, *wanted[length:])
    raise InputError(
        f"`--set {path}`: there is no such setting",
        hint="write the whole path, as spec.pollingInterval or "
        "servingEngineSpec.modelSpec[0].keda.pollingInterval",
        place=where,
    )


def _parts(path: str) -> Path:
    return tuple(name or int(index) for name, index in _PART.findall(path))


def written(path: Path) -> str:
    """``spec.triggers[0].metadata``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """All places in a document, the document itself left out."""
    if isinstance(value, dict):
        inner: Iterator[tuple[str | int, Any]] = iter(value.items())
    elif isinstance(value, list):
        inner = iter(enumerate(value))
    else:
        return
    for key, child in inner:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _set(document: Any, path: Path, value: Any, where: Place | None) -> None:
    target = document
    for part in path[:-1]:
        if isinstance(target, dict) and part not in target:
            target[part] = {}
        target = target[part]
    if not isinstance(target, dict | list):
        raise InputError(f"`--set {written(path)}`: there is no place for it", place=where)
    last: Any = path[-1]
    before = target.get(last) if isinstance(target, dict) else target[last]
    # metadata of triggers are strings, and stay so
    target[last] = str(value) if isinstance(before, str) else value
