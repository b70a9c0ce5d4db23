"""Names of OpenTelemetry as names of Prometheus.

*Source*: the OpenTelemetry specification, "Prometheus and OpenMetrics compatibility", as the
collector's Prometheus exporter follows it (``prometheus/otlptranslator``).
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from stoker.metrics.sample import format_value

Kind = Literal["gauge", "counter", "sum", "histogram", "summary"]
"""``counter`` is a monotonic sum, ``sum`` one that can go down."""

_UNITS: Final[Mapping[str, str]] = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
    "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER: Final[Mapping[str, str]] = {
    "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip
_NOT_IN_TOKEN = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9:_]+")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(name: str, unit: str, kind: Kind, *, suffixes: bool = True) -> str:
    """``http.server.duration`` in ``s`` as ``http_server_duration_seconds``; "" cannot be named.

    *suffixes* is ``add_metric_suffixes`` of the exporter: units, ``_total`` and ``_ratio``.
    """
    if suffixes:
        tokens = [token for token in _NOT_IN_TOKEN.split(name) if token]
        tokens = _with_unit(tokens, unit)
        if kind == "counter":
            tokens = _ending(tokens, "total")
        if kind == "gauge" and unit == "1":
            tokens = _ending(tokens, "ratio")
        built = "_".join(tokens)
    else:
        built = "_".join(part for part in _NOT_IN_NAME.split(name) if part)
    if built != name and not built.strip("_"):
        return ""
    return f"_{built}" if built[:1].isdigit() else built


def _ending(tokens: list[str], last: str) -> list[str]:
    """*tokens* with *last* at the end, and nowhere else."""
    return [*(one for one in tokens if one != last), last]


def _with_unit(tokens: list[str], unit: str) -> list[str]:
    main, _, per = unit.partition("/")
    found = list(tokens)
    main_name = _cleaned(_known(main.strip(), _UNITS))
    per_name = _cleaned(_known(per.strip(), _PER))
    per_name = f"per_{per_name}".removesuffix("_") if per_name else ""
    if per_name in found:
        per_name = ""
    if main_name in found:
        main_name = ""
    if per_name:
        main_name = main_name.removesuffix("_")
    return [*found, *(part for part in (main_name, per_name) if part)]


def _known(unit: str, names: Mapping[str, str]) -> str:
    """What *unit* is called; an annotation, ``{request}``, is called nothing."""
    return "" if "{" in unit or "}" in unit else names.get(unit, unit)


def _cleaned(unit: str) -> str:
    return _NOT_IN_TOKEN.sub("_", unit).removeprefix("_")


def label_name(name: str) -> str:
    """``http.method`` as ``http_method``; "" cannot be named."""
    built = _NOT_IN_LABEL.sub("_", name)
    if built[:1].isdigit():
        return f"key_{built}"
    if built != name and not built.strip("_"):
        return ""
    if built.startswith("_") and not built.startswith("__"):
        return f"key{built}"
    return built


def labels_of(attributes: Iterable[Any], *, prefix: str = "") -> dict[str, str]:
    """Attributes (``KeyValue`` messages) as labels. Names that become one join their values."""
    found: dict[str, list[str]] = {}
    for key, value in sorted((one.key, text_of(one.value)) for one in attributes):
        name = label_name(prefix + key)
        if name:
            found.setdefault(name, []).append(value)
    return {name: ";".join(values) for name, values in found.items()}


def text_of(value: Any) -> str:
    """An ``AnyValue`` as the collector prints it."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return str(value.string_value)
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, float):
        return format_value(plain)
    if isinstance(plain, str | int):
        return str(plain)
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _plain(value: Any) -> Any:
    """An ``AnyValue`` as JSON has it. How deep it can be, protobuf's own limit says."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if which == "kvlist_value":
        return {one.key: _plain(one.value) for one in value.kvlist_value.values}
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, which)


def bound(value: float) -> str:
    """A bucket's bound or a quantile as Prometheus 3 keeps it: ``0.5``, ``1.0``, ``+Inf``."""
    text = format_value(value)
    return text if math.isinf(value) or "." in text or "e" in text else f"{text}.0"
