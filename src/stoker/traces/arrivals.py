"""Requests as columns: what every reader of traces gives and every replay takes.

A column is a NumPy array with an element a request, so that a million requests are 16 MB and a
compiled loop can walk over them. A trace that does not fit into memory is an iterator of such
chunks, each of which begins where the one before it ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Counts = NDArray[np.int32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PromptBlocks:
    """What the prompts consist of: a number for the content of each block, equal for equal text.

    Request *i* has ``hashes[offsets[i]:offsets[i + 1]]``, in the order of its prompt. A hash stands
    for the block and all before it, as in vLLM and in Mooncake's traces. The last block of a prompt
    may be shorter than *block_size*.
    """

    hashes: Indices
    offsets: Indices  # one more than there are requests
    block_size: int  # tokens

    def of(self, index: int) -> Indices:
        """The hashes of one request."""
        return self.hashes[self.offsets[index] : self.offsets[index + 1]]

    def part(self, begin: int, end: int) -> PromptBlocks:
        """Those of some of the requests."""
        offsets = self.offsets[begin : end + 1]
        hashes = self.hashes[offsets[0] : offsets[-1]] if len(offsets) else self.hashes[:0]
        return PromptBlocks(hashes, offsets - offsets[:1], self.block_size)

    def taken(self, rows: Indices) -> PromptBlocks:
        """Those of the requests *rows*, in their order; one may be taken twice."""
        sizes = (self.offsets[1:] - self.offsets[:-1])[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        hashes = self.hashes[np.repeat(self.offsets[:-1][rows], sizes) + within]
        return PromptBlocks(hashes, offsets, self.block_size)


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Requests in the order of time.

    Columns of names are indexes into a tuple of names; None where the trace says nothing.
    """

    times: Times  # seconds since the trace's zero, not descending
    prompt_tokens: Counts
    output_tokens: Counts
    blocks: PromptBlocks | None = None
    models: Counts | None = None  # indexes into model_names
    model_names: tuple[str, ...] = ()
    keys: Counts | None = None  # indexes into key_names: the client, its API key or session
    key_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = (self.prompt_tokens, self.output_tokens, self.models, self.keys)
        if any(len(column) != len(self.times) for column in columns if column is not None):
            raise ValueError("the columns of a trace must have the same length")
        if self.blocks is not None and len(self.blocks.offsets) != len(self.times) + 1:
            raise ValueError("there is one offset more than there are requests")
        if len(self.times) and not (
            np.isfinite(self.times[-1]) and bool(np.all(self.times[1:] >= self.times[:-1]))
        ):
            raise ValueError("the times of a trace must be finite and must not descend")

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def of(cls, times: Any, prompt_tokens: Any, output_tokens: Any, **columns: Any) -> Arrivals:
        """From anything that NumPy makes an array of."""
        return cls(
            np.asarray(times, np.float64),
            np.asarray(prompt_tokens, np.int32),
            np.asarray(output_tokens, np.int32),
            **columns,
        )

    @property
    def duration(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.times[-1] - self.times[0]) if len(self) else 0.0

    def part(self, begin: int, end: int) -> Arrivals:
        """Requests ``begin <= i < end``, with the times they have."""
        return replace(
            self,
            times=self.times[begin:end],
            prompt_tokens=self.prompt_tokens[begin:end],
            output_tokens=self.output_tokens[begin:end],
            blocks=None if self.blocks is None else self.blocks.part(begin, end),
            models=None if self.models is None else self.models[begin:end],
            keys=None if self.keys is None else self.keys[begin:end],
        )

    def between(self, start: float, end: float) -> Arrivals:
        """Those with ``start <= time < end``, with the times they have."""
        begin, stop = self.times.searchsorted([start, end], "left").tolist()
        return self.part(begin, stop)

    def shifted(self, seconds: float) -> Arrivals:
        """The same requests, *seconds* later."""
        return replace(self, times=self.times + seconds)


def joined(chunks: Iterable[Arrivals]) -> Arrivals:
    """Chunks of one trace as a whole. They share their tuples of names, which may grow."""
    parts = [chunk for chunk in chunks if len(chunk)]
    if not parts:
        return Arrivals.of([], [], [])
    last = parts[-1]
    return Arrivals(
        times=np.concatenate([part.times for part in parts]),
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts]),
        output_tokens=np.concatenate([part.output_tokens for part in parts]),
        blocks=_joined_blocks([part.blocks for part in parts]),
        models=_joined_column([part.models for part in parts]),
        model_names=last.model_names,
        keys=_joined_column([part.keys for part in parts]),
        key_names=last.key_names,
    )


def _joined_column(columns: list[Counts | None]) -> Counts | None:
    """None if one of the chunks does not have it."""
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if len(known) == len(columns) else None


def _joined_blocks(columns: list[PromptBlocks | None]) -> PromptBlocks | None:
    known = [blocks for blocks in columns if blocks is not None]
    if len(known) < len(columns):
        return None
    if len({blocks.block_size for blocks in known}) > 1:
        raise ValueError("the chunks of a trace must have one block size")
    ends = np.cumsum([0, *(len(blocks.hashes) for blocks in known)])
    offsets = [blocks.offsets[(0 if i == 0 else 1) :] + ends[i] for i, blocks in enumerate(known)]
    return PromptBlocks(
        np.concatenate([blocks.hashes for blocks in known]),
        np.concatenate(offsets),
        known[0].block_size,
    )
