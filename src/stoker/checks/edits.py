"""Changes of a file's text that leave everything else in it, comments too, as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from stoker.errors import Place
from stoker.resources.document import Document, Node, Path

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = re.compile(r"[A-Za-z_(][\w ().,:<>=+*/{}\[\]~!|^-]*")
_AMBIGUOUS = re.compile(r": |:$| #|^(y|n|yes|no|on|off|true|false|null)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Edit:
    """A new value for what stands at *path* of a document, or its removal."""

    document: Document = field(compare=False, repr=False)
    path: Path  # from the root of the document, as the user wrote it
    value: str | int | None = None  # None: remove the key and its value
    quote: bool = False  # put what is written there in quotes


@dataclass(frozen=True, slots=True)
class _Change:
    start: int
    end: int
    text: str


def apply(text: str, document: Document, edits: Iterable[Edit]) -> str:
    """*text*, the whole file, with *edits* of *document* in it.

    An edit that cannot be made without touching its surroundings (an alias, a flow mapping) is
    left out; edits that overlap an earlier one too.
    """
    begin = _offset(text, document.line)
    root = yaml.compose(document.text, Loader=_LOADER)
    changes = [
        change for edit in edits if (change := _change(document.text, root, edit)) is not None
    ]
    for change in _apart(changes):
        text = text[: begin + change.start] + change.text + text[begin + change.end :]
    return text


def mended(text: str, edits: Iterable[Edit]) -> str:
    """*text*, the whole file, with *edits* of its documents in it."""
    by_line: dict[int, list[Edit]] = {}
    for edit in edits:
        by_line.setdefault(edit.document.line, []).append(edit)
    # the last document first: what stands before it stays in its place
    for line in sorted(by_line, reverse=True):
        text = apply(text, by_line[line][0].document, by_line[line])
    return text


def quoting(documents: Iterable[Document], place: Place) -> tuple[Edit, ...]:
    """The scalar at *place*, which is not a text, as a text."""
    for document in documents:
        if document.file != place.file:
            continue
        found = _scalar_at(document.root, (), (place.line, place.column))
        if found is not None:
            return (Edit(document, found, quote=True),)
    return ()


def _scalar_at(node: Node, path: Path, at: tuple[int | None, int | None]) -> Path | None:
    for key, item in node.items.items():
        if (item.node.line, item.node.column) == at and not item.node.items:
            return (*path, key)
        found = _scalar_at(item.node, (*path, key), at)
        if found is not None:
            return found
    return None


def _offset(text: str, lines: int) -> int:
    """Where the line after the first *lines* begins."""
    at = 0
    for _ in range(lines):
        at = text.index("\n", at) + 1
    return at


def _apart(changes: Sequence[_Change]) -> list[_Change]:
    """Those that do not overlap, the last first, so that earlier offsets stay true."""
    kept: list[_Change] = []
    for change in changes:
        if all(change.end <= other.start or other.end <= change.start for other in kept):
            kept.append(change)
    return sorted(kept, key=lambda change: change.start, reverse=True)


def _change(text: str, root: Any, edit: Edit) -> _Change | None:
    found = _find(root, edit.path)
    if found is None:
        return None
    key, node = found
    if edit.quote:
        start, end = node.start_mark.index, node.end_mark.index
        return _Change(start, end, json.dumps(text[start:end]))
    if edit.value is None:
        return _removal(text, key, node)
    if not isinstance(node, yaml.ScalarNode):
        return None
    start, end = node.start_mark.index, node.end_mark.index
    return _Change(start, end, _scalar(edit.value, text[start:end]))


def _find(node: Any, path: Path) -> tuple[Any, Any] | None:
    """The key and the value at *path*; None where an alias or a merge leads there."""
    key = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [pair for pair in node.value if pair[0].value == str(part)]
            if len(pairs) != 1 or node.flow_style:
                return None
            key, node = pairs[0]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            key, node = None, node.value[part]
        else:
            return None
        if key is not None and node.start_mark.index < key.end_mark.index:
            return None  # an alias: its anchor stands before the key
    return key, node


def _removal(text: str, key: Any, node: Any) -> _Change | None:
    """The lines of a key in a block mapping. None where something else stands on them."""
    if key is None:
        return None
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    if text[start : key.start_mark.index].strip():
        return None  # the first key behind a dash
    last = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style not in {"|", ">"}:
        end = text.find("\n", last)
        end = len(text) if end < 0 else end + 1
    else:
        end = text.rfind("\n", 0, last) + 1
    return _Change(start, end, "")


def _scalar(value: str | int, written: str) -> str:
    """*value* in the style of what was *written*."""
    if isinstance(value, int):
        return str(value)
    if not value.isprintable() or written[:1] in {'"', "|", ">"}:
        ending = "\n" if written.endswith("\n") else ""
        return _double_quoted(value) + ending
    if written[:1] == "'" or not _PLAIN.fullmatch(value) or _AMBIGUOUS.search(value):
        return "'" + value.replace("'", "''") + "'"
    return value


def _double_quoted(value: str) -> str:
    """As YAML reads it back; what cannot be seen is escaped, since YAML takes some of it away."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else _escaped(ord(one)) for one in quoted)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
