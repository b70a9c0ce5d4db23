"""What a format is: how its files are known, and how they become rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stoker.traces.rows import BadRows, Rows


@dataclass(slots=True)
class Source:
    """One file that is being read."""

    path: Path
    bad: BadRows
    seed: int = 0  # for formats that describe traffic instead of listing it
    notes: list[str] = field(default_factory=list)  # what reading did to the trace


@dataclass(frozen=True, slots=True)
class Format:
    """One way of writing traffic down.

    ``knows`` gets the path and the first lines of the file, none if it is not text.
    """

    name: str
    says: str  # what its files look like, for people
    knows: Callable[[Path, list[str]], bool]
    rows: Callable[[Source], Iterator[Rows]]
