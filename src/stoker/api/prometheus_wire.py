"""Prometheus' API on the wire: parameters in, JSON out."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

import promql_parser

from stoker.clock import rfc3339
from stoker.errors import QueryError
from stoker.metrics.sample import Matcher, format_value
from stoker.metrics.scrape import TargetStatus
from stoker.promql.ast import Node, Selector
from stoker.promql.parsing import parse
from stoker.promql.value import Scalar, Series, String, Value, Vector

_ESCAPED = re.compile(r"__|_([0-9a-fA-F]{1,6})_")
_MAX_TIME: Final = 1e11  # seconds; beyond, milliseconds do not fit where dates are made

Json = object
Params = dict[str, list[str]]


class BadDataError(Exception):
    """A request that cannot be understood: HTTP 400."""


# -- parameters ----------------------------------------------------------------------------------


def first(params: Params, name: str) -> str:
    """The first value of a parameter, empty if it is not given."""
    values = params.get(name)
    return values[0] if values else ""


def parsed(params: Params, name: str) -> Node:
    """A parameter as a query."""
    try:
        return parse(first(params, name))
    except QueryError as error:
        raise BadDataError(f'invalid parameter "{name}": {error.message}') from None


def selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a ``match[]`` parameter."""
    try:
        node = parse(text)
    except QueryError as error:
        raise BadDataError(f'invalid parameter "match[]": {error.message}') from None
    if not isinstance(node, Selector):
        raise BadDataError('invalid parameter "match[]": expected a series selector')
    return node.matchers


def time(params: Params, name: str, default: float | None = None) -> float:
    """A moment: seconds since the epoch, or RFC 3339."""
    text = first(params, name)
    if not text and default is not None:
        return default
    seconds = _number(text)
    if seconds is None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or "T" not in text or moment.tzinfo is None:
            raise BadDataError(
                f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp'
            )
        seconds = (moment - datetime.fromtimestamp(0, UTC)).total_seconds()
    if not abs(seconds) < _MAX_TIME:
        raise BadDataError(
            f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp'
        )
    return seconds


def duration(params: Params, name: str) -> float:
    """Seconds, given as a number or as ``5m``."""
    text = first(params, name)
    seconds = _number(text)
    if seconds is None:
        try:
            seconds = promql_parser.parse_duration(text).total_seconds()
        except ValueError:
            seconds = math.nan
    if not abs(seconds) < _MAX_TIME:
        raise BadDataError(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')
    return seconds


def limit(params: Params) -> int:
    """How many results are wanted; 0 is all."""
    text = first(params, "limit")
    if not text:
        return 0
    if not text.isdecimal():
        raise BadDataError(f'invalid parameter "limit": cannot parse "{text}"')
    return int(text)


def unescaped(name: str) -> str:
    """A label's name in a path, where UTF-8 names are written ``U__a_2e_b`` for ``a.b``."""
    if not name.startswith("U__"):
        return name
    try:
        return _ESCAPED.sub(lambda code: chr(int(code[1], 16)) if code[1] else "_", name[3:])
    except (ValueError, OverflowError):
        return name


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# -- JSON ----------------------------------------------------------------------------------------


def value_json(value: Value) -> Json:
    """The value of a query under ``data``."""
    match value:
        case Scalar(t, v):
            return {"resultType": "scalar", "result": _point(t, v)}
        case String(t, v):
            return {"resultType": "string", "result": [_stamp(t), v]}
        case Vector(samples):
            result: list[Json] = [
                {"metric": one.labels.as_dict(), "value": _point(one.t, one.v)} for one in samples
            ]
            return {"resultType": "vector", "result": result}
        case _:
            return {"resultType": "matrix", "result": [_series_json(one) for one in value.series]}


def _series_json(series: Series) -> Json:
    return {
        "metric": series.labels.as_dict(),
        "values": [_point(t, v) for t, v in series.points],
    }


def _point(t: float, v: float) -> list[Json]:
    return [_stamp(t), format_value(v)]


def _stamp(t: float) -> float:
    """Seconds, without a fraction where there is none."""
    milliseconds = round(t * 1000)
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def target_json(status: TargetStatus) -> Json:
    """One of ``activeTargets``."""
    target = status.target
    labels = target.labels.as_dict()
    never = "0001-01-01T00:00:00Z"
    return {
        "discoveredLabels": {"__address__": target.url, **labels},
        "labels": labels,
        "scrapePool": labels.get("job", ""),
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": status.last_error,
        "lastScrape": never if status.last_scrape is None else rfc3339(status.last_scrape),
        "lastScrapeDuration": status.last_duration,
        "health": status.health,
        "scrapeInterval": f"{target.interval:g}s",
        "scrapeTimeout": f"{target.timeout:g}s",
    }
