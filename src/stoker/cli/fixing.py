"""`stoker check --fix` and `--diff`: files mended in place, comments and all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import InputError, Place

if TYPE_CHECKING:
    from stoker.checks import Finding

_BOM = "\ufeff"


def fix(findings: Iterable[Finding], *, write: bool) -> str:
    """The changes that mend *findings*, as a unified diff; with *write* they are made, too.

    Raises:
        InputError: a file cannot be read or written.
    """
    from stoker.checks.edits import Edit, mended  # noqa: PLC0415 - keeps `--help` fast

    edits: dict[str, list[Edit]] = {}
    for finding in findings:
        for edit in finding.edits:
            edits.setdefault(edit.document.file, []).append(edit)
    told = []
    for name, of_file in sorted(edits.items()):
        if name == "<stdin>":
            raise InputError("standard input cannot be mended", hint="name a file")
        before = _read(name)
        mark = _BOM if before.startswith(_BOM) else ""
        after = mark + mended(before.removeprefix(_BOM), of_file)
        if after == before:
            continue
        told.append(_diff(name, before, after))
        if write:
            _write(name, after)
    return "".join(told)


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, name
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _read(name: str) -> str:
    try:
        return Path(name).read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=Place(name)) from None


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", place=Place(name)) from None
