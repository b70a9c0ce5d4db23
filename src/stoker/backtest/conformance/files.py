"""Finds recordings below a folder, tells their kinds by what stands in them, and runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from stoker.backtest.conformance import validation
from stoker.backtest.conformance.executor import executor_differences
from stoker.backtest.conformance.external import calls_beside
from stoker.backtest.conformance.hpa import (
    calculator_differences,
    hpa_differences,
    rate_differences,
)
from stoker.backtest.conformance.live import live_differences, why_skipped
from stoker.backtest.conformance.recorded import Case, lines
from stoker.errors import InputError, Place

_SUFFIXES = (".jsonl", ".jsonl.gz")
_T = TypeVar("_T")
_MAX_SHOWN = 5  # first differences of a file; the rest is counted

# Fields that only this kind of line has, and what runs such a line.
_KINDS: tuple[tuple[frozenset[str], Callable[[Case], Iterator[str]]], ...] = (
    (frozenset({"family", "spec", "steps"}), hpa_differences),
    (frozenset({"fn", "target_milli"}), calculator_differences),
    (frozenset({"direction", "rules", "limit"}), rate_differences),
    (frozenset({"id", "spec", "steps"}), executor_differences),
    (validation.FIELDS, validation.validation_differences),
)
_LIVE = frozenset({"header", "scaledobject", "start_replicas"})


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file. ``differences`` are the first ones, one for each failed case."""

    name: str
    passed: int
    total: int
    differences: tuple[str, ...] = ()
    skipped: str | None = None  # why it was not run; None: it was

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return self.passed == self.total


def recordings(folder: Path) -> Iterator[Path]:
    """The recordings of decisions below *folder*, by name. Other files are passed over.

    Raises:
        InputError: there is no such folder, or nothing in it is a recording.
    """
    if not folder.is_dir():
        raise InputError("no such folder of recordings", place=Place(str(folder)))
    found = False
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(_SUFFIXES) and _is_recording(path):
            found = True
            yield path
    if not found:
        raise InputError(
            "no recording of decisions in this folder",
            hint="recordings are .jsonl or .jsonl.gz files, see docs/reference/conformance.md",
            place=Place(str(folder)),
        )


def run_file(path: Path, name: str) -> FileResult:
    """Run the cases of one file. A live recording is one case."""
    first = next(lines(path), {})
    if first.keys() >= _LIVE:
        why = why_skipped(first)
        if why is not None:
            return FileResult(name, 0, 0, skipped=why)
        calls = calls_beside(path, first["header"])
        return _result(
            name, [_first(lambda rows: live_differences(rows, calls), list(lines(path)))]
        )
    run = _kind(first)
    if run is None:
        raise InputError("not a recording of decisions", place=Place(str(path)))
    return _result(name, [_first(run, case) for case in lines(path)])


def _is_recording(path: Path) -> bool:
    try:
        first = next(lines(path), {})
    except InputError:
        return False  # some other JSON lines
    return first.keys() >= _LIVE or _kind(first) is not None


def _kind(first: Case) -> Callable[[Case], Iterator[str]] | None:
    return next((run for fields, run in _KINDS if first.keys() >= fields), None)


def _first(run: Callable[[_T], Iterator[str]], case: _T) -> str | None:
    """The first difference of a case, None when there is none. What raises, differs."""
    try:
        return next(run(case), None)
    except Exception as error:  # noqa: BLE001 - one bad case must not hide the others
        which = case.get("id", "") if isinstance(case, dict) else ""
        return f"case {which} raised {type(error).__name__}: {error}".replace("case  ", "")


def _result(name: str, differences: Sequence[str | None]) -> FileResult:
    found = [text for text in differences if text is not None]
    return FileResult(name, len(differences) - len(found), len(differences), tuple(found))


def report(result: FileResult) -> str:
    """One line, and below it the first differences in full."""
    if result.skipped is not None:
        return f"{result.name} skipped: {result.skipped}"
    told = [f"{result.name} {result.passed}/{result.total}"]
    told += [f"  {text}" for text in result.differences[:_MAX_SHOWN]]
    if len(result.differences) > _MAX_SHOWN:
        told.append(f"  and {len(result.differences) - _MAX_SHOWN} more cases that differ")
    return "\n".join(told)
