"""The one number in an answer: JSON, YAML, XML or Prometheus' text. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

import promql_parser
import yaml

from stoker.errors import InputError, StokerError
from stoker.metrics.exposition import PageParser
from stoker.resources.quantity import parse_quantity
from stoker.triggers.metricsapi import gjson

_WRONG = (
    "valueLocation must point to value of type number or a string representing a Quantity got: '{}'"
)


def value_in(body: bytes, location: str, format_: str) -> float:
    """The number at *location*.

    Raises:
        StokerError: there is none, in KEDA's words.
    """
    try:
        return _FORMATS[format_](body, location)
    except RecursionError:
        raise StokerError("the answer is nested too deeply") from None


def _from_json(body: bytes, location: str) -> float:
    try:
        found = gjson.get(json.loads(body), location)
    except ValueError as error:
        # GJSON finds nothing in what is not JSON, and says no more than that
        hint = "the answer is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise StokerError(_WRONG.format("Null"), hint=hint) from None
    if isinstance(found, str):
        return _quantity(found)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise StokerError(_WRONG.format(_kind(found)), hint=_kind_hint(found, location))
    return _finite(float(found))


def _kind(value: Any) -> str:
    """GJSON's name of a type."""
    if value is gjson.MISSING or value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    return "JSON"


def _kind_hint(value: Any, location: str) -> str | None:
    return f"there is nothing at `{location}`" if value is gjson.MISSING else None


def _quantity(text: str) -> float:
    try:
        return float(parse_quantity(text))
    except InputError:
        raise StokerError(_WRONG.format(text)) from None


def _from_yaml(body: bytes, location: str) -> float:
    try:
        document = yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError) as error:
        raise StokerError(f"yaml: {str(error).splitlines()[0]}") from None
    return _at_path(document, location)


def _from_xml(body: bytes, location: str) -> float:
    if b"<!ENTITY" in body:
        raise StokerError("XML with entities of its own is not read")
    try:
        root = ET.fromstring(body)  # noqa: S314 - no entities, and Python's expat fetches nothing
    except ET.ParseError as error:
        raise StokerError(f"XML syntax error: {error}") from None
    return _at_path({_local(root.tag): _element(root)}, location)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _element(element: ET.Element) -> Any:
    """Text, or a mapping: ``@name`` attributes, ``#text``, children, those of one name a list."""
    text = (element.text or "").strip()
    found: dict[str, Any] = {f"@{_local(name)}": value for name, value in element.items()}
    for child in element:
        name, value = _local(child.tag), _element(child)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    if not found:
        return text
    if text:
        found["#text"] = text
    return found


def _at_path(document: Any, location: str) -> float:
    """Keys and indexes with dots between them."""
    value = document
    for key in location.split("."):
        if isinstance(value, Mapping):
            if key not in value:
                raise StokerError(f"key '{key}' not found in path '{location}'")
            value = value[key]
        elif isinstance(value, list) and key.isdecimal():
            if int(key) >= len(value):
                raise StokerError(f"index '{key}' out of range in path '{location}'")
            value = value[int(key)]
        else:
            raise StokerError(f"key '{key}' not found in path '{location}'")
    if isinstance(value, str):
        return _quantity(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StokerError(_WRONG.format(value))
    return float(value)


def _from_prometheus(body: bytes, location: str) -> float:
    """The first sample with the name and with all labels equal, whatever the matcher's sign."""
    try:
        selector = promql_parser.parse(location)
    except ValueError as error:
        raise StokerError(f"1:1: parse error: {error}") from None
    if not isinstance(selector, promql_parser.VectorSelector):
        raise StokerError(f"1:1: parse error: {location} is no selector")
    wanted = {one.name: one.value for one in selector.matchers.matchers}
    name = selector.name or wanted.pop("__name__", "")
    wanted.pop("__name__", None)
    text = body.decode("utf-8", "replace").replace("\r\n", "\n")
    page, seen = PageParser(), False
    try:
        for labels, value, _ in page.lines(text):
            if labels.name != name or _is_part(name, page):
                continue
            seen = True
            if all(labels.get(key) == text for key, text in wanted.items()):
                return _finite(value)
    except InputError as error:
        raise StokerError(f"prometheus format parsing error: {error.message}") from None
    raise StokerError(f"value {location} not found" if seen else f"metric '{name}' not found")


def _is_part(name: str, page: PageParser) -> bool:
    """Whether it belongs to a histogram or a summary; KEDA knows those by their family only."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        family = page.metadata.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if family is not None and family.type in ("histogram", "summary"):
            return True
    return False


def _finite(value: float) -> float:
    """KEDA hands NaN and infinities on, and they end as 0."""
    return value if math.isfinite(value) else 0.0


_FORMATS: Final[Mapping[str, Callable[[bytes, str], float]]] = {
    "json": _from_json,
    "prometheus": _from_prometheus,
    "xml": _from_xml,
    "yaml": _from_yaml,
}
