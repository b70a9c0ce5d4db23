"""When requests are sent: at once, at random, or as a trace says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat, takewhile
from random import Random

from stoker.traces.arrivals import Arrivals


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. ``at`` is in seconds since the start of the run."""

    at: float
    input_tokens: int
    output_tokens: int


def of(chunks: Iterable[Arrivals]) -> Iterator[Arrival]:
    """The requests of a trace, one by one."""
    for chunk in chunks:
        columns = (chunk.times.tolist(), chunk.prompt_tokens.tolist(), chunk.output_tokens.tolist())
        for at, prompt, output in zip(*columns, strict=True):
            yield Arrival(at, prompt, output)


def poisson(rate: float, input_tokens: int, output_tokens: int, *, seed: int) -> Iterator[Arrival]:
    """A Poisson process of *rate* requests a second, without end; the first gap is random too."""
    random = Random(seed)  # noqa: S311 - the same requests for the same seed
    at = 0.0
    while True:
        at += random.expovariate(rate)
        yield Arrival(at, input_tokens, output_tokens)


def at_once(input_tokens: int, output_tokens: int) -> Iterator[Arrival]:
    """Requests that all come at 0 s, without end."""
    return repeat(Arrival(0.0, input_tokens, output_tokens))


def until(arrivals: Iterable[Arrival], duration: float | None) -> Iterable[Arrival]:
    """Those that come before *duration*; None: all."""
    if duration is None:
        return arrivals
    return takewhile(lambda arrival: arrival.at < duration, arrivals)
