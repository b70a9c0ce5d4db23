"""Rates over time: what ``diurnal(...)``, ``step(...)`` and the others stand for.

A shape gives the rate at any time, in requests a second, and the times at which it jumps. Where it
is smooth it is constant over ``resolution`` seconds, which arrivals cannot tell.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stoker.errors import InputError, Place
from stoker.traces.synthetic.arguments import Parameter, Signature

Floats = NDArray[np.float64]
Rate = Callable[[Floats], Floats]
Jumps = Callable[[float], Floats]


def _no_jumps(_duration: float) -> Floats:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Shape:
    """A rate over time. ``variation`` is that of gaps between requests: 1 is a Poisson process."""

    rate: Rate
    jumps: Jumps = _no_jumps
    variation: float = 1.0
    resolution: float = 1.0  # seconds

    def times(self, other: Shape) -> Shape:
        """The product of the rates; the gaps vary as those of the more irregular one."""
        return Shape(
            lambda t: self.rate(t) * other.rate(t),
            lambda duration: np.union1d(self.jumps(duration), other.jumps(duration)),
            other.variation if self.variation == 1.0 else self.variation,
            min(self.resolution, other.resolution),
        )


def constant(rate: float) -> Shape:
    """The same rate at all times, random gaps."""
    return Shape(lambda t: np.full(len(t), rate), resolution=60.0)


def even(rate: float) -> Shape:
    """One request each ``1/rate`` seconds."""
    return Shape(lambda t: np.full(len(t), rate), variation=0.0, resolution=60.0)


def gamma(rate: float, cv: float) -> Shape:
    """Gaps with a Gamma law: *cv* above 1 comes in bursts, below 1 is more even than Poisson."""
    return Shape(lambda t: np.full(len(t), rate), variation=cv, resolution=60.0)


def diurnal(base: float, peak: float, period: float, start: float) -> Shape:
    """From *base* to *peak* and back in each *period*; the first low is at *start*."""

    def rate(t: Floats) -> Floats:
        return base + (peak - base) * (1 - np.cos(2 * np.pi * (t - start) / period)) / 2

    return Shape(rate, resolution=min(1.0, period / 500))


def step(before: float, after: float, at: float) -> Shape:
    """*before* until *at*, *after* from then on."""
    return Shape(lambda t: np.where(t < at, before, after), lambda _: np.array([at]))


def ramp(start: float, end: float, over: float, at: float) -> Shape:
    """From *start* to *end* in a straight line of *over* seconds that begins at *at*."""
    return Shape(
        lambda t: start + (end - start) * np.clip((t - at) / over, 0, 1),
        lambda _: np.array([at, at + over]),
        resolution=min(1.0, over / 500),
    )


def onoff(rate: float, on: float, off: float) -> Shape:
    """*rate* for *on* seconds, nothing for *off* seconds, again and again."""

    def jumps(duration: float) -> Floats:
        starts = np.arange(0, duration, on + off)
        return np.union1d(starts, starts + on)

    return Shape(lambda t: np.where(t % (on + off) < on, rate, 0.0), jumps)


def bursts(rate: float, every: float, length: float, seed: float) -> Shape:
    """*rate* for *length* seconds at random times, on average once in *every* seconds."""
    if length >= every:
        raise InputError(
            f"bursts of {length:g} s do not fit into every {every:g} s",
            hint="write a `length` below `every`",
        )
    starts = _Starts(every, length, int(seed))

    def level(t: Floats) -> Floats:
        begun = starts.until(float(t.max(initial=0.0)))
        last = np.searchsorted(begun, t, side="right") - 1
        inside = (last >= 0) & (t - begun[np.maximum(last, 0)] < length)
        return np.where(inside, rate, 0.0)

    def jumps(duration: float) -> Floats:
        begun = starts.until(duration)
        return np.union1d(begun, begun + length)

    return Shape(level, jumps)


class _Starts:
    """When bursts begin: the same times however far one looks."""

    def __init__(self, every: float, length: float, seed: int) -> None:
        self._pause, self._length = every - length, length
        self._random = np.random.default_rng([seed, 20])
        self._known: Floats = np.array([self._random.exponential(self._pause)])

    def until(self, time: float) -> Floats:
        while self._known[-1] <= time:
            gaps = self._length + self._random.exponential(self._pause, 256)
            self._known = np.concatenate([self._known, self._known[-1] + np.cumsum(gaps)])
        return self._known


def rates(file: str) -> Shape:
    """Rates of a CSV file with ``t_seconds,rate_rps``, each until the next."""
    path = Path(file)
    times, values = _read_rates(path)

    def rate(t: Floats) -> Floats:
        at = np.searchsorted(times, t, side="right") - 1
        return np.where(at >= 0, values[np.maximum(at, 0)], 0.0)

    return Shape(rate, lambda _: times, resolution=600.0)


def _read_rates(path: Path) -> tuple[Floats, Floats]:
    times: list[float] = []
    values: list[float] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"t_seconds", "rate_rps"} <= set(rows.fieldnames or ()):
                raise InputError(
                    "no rates: the first line must name t_seconds and rate_rps",
                    place=Place(str(path), 1),
                )
            for number, row in enumerate(rows, 2):
                times.append(_rate_number(row["t_seconds"], path, number))
                values.append(_rate_number(row["rate_rps"], path, number))
                if len(times) > 1 and times[-1] <= times[-2]:
                    raise InputError("times must ascend", place=Place(str(path), number))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the rates: {error}", place=Place(str(path))) from None
    if not times:
        raise InputError("the file has no rates", place=Place(str(path)))
    return np.array(times), np.array(values)


def _rate_number(text: str | None, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(f"not a number of 0 or more: {text!r}", place=Place(str(path), line))
    return value


SHAPES: dict[str, Signature[Shape]] = {
    "poisson": Signature((Parameter("rate"),), constant, "random gaps at one rate"),
    "even": Signature((Parameter("rate"),), even, "equal gaps at one rate"),
    "gamma": Signature(
        (Parameter("rate"), Parameter("cv", positive=True)),
        gamma,
        "gaps with a coefficient of variation; above 1 they come in clusters",
    ),
    "diurnal": Signature(
        (
            Parameter("base"),
            Parameter("peak"),
            Parameter("period", 86400.0, positive=True),
            Parameter("start", 0.0),
        ),
        diurnal,
        "a sine between base and peak, lowest at start",
    ),
    "step": Signature(
        (Parameter("before"), Parameter("after"), Parameter("at")), step, "one jump of the rate"
    ),
    "ramp": Signature(
        (
            Parameter("start"),
            Parameter("end"),
            Parameter("over", positive=True),
            Parameter("at", 0.0),
        ),
        ramp,
        "a straight line from start to end",
    ),
    "onoff": Signature(
        (
            Parameter("rate", 1.0),
            Parameter("on", 600.0, positive=True),
            Parameter("off", 600.0, positive=True),
        ),
        onoff,
        "on and off in turns",
    ),
    "bursts": Signature(
        (
            Parameter("rate", 10.0),
            Parameter("every", 600.0, positive=True),
            Parameter("length", 30.0, positive=True),
            Parameter("seed", 0.0),
        ),
        bursts,
        "bursts at random times",
    ),
    "rates": Signature(
        (Parameter("file", text=True),), rates, "rates of a CSV file with t_seconds,rate_rps"
    ),
}
