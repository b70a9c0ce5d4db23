"""Where `stoker query` asks: a Prometheus over HTTP, or a metrics page in a file."""

from __future__ import annotations

import json
import math
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlencode, urlsplit

from stoker.errors import ConflictError, InputError, Place, QueryError
from stoker.metrics.exposition import PageParser
from stoker.metrics.sample import Labels, parse_value
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant, range_
from stoker.promql.value import Matrix, Sample, Scalar, Series, String, Value, Vector

TIMEOUT = 30.0  # seconds
_OTHERS = "is it running? `--url` names another Prometheus, `--file` a saved page"


class QuerySource(Protocol):
    """What can be asked."""

    def instant(self, query: str, at: float) -> Value:
        """The value at one moment. Raises QueryError."""
        ...

    def range_(self, query: str, start: float, end: float, step: float) -> Matrix:
        """The values at many moments. Raises QueryError."""
        ...

    def newest(self, now: float) -> float:
        """The moment that is meant when none is named."""
        ...


def moment(text: str) -> float:
    """Unix seconds, or RFC 3339. Raises InputError."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text).timestamp()
        except ValueError:
            seconds = math.nan
    if not abs(seconds) < 1e11:
        raise InputError(f"`{text}` is not a time", hint="1700000000 or 2026-11-22T14:03:15Z")
    return seconds


class Page:
    """A metrics page. Samples without a time are of *now*."""

    def __init__(self, name: str, text: str, now: float) -> None:
        self._storage = Storage(retention=1e11, max_bytes=2**31)
        openmetrics = text.rstrip().endswith("# EOF")
        parser = PageParser(name)
        lines = parser.lines(text, format_="openmetrics" if openmetrics else "prometheus")
        rows = [(now if t is None else t, labels, value) for labels, value, t in lines]
        for t, labels, value in sorted(rows, key=lambda row: row[0]):
            self._storage.append(labels, t, value)

    @classmethod
    def from_file(cls, path: Path, now: float) -> Page:
        """A page in a file."""
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"not UTF-8: {error}", place=Place(str(path))) from None
        return cls(str(path), text, now)

    @classmethod
    def fetch(cls, url: str, now: float) -> Page:
        """The page of something that runs."""
        parts = _address(url)
        connection = _connection(parts)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", errors="replace")
        except (OSError, HTTPException) as error:
            raise ConflictError(
                f"no answer from {parts.netloc}: {_reason(error)}",
                hint="does the engine run there?",
            ) from None
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise ConflictError(f"{url} answers with HTTP {answer.status}")
        return cls(url, text, now)

    def instant(self, query: str, at: float) -> Value:
        """The value at one moment."""
        return instant(query, self._storage, at)

    def range_(self, query: str, start: float, end: float, step: float) -> Matrix:
        """The values at many moments."""
        return range_(query, self._storage, start, end, step)

    def newest(self, now: float) -> float:
        """The time of the newest sample."""
        found = self._storage.newest()
        return now if found is None else found


def _reason(error: Exception) -> str:
    """``Connection refused``, without the number that the system gives it."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _address(url: str) -> SplitResult:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"`{url}` is not the address of a Prometheus")
    return parts


def _connection(parts: SplitResult) -> HTTPConnection:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.netloc, timeout=TIMEOUT)


class Server:
    """A Prometheus, or what has its HTTP API."""

    def __init__(self, url: str, *, hint: str = _OTHERS) -> None:
        self._url = _address(url)
        self._hint = hint

    def instant(self, query: str, at: float) -> Value:
        """The value at one moment."""
        return _value(self._ask("query", {"query": query, "time": f"{at:.3f}"}))

    def range_(self, query: str, start: float, end: float, step: float) -> Matrix:
        """The values at many moments."""
        bounds = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        value = _value(self._ask("query_range", {"query": query, **bounds}))
        if not isinstance(value, Matrix):
            raise ConflictError(f"{self._url.netloc} does not answer as Prometheus does")
        return value

    def newest(self, now: float) -> float:
        """Now."""
        return now

    def _ask(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        connection = _connection(self._url)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        target = f"{self._url.path.rstrip('/')}/api/v1/{path}"
        try:
            connection.request("POST", target, urlencode(params), form)
            answer = connection.getresponse()
            document = json.loads(answer.read())
            if document["status"] != "success":
                raise QueryError(str(document["error"]), query=params["query"])
            found: dict[str, Any] = {**document["data"], "notes": _notes(document)}
        except (OSError, HTTPException) as error:
            raise ConflictError(
                f"no answer from {self._url.netloc}: {_reason(error)}", hint=self._hint
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ConflictError(
                f"{self._url.netloc} does not answer as Prometheus does (HTTP {answer.status})"
            ) from None
        else:
            return found
        finally:
            connection.close()


def _notes(document: dict[str, Any]) -> tuple[str, ...]:
    return (*document.get("warnings", ()), *document.get("infos", ()))


def _value(data: dict[str, Any]) -> Value:
    result, notes = data["result"], data["notes"]
    match data["resultType"]:
        case "scalar":
            return Scalar(float(result[0]), parse_value(result[1]), notes)
        case "string":
            return String(float(result[0]), str(result[1]), notes)
        case "vector":
            rows = [(Labels(one["metric"]), one["value"]) for one in result if "value" in one]
            samples = (Sample(labels, float(t), parse_value(v)) for labels, (t, v) in rows)
            return Vector(tuple(samples), notes)
        case _:
            series = (
                Series(
                    Labels(one["metric"]),
                    tuple((float(t), parse_value(v)) for t, v in one.get("values", ())),
                )
                for one in result
            )
            return Matrix(tuple(series), notes)
