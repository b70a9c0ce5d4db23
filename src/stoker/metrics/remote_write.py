"""Prometheus' remote write, 1.0 and 2.0: from the body of a request to samples.

The protobuf messages are few and fixed, so they are read by hand: fields that are not needed are
skipped, nothing is allocated that the body has not paid for, and damage is an InputError. Native
histograms are counted and left out.

Source: the Prometheus Remote-Write 1.0 and 2.0 specifications.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from stoker.errors import InputError, MachineError
from stoker.metrics.sample import METRIC_NAME, Labels
from stoker.metrics.storage import Storage

MAX_BODY_BYTES: Final = 64 * 2**20  # uncompressed
MAX_LABELS: Final = 128
V2: Final = "io.prometheus.write.v2.Request"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Value = int | bytes


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a request. *refused* samples were too old, or another value was there.

    *names* are those of the metrics that have new samples.
    """

    samples: int = 0
    refused: int = 0
    histograms: int = 0
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PushedSeries:
    """The samples of one series: (milliseconds since the epoch, value)."""

    labels: Labels
    samples: tuple[tuple[int, float], ...]
    histograms: int = 0


def uncompressed(body: bytes) -> bytes:
    """The content of a snappy block. Raises InputError, and MachineError without the extra."""
    size, _ = _varint(body, 0)
    if size > MAX_BODY_BYTES:
        raise InputError(f"remote write of {size} bytes, at most {MAX_BODY_BYTES} are taken")
    try:
        snappy: Any = importlib.import_module("cramjam").snappy
    except ImportError as error:
        raise MachineError(
            "remote write needs snappy", hint="pip install 'stoker[remote-write]'"
        ) from error
    try:
        return bytes(snappy.decompress_raw(body))
    except Exception as error:  # cramjam's own error has no public base class
        raise InputError(f"damaged snappy block: {error}") from error


def decode(body: bytes, *, version: int = 1) -> Iterator[PushedSeries]:
    """The series of an uncompressed request. Raises InputError at the first damage."""
    if version == 1:
        for number, value in _fields(body):
            if number == 1:
                yield _series_1(_as_bytes(value))
        return
    symbols = [_text(_as_bytes(value)) for number, value in _fields(body) if number == 4]
    if symbols and symbols[0]:
        raise InputError("the first symbol of a remote write must be empty")
    for number, value in _fields(body):
        if number == 5:
            yield _series_2(_as_bytes(value), symbols)


def write(storage: Storage, body: bytes, *, version: int = 1) -> Written:
    """Put a compressed request into *storage*: all of it, or InputError and nothing."""
    samples = refused = histograms = 0
    names = set()
    for series in list(decode(uncompressed(body), version=version)):
        histograms += series.histograms
        before = samples
        for t_ms, value in series.samples:
            if storage.append(series.labels, t_ms / 1000, value):
                samples += 1
            else:
                refused += 1
        if samples > before:
            names.add(series.labels.name)
    return Written(samples, refused, histograms, frozenset(names))


def _series_1(body: bytes) -> PushedSeries:
    pairs: list[tuple[str, str]] = []
    samples: list[tuple[int, float]] = []
    histograms = 0
    for number, value in _fields(body):
        if number == 1:
            texts = dict(_fields(_as_bytes(value)))
            pairs.append((_text(_as_bytes(texts.get(1, b""))), _text(_as_bytes(texts.get(2, b"")))))
        elif number == 2:
            samples.append(_sample(_as_bytes(value)))
        elif number == 4:
            histograms += 1
    return PushedSeries(_labels(pairs), tuple(samples), histograms)


def _series_2(body: bytes, symbols: list[str]) -> PushedSeries:
    references: list[int] = []
    samples: list[tuple[int, float]] = []
    histograms = 0
    for number, value in _fields(body):
        if number == 1:
            references += [value] if isinstance(value, int) else _packed(value)
        elif number == 2:
            samples.append(_sample(_as_bytes(value)))
        elif number == 3:
            histograms += 1
    if len(references) % 2 or any(one >= len(symbols) for one in references):
        raise InputError("label references of a remote write do not fit its symbols")
    texts = [symbols[one] for one in references]
    return PushedSeries(
        _labels(list(zip(texts[::2], texts[1::2], strict=True))), tuple(samples), histograms
    )


def _labels(pairs: list[tuple[str, str]]) -> Labels:
    if len(pairs) > MAX_LABELS:
        raise InputError(f"series with {len(pairs)} labels, at most {MAX_LABELS} are taken")
    if len({name for name, _ in pairs}) != len(pairs):
        raise InputError("series with a label that is given twice")
    labels = Labels(pairs)
    if not labels.name:
        raise InputError(f"series without `{METRIC_NAME}`")
    return labels


def _sample(body: bytes) -> tuple[int, float]:
    t_ms, bits = 0, 0
    for number, value in _fields(body):
        if not isinstance(value, int):
            raise InputError("damaged sample in a remote write")
        if number == 1:
            bits = value
        elif number == 2:
            t_ms = value - 2**64 if value >= 2**63 else value
    if not abs(t_ms) < 2**52:  # beyond, seconds are no longer exact to the millisecond
        raise InputError(f"sample at {t_ms} ms: not a time")
    (number_,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    return t_ms, float(number_)


# -- protobuf ------------------------------------------------------------------------------------


def _fields(body: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field; fixed-size numbers as their bits."""
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(body, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(body, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise InputError(f"damaged remote write: wire type {kind}")
        if at + size > len(body):
            raise InputError("damaged remote write: a field is longer than the message")
        piece = body[at : at + size]
        at += size
        yield key >> 3, piece if kind == _BYTES else int.from_bytes(piece, "little")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            raise InputError("damaged remote write: it ends inside a number")
        byte = body[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (2**64 - 1), at
    raise InputError("damaged remote write: a number of more than 64 bits")


def _packed(body: bytes) -> list[int]:
    found = []
    at = 0
    while at < len(body):
        value, at = _varint(body, at)
        found.append(value)
    return found


def _as_bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise InputError("damaged remote write: a number where a message was expected")
    return value


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("remote write with a label that is not UTF-8") from error
