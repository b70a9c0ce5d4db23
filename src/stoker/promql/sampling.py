"""``limit_ratio``: the same part of the series at every look, chosen by a hash of their labels.

The hash is that of Prometheus (XXH64 of names and values with their lengths), so that both choose
the same series.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from stoker.metrics.sample import Labels

_MASK: Final = 2**64 - 1
_PRIMES: Final = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


def is_chosen(labels: Labels, ratio: float) -> bool:
    """Whether a series is in the first *ratio* of all; in the last ``-ratio`` if it is negative."""
    offset = _place(labels)
    return offset < ratio if ratio >= 0 else offset >= 1.0 + ratio


@lru_cache(maxsize=8192)
def _place(labels: Labels) -> float:
    """Where a series lies between 0 and 1."""
    parts = [_sized(text.encode()) for pair in labels for text in pair]
    return xxh64(b"".join(parts)) / float(_MASK)


def _sized(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 255 else b"\xff" + size.to_bytes(3, "little")) + data


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0 (Yann Collet's xxHash specification)."""
    p1, p2, p3, p4, p5 = _PRIMES
    at = 0
    if len(data) >= 32:
        lanes = [(p1 + p2) & _MASK, p2, 0, -p1 & _MASK]
        while at + 32 <= len(data):
            words = struct.unpack_from("<4Q", data, at)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            at += 32
        turned = (_turn(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
        h = sum(turned) & _MASK
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * p1 + p4) & _MASK
    else:
        h = p5
    h = (h + len(data)) & _MASK
    while at + 8 <= len(data):
        (word,) = struct.unpack_from("<Q", data, at)
        h = (_turn(h ^ _round(0, word), 27) * p1 + p4) & _MASK
        at += 8
    if at + 4 <= len(data):
        (word,) = struct.unpack_from("<I", data, at)
        h = (_turn(h ^ (word * p1 & _MASK), 23) * p2 + p3) & _MASK
        at += 4
    for byte in data[at:]:
        h = _turn(h ^ (byte * p5 & _MASK), 11) * p1 & _MASK
    h = (h ^ (h >> 33)) * p2 & _MASK
    h = (h ^ (h >> 29)) * p3 & _MASK
    return h ^ (h >> 32)


def _turn(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK


def _round(lane: int, word: int) -> int:
    return _turn((lane + word * _PRIMES[1]) & _MASK, 31) * _PRIMES[0] & _MASK
