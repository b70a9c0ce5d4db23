"""From files, directories and standard input to documents with places.

Every document is read on its own, so that one broken document does not hide what is wrong in the
others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import TextIO

from stoker.errors import InputError, Place
from stoker.resources.composing import Composer
from stoker.resources.document import Document

MAX_BYTES = 10_000_000
STDIN = "-"
_SUFFIXES = {".yaml", ".yml", ".json"}
_SEPARATOR = re.compile(r"^---(?=[ \t\r]|$)", re.MULTILINE)


def load_documents(
    paths: Sequence[str], stdin: TextIO | None = None
) -> tuple[tuple[Document, ...], tuple[InputError, ...]]:
    """All documents that can be read, in the order given, and everything that is wrong.

    Args:
        paths: files, directories (their ``.yaml``, ``.yml`` and ``.json`` files by name, not those
            of subdirectories) or ``-`` for standard input.
        stdin: what ``-`` reads.
    """
    documents: list[Document] = []
    errors: list[InputError] = []
    for path in paths:
        try:
            sources = list(_sources(path, stdin))
        except InputError as error:
            errors.append(error)
            continue
        for name, read in sources:
            _read_source(name, read, documents, errors)
    return tuple(documents), tuple(errors)


def _read_source(
    name: str,
    source: FilePath | TextIO,
    documents: list[Document],
    errors: list[InputError],
) -> None:
    try:
        text = _text(name, source)
    except InputError as error:
        errors.append(error)
        return
    found = False
    for line, part in split(text):
        found = True
        try:
            root = Composer(name, line).compose(part)
        except InputError as error:
            errors.append(error)
            continue
        if root is None or root.value is None:
            continue
        if not isinstance(root.value, dict):
            errors.append(_not_a_mapping(root.value, Place(name, root.line, root.column)))
            continue
        documents.append(Document(name, root, part, line))
    if not found:
        errors.append(InputError("the file is empty", place=Place(name)))


def _not_a_mapping(value: object, place: Place) -> InputError:
    what = "a list" if isinstance(value, list) else "a single value"
    hint = None
    if isinstance(value, str) and "\t" in value:
        hint = "indent with spaces, not tabs"
    elif isinstance(value, str) and ":" in value:
        hint = "a space is needed after `:`"
    return InputError(
        f"expected a mapping of names to values, found {what}", hint=hint, place=place
    )


def split(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a file with the number of lines before each; empty ones are left out."""
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text) if match.start() > 0)]
    line = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        if not _is_nothing(_SEPARATOR.sub("", part, count=1)):
            yield line, part
        line += part.count("\n")


def _is_nothing(text: str) -> bool:
    """Whether there are only blank lines, comments, directives and end marks."""
    lines = (line.strip() for line in text.splitlines())
    return all(not line or line[0] in "#%" or line == "..." for line in lines)


def _sources(path: str, stdin: TextIO | None) -> Iterator[tuple[str, FilePath | TextIO]]:
    if path == STDIN:
        if stdin is None:
            raise InputError("`-` was given, but there is no standard input to read")
        yield "<stdin>", stdin
        return
    location = FilePath(path)
    if location.is_dir():
        files = sorted(item for item in location.iterdir() if item.suffix in _SUFFIXES)
        files = [item for item in files if item.is_file()]
        if not files:
            raise InputError(
                "no .yaml, .yml or .json file in this directory",
                hint="name the files; subdirectories are not searched",
                place=Place(path),
            )
        for item in files:
            yield str(item), item
        return
    if not location.exists():
        raise InputError("no such file or directory", hint=_near_miss(location), place=Place(path))
    yield path, location


def _near_miss(path: FilePath) -> str | None:
    """A file beside the missing one that differs in its suffix only."""
    for suffix in sorted(_SUFFIXES):
        other = path.with_suffix(suffix)
        if path.name and other != path and other.is_file():
            return f"did you mean `{other}`?"
    return None


def _text(name: str, source: FilePath | TextIO) -> str:
    """The text of a source. Raises InputError for what is too long, unreadable or not UTF-8."""
    too_long = InputError(
        f"longer than {MAX_BYTES // 1_000_000} MB",
        hint="is this the right file?",
        place=Place(name),
    )
    try:
        if not isinstance(source, FilePath):
            text = source.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise too_long
            return text.removeprefix("\ufeff")
        with source.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read: {reason}", place=Place(name)) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", place=Place(name)) from None
    if len(raw) > MAX_BYTES:
        raise too_long
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            "not UTF-8 text", hint="save the file as UTF-8", place=Place(name, line)
        ) from None
