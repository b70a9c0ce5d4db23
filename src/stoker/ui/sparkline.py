"""``▁▂▃``: numbers over time in one line of text."""

from __future__ import annotations

from collections.abc import Iterable

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Iterable[float], top: float | None = None) -> str:
    """From zero to *top* or to the largest value. Only zero is the lowest block."""
    numbers = list(values)
    largest = max([*numbers, 0.0]) if top is None else top
    if largest <= 0:
        return BLOCKS[0] * len(numbers)
    steps = len(BLOCKS) - 1
    levels = (min(-(-max(number, 0.0) * steps // largest), steps) for number in numbers)
    return "".join(BLOCKS[int(level)] for level in levels)
