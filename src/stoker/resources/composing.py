"""From YAML events to nodes with places, without recursion and within limits.

PyYAML's own composer recurses and expands nothing it can count, so a hostile or broken file could
exhaust the stack or, through aliases, the memory. This one keeps its own stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from stoker.errors import InputError, Place
from stoker.resources.document import Item, Node
from stoker.resources.scalars import Scalar, key_text, plain

MAX_DEPTH = 100  # the deepest Kubernetes schema, a pod's affinity inside a CRD, has about 25
MAX_VALUES = 200_000  # a 10 MB file of one-letter items would have 3 million

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class _Key:
    text: str
    at: tuple[int, int]
    is_merge: bool = False


@dataclass(slots=True)
class _Open:
    """A mapping or a list that has not ended yet."""

    at: tuple[int, int]
    is_mapping: bool
    anchor: str | None
    items: dict[str | int, Item] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)
    key: _Key | None = None  # of a mapping, while its value is awaited
    size: int = 1


class Composer:
    """Builds the one node of a document. ``line`` is the line in the file before its first.

    A key that is given twice is an error. With a list as ``twice`` it and its line are noted there
    instead, and the last one counts, as for kubectl.
    """

    def __init__(self, file: str, line: int, twice: list[tuple[str, int]] | None = None) -> None:
        self._file = file
        self._line = line
        self._twice = twice
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None

    def compose(self, text: str) -> Node | None:
        """The document in *text*, None when there is nothing in it. Raises InputError."""
        for event in self._events(text):
            match event:
                case MappingStartEvent() | SequenceStartEvent():
                    self._open(event)
                case MappingEndEvent() | SequenceEndEvent():
                    self._close()
                case ScalarEvent():
                    self._scalar(event)
                case AliasEvent():
                    self._alias(event)
        return self._root

    def _events(self, text: str) -> Iterator[Event]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(text, error) from None
        except yaml.reader.ReaderError as error:
            raise InputError(
                f"not valid YAML: the character {chr(error.character)!r} is not allowed",
                place=Place(self._file, self._line + text.count("\n", 0, error.position) + 1),
            ) from None

    def _syntax_error(self, text: str, error: yaml.MarkedYAMLError) -> InputError:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "cannot be read"
        place = Place(self._file, self._line + 1)
        hint = None
        if mark is not None:
            place = Place(self._file, self._line + mark.line + 1, mark.column + 1)
            lines = text.split("\n")
            line = lines[mark.line] if mark.line < len(lines) else ""
            indent = line[: len(line) - len(line.lstrip())]
            if "\t" in indent or line[mark.column : mark.column + 1] == "\t":
                problem, hint = "a tab character where spaces belong", "indent with spaces"
            elif "mapping values are not allowed" in problem:
                hint = "check the indentation, or quote a value that contains `: `"
        return InputError(f"not valid YAML: {problem}", hint=hint, place=place)

    def _at(self, event: Event) -> tuple[int, int]:
        """Line and column in the file, counted from 1."""
        mark = event.start_mark
        assert mark is not None  # noqa: S101 - every event of a parser has one
        return self._line + mark.line + 1, mark.column + 1

    def _place(self, at: tuple[int, int]) -> Place:
        return Place(self._file, *at)

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        at = self._at(event)
        is_mapping = isinstance(event, MappingStartEvent)
        self._refuse_as_key(at)
        if event.tag not in {_TAG + ("map" if is_mapping else "seq"), "!", None}:
            raise self._unknown_tag(event.tag, at)
        if len(self._stack) >= MAX_DEPTH:
            raise InputError(f"nested more than {MAX_DEPTH} levels deep", place=self._place(at))
        self._stack.append(_Open(at, is_mapping, event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        for node in done.merged:
            for key, item in node.items.items():
                done.items.setdefault(key, item)
        value: Any = (
            {key: item.node.value for key, item in done.items.items()}
            if done.is_mapping
            else [item.node.value for item in done.items.values()]
        )
        self._finish(Node(value, *done.at, done.items, done.size), done.anchor, done.at)

    def _scalar(self, event: ScalarEvent) -> None:
        at = self._at(event)
        value = self._resolve(event, at)
        top = self._stack[-1] if self._stack else None
        if top is not None and top.is_mapping and top.key is None:
            top.key = self._key(event, value, top, at)
        else:
            self._finish(Node(value, *at, text_column=self._text_column(event)), event.anchor, at)

    def _text_column(self, event: ScalarEvent) -> int | None:
        """Where the first character stands, if all others follow it as they are."""
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:
            return None
        quotes = 1 if event.style in ("'", '"') else 0
        as_it_is = end.line == start.line and end.column - start.column == (
            len(event.value) + 2 * quotes
        )
        return self._at(event)[1] + quotes if as_it_is else None

    def _key(self, event: ScalarEvent, value: Scalar, top: _Open, at: tuple[int, int]) -> _Key:
        if event.value == _MERGE and not event.style:
            return _Key(_MERGE, at, is_merge=True)
        text = key_text(value)
        if text is None:
            raise InputError("a key has no name", hint="quote it", place=self._place(at))
        if text in top.items and self._twice is not None:
            self._twice.append((text, at[0]))
        elif text in top.items:
            raise InputError(
                f"the key `{text}` is given twice, first in line {top.items[text].line}",
                hint="kubectl and Helm keep the last one silently, the API server refuses both",
                place=self._place(at),
            )
        return _Key(text, at)

    def _resolve(self, event: ScalarEvent, at: tuple[int, int]) -> Scalar:
        tag = event.tag
        if tag is None or tag == "!":
            is_text = bool(event.style) or tag == "!"  # libyaml says "" for plain, PyYAML None
            return str(event.value) if is_text else plain(event.value)
        kind = tag.removeprefix(_TAG)
        if kind == "str":
            return str(event.value)
        value = plain(event.value)
        if kind == "float" and type(value) is int:
            return float(value)
        kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if not tag.startswith(_TAG) or kind not in kinds:
            raise self._unknown_tag(tag, at)
        if type(value) is not kinds[kind]:
            raise InputError(f"{event.value!r} is not a YAML {kind}", place=self._place(at))
        return value

    def _alias(self, event: AliasEvent) -> None:
        at = self._at(event)
        self._refuse_as_key(at)
        name = event.anchor or ""
        if name in {opened.anchor for opened in self._stack}:
            raise InputError(f"the alias `*{name}` contains itself", place=self._place(at))
        node = self._anchors.get(name)
        if node is None:
            message = f"the alias `*{name}` has no anchor before it"
            raise InputError(message, place=self._place(at))
        self._finish(node, None, at)

    def _finish(self, node: Node, anchor: str | None, at: tuple[int, int]) -> None:
        """Give a complete node to what holds it."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        top.size += node.size
        if top.size > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values, those behind aliases counted each time"
            raise InputError(message, place=self._place(at))
        if top.key is None:
            top.items[len(top.items)] = Item(node.line, node.column, node)
            return
        key, top.key = top.key, None
        if key.is_merge:
            top.merged.extend(self._merge_sources(node, at))
        else:
            top.items[key.text] = Item(*key.at, node)

    def _merge_sources(self, node: Node, at: tuple[int, int]) -> list[Node]:
        is_list = isinstance(node.value, list)
        sources = [item.node for item in node.items.values()] if is_list else [node]
        if not all(isinstance(source.value, dict) for source in sources):
            message = "`<<` takes a mapping or a list of mappings"
            raise InputError(message, place=self._place(at))
        return sources

    def _refuse_as_key(self, at: tuple[int, int]) -> None:
        top = self._stack[-1] if self._stack else None
        if top is not None and top.is_mapping and top.key is None:
            message = "a key must be a plain name"
            hint = "quote text that begins with a brace, a bracket or `*`"
            raise InputError(message, hint=hint, place=self._place(at))

    def _unknown_tag(self, tag: str | None, at: tuple[int, int]) -> InputError:
        name = (tag or "").replace(_TAG, "!!")
        return InputError(f"the YAML tag `{name}` has no meaning here", place=self._place(at))
