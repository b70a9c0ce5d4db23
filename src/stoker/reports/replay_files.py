"""The files of a replay: its page, and each figure as SVG and PNG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.errors import InputError, Place
from stoker.reports import raster, svg
from stoker.reports.figure import Figure
from stoker.reports.replay_figures import pareto, timeline, unit_of
from stoker.reports.replay_page import page

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80  # characters of a file's name


def write_page(document: Mapping[str, Any], path: Path) -> None:
    """One HTML file.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.write_text(page(document), encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None


def write_figures(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Each figure twice, as SVG and as PNG. Returns the files.

    Raises:
        InputError: the folder or a file cannot be written.
        MachineError: matplotlib, which draws the PNG, is not installed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    written = []
    for figure in figures(document):
        vector = folder / f"{figure.name}.svg"
        try:
            vector.write_text(svg.draw(figure, alone=True), encoding="utf-8")
        except OSError as error:
            raise _unwritable(vector, error) from None
        pixels = folder / f"{figure.name}.png"
        raster.draw(figure, pixels)
        written += [vector, pixels]
    return written


def figures(document: Mapping[str, Any]) -> list[Figure]:
    """A timeline of each file's run, and the comparison if there is something to compare."""
    runs = document["runs"]
    found: list[Figure] = []
    for run in runs:
        if run.get("kind", "file") != "file":
            continue
        figure = timeline(run, slo_ttft=document.get("slo_ttft"))
        figure.name = _name(f"timeline-{run['name']}", {known.name for known in found})
        found.append(figure)
    if sum(run.get("slo_attainment") is not None for run in runs) > 1:
        found.append(pareto(runs, unit=unit_of(document)))
    return found


def _name(text: str, taken: set[str]) -> str:
    """A name that any file system takes, and no other figure has."""
    base = _UNSAFE.sub("-", text).strip("-.")[:_LONGEST]
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = (error.strerror or str(error)).lower()
    return InputError(f"cannot be written: {reason}", place=Place(str(path)))
