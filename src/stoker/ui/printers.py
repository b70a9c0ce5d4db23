"""What `get` prints: tables, names, YAML and JSON, as kubectl does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.api.kinds import Kind, kind_of
from stoker.errors import InputError
from stoker.ui.columns import at, columns_of, labels_text
from stoker.ui.tabs import TablePrinter

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the flags of `get` do to a table."""

    wide: bool = False
    headers: bool = True
    with_namespace: bool = False  # -A
    with_kind: bool = False  # several kinds at once: names become scaledobject.keda.sh/NAME
    show_labels: bool = False
    watch_events: bool = False  # --output-watch-events


class ObjectTable:
    """The table of one kind, all at once or growing with a watch."""

    def __init__(self, kind: Kind, options: TableOptions) -> None:
        self._kind = kind
        self._options = options
        self._columns = columns_of(kind, wide=options.wide)
        self._printer = TablePrinter()
        self._header_due = options.headers

    def part(self, objects: Sequence[JsonObject], now: float, *, event: str = "ADDED") -> str:
        """The next lines, the headings before the first of them."""
        if not objects:
            return ""
        rows = [self._row(found, now, event) for found in objects]
        if self._header_due:
            self._header_due = False
            rows.insert(0, self._headings())
        return self._printer.rows(rows)

    def _headings(self) -> list[str]:
        options = self._options
        headings = [column.heading for column in self._columns]
        if options.with_namespace:
            headings.insert(0, "NAMESPACE")
        if options.watch_events:
            headings.insert(0, "EVENT")
        return [*headings, "LABELS"] if options.show_labels else headings

    def _row(self, found: JsonObject, now: float, event: str) -> list[str]:
        options = self._options
        cells = [column.cell(found, now) for column in self._columns]
        if options.with_kind and self._columns[0].heading == "NAME":
            cells[0] = f"{self._kind.prefix}/{cells[0]}"
        if options.with_namespace:
            cells.insert(0, at(found, "metadata.namespace", ""))
        if options.watch_events:
            cells.insert(0, event.ljust(len("MODIFIED")))
        if options.show_labels:
            cells.append(labels_text(at(found, "metadata.labels")))
        return cells


def name_line(found: JsonObject) -> str:
    """``scaledobject.keda.sh/llama``, as ``-o name`` prints it."""
    return f"{kind_of(found).prefix}/{found['metadata']['name']}\n"


def as_json(objects: Sequence[JsonObject], *, single: bool) -> str:
    """Indented JSON; more than one object, or a query for all, as a List."""
    return json.dumps(_document(objects, single=single), indent=4, ensure_ascii=False) + "\n"


def as_yaml(objects: Sequence[JsonObject], *, single: bool) -> str:
    """YAML with sorted keys, as kubectl writes it."""
    from stoker.ui.yamltext import to_yaml  # noqa: PLC0415 - tables do without PyYAML

    return to_yaml(_document(objects, single=single))


def _document(objects: Sequence[JsonObject], *, single: bool) -> JsonObject:
    if single and len(objects) == 1:
        return objects[0]
    meta = {"resourceVersion": ""}
    return {"apiVersion": "v1", "items": list(objects), "kind": "List", "metadata": meta}


def sort_by(objects: Sequence[JsonObject], path: str) -> list[JsonObject]:
    """The objects in the order of a field, ``.lastTimestamp`` or ``{.metadata.name}``."""
    dotted = path.strip("{}").lstrip(".")
    if not dotted:
        raise InputError(f"`--sort-by={path}`: a field is needed, as in `.metadata.name`")

    def key(found: JsonObject) -> tuple[bool, float, str]:
        value = at(found, dotted)
        number = value if isinstance(value, int | float) else 0.0
        return value is None, float(number), str(value)

    return sorted(objects, key=key)


def selected(objects: Sequence[JsonObject], selector: str) -> list[JsonObject]:
    """The objects whose labels meet *selector*: ``a=1,b!=2,c``."""
    terms = [_term(text.strip()) for text in selector.split(",") if text.strip()]

    def meets(labels: Mapping[str, str]) -> bool:
        return all(_meets(labels, *term) for term in terms)

    return [found for found in objects if meets(at(found, "metadata.labels", {}))]


def _term(text: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        key, found, value = text.partition(operator)
        if found:
            return key.strip(), operator, value.strip()
    if text.startswith("!"):
        return text[1:], "absent", ""
    if not all(c.isalnum() or c in "-_./" for c in text):
        raise InputError(
            f"`--selector`: `{text}` is not understood",
            hint="write `key=value`, `key!=value`, `key`",
        )
    return text, "present", ""


def _meets(labels: Mapping[str, str], key: str, operator: str, value: str) -> bool:
    match operator:
        case "!=":
            return labels.get(key) != value
        case "absent":
            return key not in labels
        case "present":
            return key in labels
        case _:
            return labels.get(key) == value
