"""Files of recorded metrics, as people have them.

===================  ========================================================================
``.json``            the answer of Prometheus' ``/api/v1/query_range``, or its ``data``, or the
                     bare result as ``promtool query range -o json`` prints it
``.csv`` ``.parquet``  a column of times and a column for each trigger
other                a page in OpenMetrics or Prometheus text format, every line with its time
===================  ========================================================================

``NAME=FILE`` says which trigger a file answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stoker.backtest.metrics import Column, Metrics, Missing, Track
from stoker.backtest.tables import read_csv, read_parquet
from stoker.errors import InputError, Place
from stoker.metrics.exposition import Format, PageParser
from stoker.metrics.sample import Labels
from stoker.metrics.storage import LOOKBACK, Storage

_TABLES = {".csv": read_csv, ".parquet": read_parquet}
_FOREVER = 1e12  # seconds: nothing that was recorded is too old
_MAX_BYTES = 4 * 2**30


def read_metrics(
    files: Sequence[str], *, lookback: float = LOOKBACK, missing: Missing = "empty"
) -> Metrics:
    """All *files* together, each ``FILE`` or ``NAME=FILE``.

    Raises:
        InputError: a file cannot be read or understood.
    """
    columns: list[Column] = []
    pages: list[Path] = []
    for argument in files:
        name, path = _split(argument)
        suffix = path.suffix.lower()
        if suffix == ".json":
            columns.append(read_answer(path, name))
        elif suffix in _TABLES:
            columns += _named(_TABLES[suffix](path), name, path)
        elif name:
            raise InputError(
                f"`{name}=` cannot be said of {path.name}: it has series, not answers",
                hint="the queries of the file are evaluated on it, for all triggers",
            )
        else:
            pages.append(path)
    _no_name_twice(columns)
    if not pages:
        return Metrics(columns, lookback=lookback, missing=missing)
    storage, span = read_pages(pages)
    return Metrics(columns, storage=storage, span=span, lookback=lookback, missing=missing)


def _split(argument: str) -> tuple[str, Path]:
    """``NAME=FILE``; a file that exists under the whole name is that file."""
    name, sign, rest = argument.partition("=")
    if not sign or Path(argument).exists():
        return "", Path(argument)
    return name, Path(rest)


def _named(columns: list[Column], name: str, path: Path) -> list[Column]:
    if not name:
        return columns
    if len(columns) != 1:
        raise InputError(
            f"`{name}=` needs a file with one column of values, {path.name} has {len(columns)}",
            hint="name the columns after the triggers",
        )
    return [Column(name, columns[0].tracks, columns[0].source)]


def _no_name_twice(columns: Iterable[Column]) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        if column.name in seen:
            what = f"trigger `{column.name}`" if column.name else "an unnamed trigger"
            raise InputError(
                f"two files answer {what}: {seen[column.name]} and {column.source}",
                hint="say which is which: NAME=FILE, with the trigger's name or s0-prometheus",
            )
        seen[column.name] = column.source


def read_answer(path: Path, name: str = "") -> Column:
    """A saved answer of ``query_range``."""
    place = Place(str(path))
    try:
        document = json.loads(text_of(path))
    except ValueError as error:
        raise InputError(f"not JSON: {error}", place=place) from None
    try:
        return Column(name, tracks_of(document), path.name)
    except InputError as error:
        raise InputError(error.message, hint=error.hint, place=place) from None


def tracks_of(document: Any) -> tuple[Track, ...]:
    """The series of an answer. Raises InputError when it is not a matrix."""
    if isinstance(document, dict) and document.get("status") == "error":
        raise InputError(f"the server answered with an error: {document.get('error')}")
    data = document.get("data", document) if isinstance(document, dict) else document
    if isinstance(data, dict):
        if data.get("resultType") not in ("matrix", None) or "result" not in data:
            found = data.get("resultType", "no result")
            raise InputError(
                f"expected the answer of a range query, found {found}",
                hint="ask /api/v1/query_range?query=...&start=...&end=...&step=15",
            )
        data = data["result"]
    if not isinstance(data, list):
        raise InputError("expected a list of series")
    return tuple(_track(series) for series in data)


def _track(series: Any) -> Track:
    try:
        points = [(float(t), float(v)) for t, v in series.get("values", [])]
        labels = {str(k): str(v) for k, v in series.get("metric", {}).items()}
        if not all(math.isfinite(t) for t, _ in points):
            raise ValueError("a time is no number")
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            "a series must be {metric: {...}, values: [[time, value], ...]}",
            hint="native histograms cannot be read",
        ) from None
    points.sort(key=lambda point: point[0])
    return Track([t for t, _ in points], [v for _, v in points], labels)


def read_pages(paths: Iterable[Path]) -> tuple[Storage, tuple[float, float]]:
    """Raw series of text pages, and the times of the first and the last sample."""
    samples: list[tuple[float, Labels, float]] = []
    for path in paths:
        samples += _page(path)
    if not samples:
        raise InputError("there is no sample in these metrics")
    samples.sort(key=lambda sample: sample[0])
    storage = Storage(retention=_FOREVER, max_bytes=_MAX_BYTES, max_series=10_000_000)
    for t, labels, value in samples:
        storage.append(labels, t, value)
    return storage, (samples[0][0], samples[-1][0])


def _page(path: Path) -> list[tuple[float, Labels, float]]:
    text = text_of(path)
    format_: Format = "openmetrics" if text.rstrip().endswith("# EOF") else "prometheus"
    found = []
    for labels, value, t in PageParser(str(path)).lines(text, format_=format_):
        if t is None:
            raise InputError(
                f"`{labels}` has no time",
                hint="every line needs one: `promtool tsdb dump-openmetrics` writes such a file",
                place=Place(str(path)),
            )
        found.append((t, labels, value))
    return found


def text_of(path: Path) -> str:
    """The text of a file. Raises InputError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read: {reason}", place=Place(str(path))) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", place=Place(str(path))) from None
