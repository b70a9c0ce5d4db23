"""Lengths of prompts and answers: a number, a law, or those of a trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.errors import InputError
from stoker.traces.arrivals import Arrivals
from stoker.traces.synthetic import grammar
from stoker.traces.synthetic.arguments import Parameter, Signature, build

Random = np.random.Generator
Draw = Callable[[int, Random], NDArray[np.float64]]
_P90 = 1.2815515655446004  # of the normal law
_LONGEST = 2**31 - 1


def _lognormal(median: float, p90: float) -> Draw:
    if p90 < median:
        raise InputError(f"p90 = {p90:g} is below the median of {median:g}")
    sigma = math.log(p90 / median) / _P90
    return lambda count, random: random.lognormal(math.log(median), sigma, count)


def _fixed(tokens: float) -> Draw:
    return lambda count, _: np.full(count, tokens)


def _uniform(low: float, high: float) -> Draw:
    if high < low:
        raise InputError(f"high = {high:g} is below low = {low:g}")
    return lambda count, random: random.integers(int(low), int(high) + 1, count).astype(np.float64)


def _exponential(mean: float) -> Draw:
    return lambda count, random: random.exponential(mean, count)


LAWS: dict[str, Signature[Draw]] = {
    "fixed": Signature((Parameter("tokens", positive=True),), _fixed, "always the same"),
    "lognormal": Signature(
        (Parameter("median", positive=True), Parameter("p90", positive=True)),
        _lognormal,
        "as lengths of conversations are",
    ),
    "uniform": Signature(
        (Parameter("low", positive=True), Parameter("high", positive=True)),
        _uniform,
        "all between low and high alike",
    ),
    "exponential": Signature((Parameter("mean", positive=True),), _exponential, "many short ones"),
}


def parse_lengths(text: str) -> Draw:
    """``200``, ``lognormal(median=1020,p90=2735)``, ``uniform(1,100)``, ``exponential(200)``.

    Raises:
        InputError: it is none of these; the message has the column.
    """
    node = grammar.parse(text)
    if isinstance(node, grammar.Number):
        if node.value < 1:
            raise grammar.problem(text, node.at, "a length is at least 1 token")
        return _fixed(node.value)
    if isinstance(node, grammar.Combined):
        raise grammar.problem(text, node.at, "lengths are one number or one law")
    return build(node, LAWS, text)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Draws prompts and answers. With ``pairs`` both come from the same request of a trace."""

    prompt: Draw
    output: Draw
    pairs: Arrivals | None = None

    @classmethod
    def like(cls, trace: Arrivals) -> Lengths:
        """Pairs of a trace, each as likely as the other."""
        return cls(_fixed(1), _fixed(1), trace)

    def draw(self, count: int, random: Random) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Prompt and output tokens, at least 1 of each unless a trace says otherwise."""
        if self.pairs is not None:
            which = random.integers(0, len(self.pairs), count)
            return self.pairs.prompt_tokens[which], self.pairs.output_tokens[which]
        return _tokens(self.prompt(count, random)), _tokens(self.output(count, random))


def _tokens(lengths: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.clip(np.rint(lengths), 1, _LONGEST).astype(np.int32)


# The median and the 90th percentile of Azure's conversations of 2023.
CONVERSATION = Lengths(_lognormal(1020, 2735), _lognormal(129, 424))
