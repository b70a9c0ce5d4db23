"""Arrivals of a rate over time: gaps are drawn at rate 1 and stretched by the rate's integral."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stoker.errors import InputError
from stoker.traces.arrivals import Arrivals
from stoker.traces.synthetic import grammar
from stoker.traces.synthetic.arguments import build
from stoker.traces.synthetic.lengths import CONVERSATION, Lengths
from stoker.traces.synthetic.shapes import SHAPES, Floats, Shape, constant
from stoker.traces.transform import merged

_CHUNK = 65_536  # requests
_MOST_STEPS = 20_000_000


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Traffic that an expression describes. Each iteration gives the same requests."""

    expression: str
    streams: tuple[Shape, ...]
    duration: float  # seconds
    seed: int = 0
    lengths: Lengths = CONVERSATION

    def __iter__(self) -> Iterator[Arrivals]:
        """Chunks of requests; streams that were added come independently of each other."""
        streams = [self._stream(number, shape) for number, shape in enumerate(self.streams)]
        yield from streams[0] if len(streams) == 1 else merged(list(streams))

    def _stream(self, number: int, shape: Shape) -> Iterator[Arrivals]:
        random = np.random.default_rng([self.seed, number])
        grid = _grid(shape, self.duration)
        middle = (grid[1:] + grid[:-1]) / 2
        cumulated = np.concatenate([[0.0], np.cumsum(shape.rate(middle) * np.diff(grid))])
        mark = 0.0
        while mark < cumulated[-1]:
            marks = mark + np.cumsum(_gaps(shape.variation, _CHUNK, random))
            mark = float(marks[-1])
            inside = marks[: np.searchsorted(marks, cumulated[-1], side="left")]
            if len(inside):
                prompt, output = self.lengths.draw(len(inside), random)
                yield Arrivals(np.interp(inside, cumulated, grid), prompt, output)


def _gaps(variation: float, count: int, random: np.random.Generator) -> Floats:
    if variation == 0:
        return np.ones(count)
    if variation == 1:
        return random.exponential(1.0, count)
    shape = variation**-2
    return random.gamma(shape, 1 / shape, count)


def _grid(shape: Shape, duration: float) -> Floats:
    steps = int(np.ceil(duration / shape.resolution))
    if steps > _MOST_STEPS:
        raise InputError(
            f"{duration:g} s in steps of {shape.resolution:g} s are too many",
            hint="write a longer `period` or `over`, or a shorter --duration",
        )
    even = np.linspace(0.0, duration, max(steps, 1) + 1)
    jumps = shape.jumps(duration)
    return np.union1d(even, jumps[(jumps > 0) & (jumps < duration)])


def parse(
    expression: str, *, duration: float, seed: int = 0, lengths: Lengths = CONVERSATION
) -> Synthetic:
    """Traffic of *duration* seconds.

    Raises:
        InputError: the expression is wrong; the message has the column.
    """
    node = grammar.parse(expression)
    return Synthetic(expression, tuple(_streams(node, expression)), duration, seed, lengths)


def _streams(node: grammar.Node, text: str) -> list[Shape]:
    """Terms of the sum, each a stream of its own."""
    if isinstance(node, grammar.Number):
        return [constant(node.value)]
    if isinstance(node, grammar.Call):
        try:
            return [build(node, SHAPES, text)]
        except InputError as error:
            if error.place is None and not error.message.startswith("column "):
                raise grammar.problem(text, node.at, error.message, error.hint) from None
            raise
    left, right = _streams(node.left, text), _streams(node.right, text)
    if node.sign == "+":
        return left + right
    return [one.times(other) for one in left for other in right]
