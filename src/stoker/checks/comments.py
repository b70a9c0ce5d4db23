"""``# stoker: ignore[CODE]``: what the user has seen and wants to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stoker.checks.base import Finding
from stoker.resources.document import Document

_COMMENT = re.compile(r"(?:^|(?<=\s))#\s*stoker:\s*ignore(?:\[(?P<codes>[^\]\n]*)\])?")
_ALL = "*"


@dataclass(slots=True)
class Ignored:
    """The codes that comments name, by file and line, and for whole documents."""

    _lines: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _documents: list[tuple[str, int, int, set[str]]] = field(default_factory=list)

    @classmethod
    def read(cls, documents: Iterable[Document]) -> Ignored:
        """The comments of *documents*.

        One behind a value, or on the line above it, is about that line. One before the first key
        of a document is about the whole document.
        """
        ignored = cls()
        for document in documents:
            if "stoker:" in document.text:
                ignored._read(document)
        return ignored

    def _read(self, document: Document) -> None:
        lines = document.text.split("\n")
        head = document.root.line  # of the first key
        last = document.line + len(lines)
        for number, line in enumerate(lines, document.line + 1):
            found = _COMMENT.search(line)
            if found is None:
                continue
            codes = set(_codes(found["codes"]))
            alone = not line[: found.start()].strip()
            if alone and number < head:
                self._documents.append((document.file, document.line + 1, last, codes))
            else:
                about = number + 1 if alone else number
                self._lines.setdefault((document.file, about), set()).update(codes)

    def covers(self, finding: Finding) -> bool:
        """Whether a comment asks not to tell *finding*."""
        file, line = finding.place.file, finding.place.line or 0
        codes = set(self._lines.get((file, line), ()))
        for name, first, last, of_document in self._documents:
            if name == file and first <= line <= last:
                codes |= of_document
        return bool(codes & {_ALL, finding.code})


def _codes(text: str | None) -> Iterator[str]:
    """The names between the brackets; without brackets all."""
    if text is None:
        yield _ALL
        return
    yield from (part.strip() for part in text.split(","))
