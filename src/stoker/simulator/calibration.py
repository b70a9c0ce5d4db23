"""From a sweep at fixed concurrency to the four numbers of a profile.

The numbers are chosen so that the logarithms of measured and predicted times per token, and of the
time to first token where one request was alone, differ least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stoker.simulator.engine import Engine, Limits, Request
from stoker.simulator.profiles import EngineProfile

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: mean times, in milliseconds, while so many requests were open."""

    concurrency: int
    prompt_tokens: int
    output_tokens: int
    ttft: float
    tpot: float  # time per output token after the first

    @property
    def throughput(self) -> float:
        """Output tokens a second of all requests together."""
        whole = self.ttft + self.tpot * (self.output_tokens - 1)
        return 1000.0 * self.concurrency * self.output_tokens / whole


@dataclass(frozen=True, slots=True)
class Fit:
    """Milliseconds, as in a profile, and how far predicted times per token are off."""

    weights_ms: float
    prefill_token_ms: float
    decode_sequence_ms: float
    kv_token_ms: float
    mean_error: float
    largest_error: float
    predicted: tuple[float, ...]  # times per token, in the order of the points


def tpot_of(numbers: Numbers, point: Point, max_num_batched_tokens: int) -> float:
    """Mean time per token at a fixed concurrency, prompts of others in between.

    Requests of equal length end together, so that as many prompts come at once as fit in a step.
    """
    weights, prefill, sequence, kv = numbers
    batch, prompt = point.concurrency, point.prompt_tokens
    decode = weights + sequence * batch + kv * batch * (prompt + point.output_tokens / 2)
    together = max(1, min(batch, max_num_batched_tokens // prompt))
    extra = max(weights, prefill * prompt * together) - weights
    others = (batch / together) if batch > 1 else 0.0
    return float(decode + extra * others / point.output_tokens)


def fit(points: Sequence[Point], max_num_batched_tokens: int) -> Fit:
    """The profile's numbers for a sweep that went on for long.

    Raises:
        ValueError: there are less points than numbers.
    """
    if len(points) < 4:
        raise ValueError(f"four numbers need four points at least, not {len(points)}")

    def residuals(logs: Numbers) -> Numbers:
        numbers = np.exp(logs)
        off = [
            math.log(tpot_of(numbers, point, max_num_batched_tokens) / point.tpot)
            for point in points
        ]
        alone = [
            math.log(max(numbers[0], numbers[1] * point.prompt_tokens) / point.ttft)
            for point in points
            if point.concurrency == 1 and point.ttft > 0.0
        ]
        return np.array(off + alone)

    logs = _least(residuals, np.log([min(p.tpot for p in points), 0.03, 0.05, 3e-5]), 1e-5, 400)
    numbers = np.exp(logs)
    predicted = [tpot_of(numbers, point, max_num_batched_tokens) for point in points]
    return _fit_of(numbers, points, predicted)


def refined(first: Fit, points: Sequence[Point], limits: Limits, rounds: int) -> Fit:
    """The numbers for a short sweep, whose beginning counts: the sweep itself is modelled.

    *rounds* is how many requests each of the users at a point sent, all points having begun with
    all users at once.
    """

    def modelled(logs: Numbers) -> list[tuple[float, float]]:
        engine = _profile(np.exp(logs))
        return [swept(engine, limits, point, rounds) for point in points]

    def residuals(logs: Numbers) -> Numbers:
        rows = zip(modelled(logs), points, strict=True)
        off = [(math.log(tpot / p.tpot), 0.3 * math.log(ttft / p.ttft)) for (ttft, tpot), p in rows]
        return np.array([value for pair in off for value in pair])

    start = [first.weights_ms, first.prefill_token_ms, first.decode_sequence_ms, first.kv_token_ms]
    logs = np.log(np.maximum(start, [1e-3, 1e-4, 1e-3, 1e-6]))
    logs = _least(residuals, logs, 1e-3, 12)
    return _fit_of(np.exp(logs), points, [tpot for _, tpot in modelled(logs)])


def swept(profile: EngineProfile, limits: Limits, point: Point, rounds: int) -> tuple[float, float]:
    """Mean time to first token and per token, in ms, of a point on an engine of that profile."""
    engine = Engine(profile, limits)
    left, first, per_token = point.concurrency * rounds, [], []

    def send(now: float) -> None:
        nonlocal left
        if left:
            left -= 1
            engine.submit(Request(str(left), point.prompt_tokens, point.output_tokens), now)

    for _ in range(point.concurrency):
        send(0.0)
    while (now := engine.next_event()) is not None:
        for event in engine.advance(now):
            end = event.finished
            if end is not None and end.first_token is not None and end.last_token is not None:
                first.append(end.first_token - end.arrived)
                gaps = max(point.output_tokens - 1, 1)
                per_token.append((end.last_token - end.first_token) / gaps)
                send(now)
    count = len(first)
    return 1000 * sum(first) / count, 1000 * sum(per_token) / count


def knees(points: Sequence[Point]) -> list[Point]:
    """The highest concurrency that was measured of each pair of lengths."""
    found: dict[tuple[int, int], Point] = {}
    for point in points:
        shape = point.prompt_tokens, point.output_tokens
        if shape not in found or point.concurrency > found[shape].concurrency:
            found[shape] = point
    return list(found.values())


def throughput_error(
    numbers: Fit, engine: EngineProfile, limits: Limits, point: Point, rounds: int = 3
) -> float:
    """How far the modelled throughput is off at *point*: 0.1 is a tenth too much.

    *engine* with the times of *numbers*.
    """
    fitted = replace(
        engine,
        weights_ms=numbers.weights_ms,
        prefill_token_ms=numbers.prefill_token_ms,
        decode_sequence_ms=numbers.decode_sequence_ms,
        kv_token_ms=numbers.kv_token_ms,
    )
    ttft, tpot = swept(fitted, limits, point, rounds)
    return replace(point, ttft=ttft, tpot=tpot).throughput / point.throughput - 1.0


def _profile(numbers: Numbers) -> EngineProfile:
    weights, prefill, sequence, kv = numbers.tolist()
    return EngineProfile(
        name="fitted",
        weights_ms=weights,
        prefill_token_ms=prefill,
        decode_sequence_ms=sequence,
        kv_token_ms=kv,
        gpu_memory_gib=0.0,
        model_memory_gib=0.0,
        kv_bytes_per_token=1,
        max_model_len=1,
        max_num_seqs=1,
        max_num_batched_tokens=1,
        startup=0.0,
    )


def _least(
    residuals: Callable[[Numbers], Numbers], logs: Numbers, width: float, steps: int
) -> Numbers:
    """Where the sum of squares is least, by Levenberg and Marquardt's method."""
    damping = 1e-2
    now = residuals(logs)
    for _ in range(steps):
        jacobian = np.empty((len(now), len(logs)))
        for i in range(len(logs)):
            moved = logs.copy()
            moved[i] += width
            jacobian[:, i] = (residuals(moved) - now) / width
        square = jacobian.T @ jacobian + damping * np.eye(len(logs))
        step = np.linalg.solve(square, -jacobian.T @ now)
        tried = residuals(logs + step)
        if float(tried @ tried) < float(now @ now):
            logs, now, damping = logs + step, tried, max(damping / 3, 1e-9)
            if float(np.abs(step).max()) < width * 1e-4:
                break
        else:
            damping *= 4
            if damping > 1e9:
                break
    return logs


def _fit_of(numbers: Numbers, points: Sequence[Point], predicted: Sequence[float]) -> Fit:
    errors = [abs(p / point.tpot - 1) for p, point in zip(predicted, points, strict=True)]
    weights, prefill, sequence, kv = numbers.tolist()
    mean = sum(errors) / len(errors)
    return Fit(weights, prefill, sequence, kv, mean, max(errors), tuple(predicted))
