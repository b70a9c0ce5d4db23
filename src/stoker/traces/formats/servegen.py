"""Traffic of ServeGen's client profiles (arXiv:2505.09999): a folder with two files a client.

``chunk-N-trace.csv`` has a line a window of time, ``t,rate,cv,Gamma|Weibull,shape,scale``: the rate
in requests a second, and the law of the gaps. ``chunk-N-dataset.json`` has, for times, the
probabilities of lengths: ``{"t": {"input_tokens": "{length: probability, ...}", ...}}``.

A client is a renewal process in operational time: gaps of mean 1 are drawn, and run down at the
window's rate. What is left of a gap at the end of a window is carried into the next, since starting
anew there adds a quarter to a third more requests, in bursts at the edges.
"""

from __future__ import annotations

import ast
import csv
import json
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stoker.errors import InputError, Place
from stoker.traces.formats.base import Format, Source
from stoker.traces.rows import Floats, Rows, unreadable

_PATTERN = "chunk-*-trace.csv"
_DRAWN = 1024  # gaps that are drawn together


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in which a client's traffic has one law."""

    start: float  # seconds
    rate: float  # requests a second
    law: str  # Gamma or Weibull
    shape: float


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths with their probabilities."""

    tokens: Floats
    cumulated: Floats

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """*count* of them."""
        return self.tokens[np.searchsorted(self.cumulated, random.random(count), side="right")]


class Client:
    """One client: its windows, its lengths, and the gap that it is in."""

    def __init__(self, path: Path, seed: int) -> None:
        self.name = path.name.removesuffix("-trace.csv")
        self.windows = _windows(path)
        dataset = path.with_name(f"{self.name}-dataset.json")
        self._starts, self._lengths = _datasets(dataset)
        self._random = np.random.default_rng([seed, *self.name.encode()])
        self._left = -1.0  # of the gap under way, in operational time; negative: none drawn yet

    def times(self, window: Window, end: float) -> Floats:
        """Arrivals in a window, by thinning no randomness away: gaps run down at its rate."""
        span = (end - window.start) * window.rate
        if self._left < 0:
            self._left = float(self._gaps(window, 1)[0])
        if self._left > span:
            self._left -= span
            return np.empty(0)
        marks = [np.array([self._left])]
        while marks[-1][-1] <= span:
            marks.append(marks[-1][-1] + np.cumsum(self._gaps(window, _DRAWN)))
        all_marks = np.concatenate(marks)
        inside = int(np.searchsorted(all_marks, span, side="right"))
        self._left = float(all_marks[inside]) - span
        return window.start + all_marks[:inside] / window.rate

    def lengths(self, at: float, count: int) -> tuple[Floats, Floats]:
        """Prompt and output tokens of *count* requests around a time."""
        which = max(bisect_right(self._starts, at) - 1, 0)
        prompts, outputs = self._lengths[which]
        return prompts.draw(count, self._random), outputs.draw(count, self._random)

    def _gaps(self, window: Window, count: int) -> Floats:
        if window.law == "weibull":
            return self._random.weibull(window.shape, count) / math.gamma(1 + 1 / window.shape)
        return self._random.gamma(window.shape, 1 / window.shape, count)


def _windows(path: Path) -> list[Window]:
    windows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or (number == 1 and not _is_number(row[0])):
                    continue
                windows.append(_window(row, path, number))
    except OSError as error:
        raise unreadable(path, error) from None
    if len(windows) < 2:
        raise InputError("a profile has at least two windows", place=Place(str(path)))
    if any(later.start <= window.start for window, later in pairwise(windows)):
        raise InputError("the windows are not in the order of time", place=Place(str(path)))
    return windows


def _window(row: list[str], path: Path, number: int) -> Window:
    try:
        start, rate, _cv, law, shape, _scale = (cell.strip() for cell in row)
        window = Window(float(start), float(rate), law.lower(), float(shape or 1))
        if window.rate < 0 or (window.rate > 0 and not window.shape > 0):
            raise ValueError
        if window.rate > 0 and window.law not in {"gamma", "weibull"}:
            raise ValueError
    except ValueError:
        raise InputError(
            f"not a window: {','.join(row)!r}",
            place=Place(str(path), number),
            hint="a line is t,rate,cv,Gamma|Weibull,shape,scale",
        ) from None
    return window


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _datasets(path: Path) -> tuple[list[float], list[tuple[Lengths, Lengths]]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        by_time = {float(time): entry for time, entry in document.items()}
        starts = sorted(by_time)
        lengths = [
            (_lengths(by_time[start]["input_tokens"]), _lengths(by_time[start]["output_tokens"]))
            for start in starts
        ]
        if not lengths:
            raise ValueError("no lengths")
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, SyntaxError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"not a data set of ServeGen: {error}",
            place=Place(str(path)),
            hint='it is {"t": {"input_tokens": "{length: probability}", "output_tokens": ...}}',
        ) from None
    return starts, lengths


def _lengths(written: Any) -> Lengths:
    """A table, written as a Python literal inside a string; never evaluated as code."""
    table = ast.literal_eval(written) if isinstance(written, str) else written
    tokens = np.array([float(length) for length in table], np.float64)
    weights = np.array([float(weight) for weight in table.values()], np.float64)
    if not len(tokens) or not weights.sum() > 0 or (weights < 0).any():
        raise ValueError("lengths need probabilities that are not negative")
    cumulated = np.cumsum(weights / weights.sum())
    cumulated[-1] = 1.0 + 1e-12  # a draw is below 1, whatever the sum was rounded to
    return Lengths(np.round(tokens), cumulated)


def _knows(path: Path, _head: list[str]) -> bool:
    return path.is_dir() and any(path.glob(_PATTERN))


def _rows(source: Source) -> Iterator[Rows]:
    files = sorted(source.path.glob(_PATTERN))
    if not files:
        raise InputError(f"no {_PATTERN} in this folder", place=Place(str(source.path)))
    clients = [Client(file, source.seed) for file in files]
    source.notes.append(f"drawn from {len(clients)} client profiles with seed {source.seed}")
    first = 1
    starts = sorted({window.start for client in clients for window in client.windows})
    last = [*starts[1:], starts[-1] + (starts[-1] - starts[-2])]
    for start, end in zip(starts, last, strict=True):
        rows = _together(clients, start, end, first)
        first += len(rows.times)
        yield rows


def _together(clients: list[Client], start: float, end: float, first: int) -> Rows:
    """Requests of all clients in one stretch of time."""
    times, prompts, outputs, who = [], [], [], []
    for client in clients:
        which = bisect_right(client.windows, start, key=lambda window: window.start) - 1
        if which < 0 or client.windows[which].rate <= 0:
            continue
        window = client.windows[which]
        found = client.times(Window(start, window.rate, window.law, window.shape), end)
        prompt, output = client.lengths(start, len(found))
        times.append(found)
        prompts.append(prompt)
        outputs.append(output)
        who += [client.name] * len(found)
    if not times:
        return Rows(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), keys=[])
    moments = np.concatenate(times)
    order = np.argsort(moments, kind="stable")
    return Rows(
        np.arange(first, first + len(order), dtype=np.int64),
        moments[order],
        np.concatenate(prompts)[order],
        np.concatenate(outputs)[order],
        keys=[who[at] for at in order.tolist()],
    )


FORMATS = (
    Format("servegen", f"a folder with {_PATTERN} (client profiles of ServeGen)", _knows, _rows),
)
