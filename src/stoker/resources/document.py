"""A YAML document that remembers where everything stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.errors import Place

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it begins, and its parts. Lines and columns count from 1."""

    value: Any
    line: int
    column: int
    items: Mapping[str | int, Item] = field(default_factory=dict)
    size: int = 1  # how many values it holds, those behind aliases counted each time
    text_column: int | None = None  # of a text on one line without escapes: its first character


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a mapping or a list: where its key (or its dash's content) stands, and it."""

    line: int
    column: int
    node: Node


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. ``value`` is plain data: dicts, lists and scalars.

    ``text`` is what was read, ``line`` the number of lines in the file before it.
    """

    file: str
    root: Node
    text: str = field(default="", repr=False)
    line: int = 0

    @property
    def value(self) -> Any:
        """The document as plain data. Not to be changed: aliases share their values."""
        return self.root.value

    def place(self, path: Path = (), *, key: bool = False) -> Place:
        """Where *path* stands, or the nearest thing around it that exists.

        Args:
            path: keys and indexes from the root.
            key: the key, not the value after it.
        """
        node, line, column = self.root, self.root.line, self.root.column
        for depth, part in enumerate(path):
            item = node.items.get(part)
            if item is None:
                break
            node = item.node
            at_key = (key and depth == len(path) - 1) or self._is_missing_inside(item, path, depth)
            line, column = (item.line, item.column) if at_key else (node.line, node.column)
        return Place(self.file, line, column)

    def place_in_text(self, path: Path, column: int) -> Place:
        """Where character *column* (from 1) of the text at *path* stands, or the text itself."""
        node = self.root
        for part in path:
            if part not in node.items:
                return self.place(path)
            node = node.items[part].node
        if node.text_column is None:
            return self.place(path)
        return Place(self.file, node.line, node.text_column + column - 1)

    @staticmethod
    def _is_missing_inside(item: Item, path: Path, depth: int) -> bool:
        """Whether the path ends below *item*: then the key tells the place, not its first child."""
        return depth < len(path) - 1 and path[depth + 1] not in item.node.items


def dotted(path: Path) -> str:
    """``spec.triggers[0].type``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part or "/" in part:
            text += f"[{part!r}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a Kubernetes object comes from: a document, or a part of Helm values.

    ``written`` turns a path inside the object into the path that the user wrote.
    """

    document: Document
    written: Callable[[Path], Path] = lambda path: path

    def place(self, path: Path = (), *, key: bool = False) -> Place:
        """Where the user wrote what stands at *path* of the object."""
        return self.document.place(self.written(path), key=key)

    def place_in_text(self, path: Path, column: int) -> Place:
        """Where character *column* of the text at *path* of the object stands."""
        return self.document.place_in_text(self.written(path), column)

    def name(self, path: Path) -> str:
        """What the user calls it: ``servingEngineSpec.modelSpec[0].keda.minReplicaCount``."""
        return dotted(self.written(path))

    def exists(self, path: Path) -> bool:
        """Whether the user wrote it at all, or it is a default."""
        node = self.document.root
        for part in self.written(path):
            item = node.items.get(part)
            if item is None:
                return False
            node = item.node
        return True


@dataclass(frozen=True, slots=True)
class Manifest:
    """A Kubernetes object as a cluster would get it, and where it was written."""

    content: Mapping[str, Any]
    origin: Origin

    @property
    def kind(self) -> str:
        """``Deployment``, ``ScaledObject`` ..."""
        return str(self.content.get("kind", ""))

    @property
    def api_version(self) -> str:
        """``apps/v1`` ..."""
        return str(self.content.get("apiVersion", ""))

    @property
    def name(self) -> str:
        """``metadata.name``, empty when it has none."""
        metadata = self.content.get("metadata")
        return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""

    def place(self, *path: str | int, key: bool = False) -> Place:
        """Where the user wrote what stands at *path*."""
        return self.origin.place(path, key=key)
