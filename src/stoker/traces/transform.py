"""Traces made of traces: cut, scaled, merged. Each works on chunks and keeps none.

What a change does to the traffic stands in the docstrings, and commands print it: a trace that was
stretched has another burstiness, and nobody should have to guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from stoker.errors import InputError
from stoker.traces.arrivals import Arrivals, Counts, Indices, PromptBlocks, Times

Chunks = Iterable[Arrivals]
LONGEST = 2**31 - 1


def cut(chunks: Chunks, *, start: float = 0.0, duration: float | None = None) -> Iterator[Arrivals]:
    """Requests of ``start <= time < start + duration`` seconds, with *start* as the new zero."""
    end = np.inf if duration is None else start + duration
    for chunk in chunks:
        if len(chunk) and chunk.times[0] >= end:
            return
        part = chunk.between(start, end)
        if len(part):
            yield part.shifted(-start)


def from_zero(chunks: Chunks) -> Iterator[Arrivals]:
    """The same requests, the first of them at 0 s."""
    zero: float | None = None
    for chunk in chunks:
        if len(chunk):
            zero = float(chunk.times[0]) if zero is None else zero
            yield chunk.shifted(-zero)


def first(chunks: Chunks, count: int) -> Iterator[Arrivals]:
    """At most *count* requests."""
    left = count
    for chunk in chunks:
        yield chunk.part(0, min(left, len(chunk)))
        left -= len(chunk)
        if left <= 0:
            return


def stretched(chunks: Chunks, factor: float) -> Iterator[Arrivals]:
    """All times *factor* times as far apart: the rate falls by it, bursts keep their size."""
    for chunk in chunks:
        yield replace(chunk, times=chunk.times * factor)


def resized(
    chunks: Chunks, *, prompt_factor: float = 1.0, output_factor: float = 1.0
) -> Iterator[Arrivals]:
    """Lengths times a factor, rounded, at least one token where there was one."""
    for chunk in chunks:
        yield replace(
            chunk,
            prompt_tokens=_times(chunk.prompt_tokens, prompt_factor),
            output_tokens=_times(chunk.output_tokens, output_factor),
            blocks=chunk.blocks if prompt_factor == 1 else None,
        )


def lengths_set(
    chunks: Chunks, *, prompt_tokens: int | None = None, output_tokens: int | None = None
) -> Iterator[Arrivals]:
    """The same times, all requests of one length; None: as they are."""
    for chunk in chunks:
        changed = chunk
        if prompt_tokens is not None:
            same = np.full(len(chunk), prompt_tokens, np.int32)
            changed = replace(changed, prompt_tokens=same, blocks=None)
        if output_tokens is not None:
            changed = replace(changed, output_tokens=np.full(len(chunk), output_tokens, np.int32))
        yield changed


def rated(
    chunks: Chunks, factor: float, *, jitter: float = 1.0, seed: int = 0
) -> Iterator[Arrivals]:
    """*factor* times as many requests in the same time.

    Below 1, each request stays with that probability. Above, each is sent ``floor(factor)`` times,
    and once more with the probability of the rest; copies come up to *jitter* seconds later, so
    that they do not arrive as one. Copies have the lengths of their original.
    """
    random = np.random.default_rng(seed)
    late: Arrivals | None = None  # copies that come after the last request that was read
    for chunk in chunks:
        copies = np.full(len(chunk), int(factor), np.int64)
        copies += random.random(len(chunk)) < factor - int(factor)
        which = np.repeat(np.arange(len(chunk)), copies)
        is_copy = np.concatenate([[False], which[1:] == which[:-1]])[: len(which)]
        times = chunk.times[which] + np.where(is_copy, random.uniform(0, jitter, len(which)), 0.0)
        order = np.argsort(times, kind="stable")
        scaled = _taken(chunk, which[order], times[order])
        if late is not None:
            scaled = merged_pair(late, scaled)
        known = int(scaled.times.searchsorted(chunk.times[-1], "right")) if len(chunk) else 0
        late = scaled.part(known, len(scaled))
        if known:
            yield scaled.part(0, known)
    if late is not None and len(late):
        yield late


def merged(traces: list[Chunks]) -> Iterator[Arrivals]:
    """Requests of several traces in the order of time, each with its own zero.

    Of requests that come at the same time those of the earlier trace are first. Models and keys
    stay apart by their names; a trace without them gets the empty name. Blocks of prompts are kept
    only if all traces have them, and are numbered so that no two traces share one.
    """
    yield from _Merge(traces).chunks()


class _Merge:
    """Chunks are taken from the trace that lags behind; what all have passed can be given on."""

    def __init__(self, traces: list[Chunks]) -> None:
        self._iterators = [iter(trace) for trace in traces]
        self._heads: list[Arrivals | None] = [None] * len(traces)
        self._models: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._blocks: dict[tuple[int, int], int] = {}

    def chunks(self) -> Iterator[Arrivals]:
        """What is known to be complete, again and again."""
        for at in range(len(self._heads)):
            self._fill(at)
        while any(head is not None for head in self._heads):
            ends = [head.times[-1] for head in self._heads if head is not None]
            until = float(min(ends))
            parts = []
            for at, head in enumerate(self._heads):
                if head is None:
                    continue
                known = int(head.times.searchsorted(until, "right"))
                parts.append(head.part(0, known))
                self._heads[at] = head.part(known, len(head))
                if known == len(head):
                    self._fill(at)
            yield self._together([part for part in parts if len(part)])

    def _fill(self, at: int) -> None:
        """The next requests of a trace; None when it has ended."""
        self._heads[at] = None
        for chunk in self._iterators[at]:
            if len(chunk):
                self._heads[at] = self._renamed(chunk, at)
                return

    def _renamed(self, chunk: Arrivals, trace: int) -> Arrivals:
        return replace(
            chunk,
            models=_renamed(chunk.models, chunk.model_names, self._models, len(chunk)),
            model_names=(),
            keys=_renamed(chunk.keys, chunk.key_names, self._keys, len(chunk)),
            key_names=(),
            blocks=None if chunk.blocks is None else self._own_blocks(chunk.blocks, trace),
        )

    def _own_blocks(self, blocks: PromptBlocks, trace: int) -> PromptBlocks:
        known = self._blocks
        numbers = [known.setdefault((trace, at), len(known)) for at in blocks.hashes.tolist()]
        return replace(blocks, hashes=np.array(numbers, np.int64))

    def _together(self, parts: list[Arrivals]) -> Arrivals:
        together = parts[0]
        for part in parts[1:]:
            together = merged_pair(together, part)
        names, keys = tuple(self._models), tuple(self._keys)
        return replace(
            together,
            models=together.models if any(names) else None,
            model_names=names if any(names) else (),
            keys=together.keys if any(keys) else None,
            key_names=keys if any(keys) else (),
        )


def merged_pair(one: Arrivals, other: Arrivals) -> Arrivals:
    """Two pieces that share their names, in the order of time; *one* first where equal."""
    times = np.concatenate([one.times, other.times])
    order = np.argsort(times, kind="stable")

    def both(name: str) -> Counts | None:
        first_half, second_half = getattr(one, name), getattr(other, name)
        if first_half is None or second_half is None:
            return None
        column: Counts = np.concatenate([first_half, second_half])[order]
        return column

    named = other if len(other.model_names) >= len(one.model_names) else one
    keyed = other if len(other.key_names) >= len(one.key_names) else one
    return Arrivals(
        times[order],
        np.concatenate([one.prompt_tokens, other.prompt_tokens])[order],
        np.concatenate([one.output_tokens, other.output_tokens])[order],
        _both_blocks(one.blocks, other.blocks, order),
        both("models"),
        named.model_names,
        both("keys"),
        keyed.key_names,
    )


def _both_blocks(
    one: PromptBlocks | None, other: PromptBlocks | None, order: Indices
) -> PromptBlocks | None:
    if one is None or other is None:
        return None
    if one.block_size != other.block_size:
        raise InputError(
            f"prompts are in blocks of {one.block_size} and of {other.block_size} tokens",
            hint="traces with blocks of different sizes cannot be merged",
        )
    hashes = np.concatenate([one.hashes, other.hashes])
    offsets = np.concatenate([one.offsets, other.offsets[1:] + len(one.hashes)])
    return _picked(PromptBlocks(hashes, offsets, one.block_size), order)


def _picked(blocks: PromptBlocks, which: Indices) -> PromptBlocks:
    """The blocks of some requests, in their order."""
    counts = np.diff(blocks.offsets)[which]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    at = np.repeat(blocks.offsets[which] - offsets[:-1], counts) + np.arange(offsets[-1])
    return PromptBlocks(blocks.hashes[at], offsets, blocks.block_size)


def _taken(arrivals: Arrivals, which: Indices, times: Times) -> Arrivals:
    """Rows by their numbers, any number of times, at new times that do not descend."""
    return replace(
        arrivals,
        times=times,
        prompt_tokens=arrivals.prompt_tokens[which],
        output_tokens=arrivals.output_tokens[which],
        blocks=None if arrivals.blocks is None else _picked(arrivals.blocks, which),
        models=None if arrivals.models is None else arrivals.models[which],
        keys=None if arrivals.keys is None else arrivals.keys[which],
    )


def _renamed(
    column: Counts | None, names: tuple[str, ...], known: dict[str, int], count: int
) -> Counts:
    if column is None:
        return np.full(count, known.setdefault("", len(known)), np.int32)
    numbers = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
    return numbers[column]


def _times(tokens: Counts, factor: float) -> Counts:
    scaled = np.rint(tokens * factor)
    return np.clip(np.where(tokens > 0, np.maximum(scaled, 1), 0), 0, LONGEST).astype(np.int32)
