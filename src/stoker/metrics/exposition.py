"""The text formats of metrics pages: Prometheus 0.0.4 and OpenMetrics 1.0, with UTF-8 names.

A page changes little between two scrapes. :class:`PageParser` therefore remembers what stood before
the value on each line, and a known line costs one dictionary lookup and one ``float``. Replicas of
one model have the same lines, so that the first page of a further replica is known as well. What is
not known is cut at its quotes as long as it is written the usual way; whatever else the formats
allow is read character by character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from stoker.errors import InputError, Place
from stoker.metrics.sample import METRIC_NAME, Labels, Pairs, parse_value

_SPACE: Final = " \t"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
_TYPES: Final = frozenset(
    [
        "counter",
        "gauge",
        "histogram",
        "summary",
        "untyped",
        "unknown",
        "info",
        "stateset",
        "gaugehistogram",
    ]
)
_MAX_CACHED = 200_000  # raw line prefixes; a page that never repeats itself must not grow us
_MAX_SHARED = 20_000
_shared: dict[str, Labels] = {}  # raw line prefixes of all pages


class Metadata(NamedTuple):
    """What a page says of a metric family."""

    type: str = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ParsedSample:
    """One line of a page. ``timestamp`` is seconds since the epoch, None if the page has none."""

    labels: Labels
    value: float
    timestamp: float | None = None


_UNKNOWN: Final = Metadata()
Format = Literal["prometheus", "openmetrics"]


class PageParser:
    """Reads the pages of one target, one after the other."""

    def __init__(self, source: str = "metrics") -> None:
        self.source = source
        self.metadata: dict[str, Metadata] = {}
        self._known: dict[str, Labels] = {}
        self._comments: set[str] = set()

    def parse(self, text: str, *, format_: Format = "prometheus") -> Iterator[ParsedSample]:
        """The samples of a page. Raises InputError with the line at the first mistake."""
        for labels, value, timestamp in self.lines(text, format_=format_):
            yield ParsedSample(labels, value, timestamp)

    def lines(  # noqa: C901 - the hot loop, in one piece
        self, text: str, *, format_: Format = "prometheus"
    ) -> Iterator[tuple[Labels, float, float | None]]:
        """Like :meth:`parse`, as plain tuples: what the scraper uses, half the cost."""
        known, quick = self._known, _QuickLabels(self._known)
        if len(known) > _MAX_CACHED:
            known.clear()
        number = 0
        ended = False
        for line in text.split("\n"):
            number += 1
            if not line:
                continue
            if ended:
                raise self._error("text after `# EOF`", number)
            prefix, _, last = line.rpartition(" ")
            labels = known.get(prefix)
            if labels is None and line[0] != "#":
                labels = quick.labels(prefix)
            if labels is not None:
                value = _number_or_none(last)
                if value is not None:
                    yield labels, value, None
                    continue
            if line[0] == "#":
                ended = self._comment(line.rstrip("\r"), number, format_)
                continue
            stripped = line.strip(" \t\r")
            if stripped:
                yield self._sample(stripped, number, format_)
        if format_ == "openmetrics" and not ended:
            raise self._error("an OpenMetrics page must end with `# EOF`", number)

    def _comment(self, line: str, number: int, format_: Format) -> bool:
        """Takes HELP, TYPE and UNIT; tells whether this is the end of an OpenMetrics page."""
        if line in self._comments:
            return False
        if line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if kind in _TYPES and (name in self.metadata or _NAME.fullmatch(name)):
                _, text, unit = self.metadata.get(name, _UNKNOWN)
                self.metadata[name] = Metadata(kind, text, unit)
                self._remember(line)
                return False
        if format_ == "openmetrics" and line == "# EOF":
            return True
        parts = line[1:].lstrip(_SPACE).split(None, 1)
        if not parts or parts[0] not in {"HELP", "TYPE", "UNIT"}:
            return False
        name, rest = self._family(parts[1] if len(parts) == 2 else "", number)
        seen = self.metadata.get(name, _UNKNOWN)
        if parts[0] == "TYPE":
            if rest not in _TYPES:
                raise self._error(f"unknown metric type `{rest}` of `{name}`", number)
            seen = Metadata(rest, seen.help, seen.unit)
        elif parts[0] == "HELP":
            seen = Metadata(seen.type, _unescape(rest), seen.unit)
        else:
            seen = Metadata(seen.type, seen.help, rest)
        self.metadata[name] = seen
        self._remember(line)
        return False

    def _remember(self, comment: str) -> None:
        if len(self._comments) < _MAX_CACHED:
            self._comments.add(comment)

    def _family(self, text: str, number: int) -> tuple[str, str]:
        quoted = _QUOTED.match(text)
        if quoted:
            return _unescape(quoted[1]), text[quoted.end() :].strip(_SPACE)
        name, _, rest = text.partition(" ")
        if not _NAME.fullmatch(name):
            raise self._error(f"invalid metric name `{name}`", number)
        return name, rest.strip(_SPACE)

    def _sample(
        self, line: str, number: int, format_: Format
    ) -> tuple[Labels, float, float | None]:
        labels, end = self._labels(line, number)
        prefix = line[:end]
        rest = line[end:]
        exemplar = rest.find("#")
        if exemplar >= 0 and format_ == "openmetrics":
            rest = rest[:exemplar]
        fields = rest.split()
        if not 1 <= len(fields) <= 2:
            what = "a value" if not fields else "at most a value and a timestamp"
            raise self._error(f"expected {what} after `{prefix}`", number)
        value = self._number(fields[0], number)
        if len(fields) == 2:
            scale = 1.0 if format_ == "openmetrics" else 1000.0  # seconds, or milliseconds
            return labels, value, self._number(fields[1], number) / scale
        if line.rpartition(" ")[0] == prefix:
            self._known[prefix] = labels
        return labels, value, None

    def _labels(self, line: str, number: int) -> tuple[Labels, int]:
        """The label set at the beginning of *line*, and where it ends."""
        name = _NAME.match(line)
        end = name.end() if name else 0
        pairs: dict[str, str] = {METRIC_NAME: name[0]} if name else {}
        brace = _skip(line, end)
        if not line.startswith("{", brace):
            if not name:
                raise self._error(f"expected a metric name, got `{line[:40]}`", number)
            return Labels(pairs), end
        end = _skip(line, brace + 1)
        while not line.startswith("}", end):
            end = self._pair(line, end, pairs, number)
        if METRIC_NAME not in pairs:
            raise self._error("a sample needs a metric name", number)
        return Labels(pairs), end + 1

    def _pair(self, line: str, at: int, pairs: dict[str, str], number: int) -> int:
        """Reads ``name="value"`` or a quoted metric name, and a comma after it if there is one."""
        quoted = _QUOTED.match(line, at)
        bare = None if quoted else _LABEL.match(line, at)
        found = quoted or bare
        if found is None:
            raise self._error(f"expected a label name at column {at + 1}", number)
        name = _unescape(quoted[1]) if quoted else found[0]
        at = _skip(line, found.end())
        if line.startswith("=", at):
            value = _QUOTED.match(line, _skip(line, at + 1))
            if value is None:
                raise self._error(f"expected a quoted value for label `{name}`", number)
            if name in pairs:
                raise self._error(f"label `{name}` is given twice", number)
            pairs[name] = _unescape(value[1])
            at = _skip(line, value.end())
        elif quoted and METRIC_NAME not in pairs:
            pairs[METRIC_NAME] = name
        else:
            raise self._error(f"expected `=` after label `{name}`", number)
        if line.startswith(",", at):
            return _skip(line, at + 1)
        if not line.startswith("}", at):
            raise self._error(f"expected `,` or `}}` at column {at + 1}", number)
        return at

    def _number(self, text: str, number: int) -> float:
        try:
            return parse_value(text)
        except ValueError:
            raise self._error(f"`{text}` is not a number", number) from None

    def _error(self, message: str, line: int) -> InputError:
        return InputError(message, place=Place(self.source, line))


class _QuickLabels:
    """Labels of lines that are written the usual way: ``name{a="1",b="2"}`` and no escapes.

    It is made for one page, on which few sets of labels stand behind many names.
    """

    def __init__(self, known: dict[str, Labels]) -> None:
        self._known = known
        self._bodies: dict[str, Pairs] = {}
        self._names: dict[str, Pairs] = {}

    def labels(self, prefix: str) -> Labels | None:
        """What stands before a value; None if that must be read with care. Remembered if not."""
        found = _shared.get(prefix)
        if found is None:
            name, brace, body = prefix.partition("{")
            named = self._names.get(name)
            if named is None:
                if not _NAME.fullmatch(name):
                    return None
                named = self._names[name] = ((METRIC_NAME, name),)
            pairs = self._bodies.get(body) if body else _quick_pairs(brace)
            if pairs is None:
                pairs = _quick_pairs(brace + body)
                if pairs is None:
                    return None
                self._bodies[body] = pairs
            found = Labels.of_sorted(named + pairs)
            if len(_shared) >= _MAX_SHARED:
                _shared.clear()
            _shared[prefix] = found
        self._known[prefix] = found
        return found


def _quick_pairs(braced: str) -> Pairs | None:
    """The labels in ``{a="1",b="2"}``, sorted; None if they are not written just so."""
    if not braced:
        return ()
    if not braced.endswith('"}') or "\\" in braced:
        return None
    pairs = []
    for item in braced[1:-2].split('",'):
        name, equals, value = item.partition('="')
        if not equals or '"' in value or name <= METRIC_NAME or not _LABEL.fullmatch(name):
            return None
        if value:
            pairs.append((name, value))
    pairs.sort()
    if any(one[0] == other[0] for one, other in pairwise(pairs)):
        return None
    return tuple(pairs)


def _number_or_none(text: str) -> float | None:
    """None for what is no number, or one to Python only (``1_0``)."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _skip(line: str, at: int) -> int:
    while at < len(line) and line[at] in _SPACE:
        at += 1
    return at


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), text)


def parse_page(
    text: str, *, source: str = "metrics", format_: Format = "prometheus"
) -> list[ParsedSample]:
    """All samples of one page. Raises InputError with the line."""
    return list(PageParser(source).parse(text, format_=format_))


def format_sample(labels: Labels, value: str, timestamp_ms: int | None = None) -> str:
    """One line of the Prometheus text format, without a newline."""
    parts = [f'{name}="{_escape(text)}"' for name, text in labels.without_name()]
    body = labels.name + ("{" + ",".join(parts) + "}" if parts else "")
    return f"{body} {value}" if timestamp_ms is None else f"{body} {value} {timestamp_ms}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
