"""The KV cache of one engine: blocks that are counted, shared by prefix, and reused.

As in vLLM's V1 block pool: a block that nobody uses any more keeps its content until its space is
needed, the least recently used first; usage counts only blocks in use, and one block of the pool is
never handed out.

A hash may name the content of several blocks at once, as in traces whose hashes are of 512 tokens;
these come and go together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Holding:
    """The blocks of one request: *shared* ones by the hash of their content, the others counted."""

    hashes: Sequence[int] = ()  # of each full block, or group of blocks, of the prompt, in order
    private: int = 0
    shared: list[int] = field(default_factory=list)
    known: int = 0  # how many of the hashes were offered to the cache


class KVCache:
    """A pool of *num_blocks* blocks of *block_size* tokens."""

    def __init__(self, num_blocks: int, block_size: int, blocks_per_hash: int = 1) -> None:
        self.block_size = block_size
        self.blocks_per_hash = blocks_per_hash
        self.capacity = num_blocks - 1  # vLLM keeps block 0 as the null block
        self._users: dict[int, int] = {}  # hash of a shared block -> requests that hold it
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept for reuse, the oldest first
        self._private = 0

    @property
    def used(self) -> int:
        """Blocks in use."""
        return self._private + len(self._users) * self.blocks_per_hash

    @property
    def free(self) -> int:
        """Blocks that can be had, those that are kept for reuse included."""
        return self.capacity - self.used

    @property
    def usage(self) -> float:
        """The share of the blocks that is in use, 0 to 1."""
        return self.used / self.capacity

    def blocks_for(self, tokens: int) -> int:
        """How many blocks *tokens* tokens need."""
        return -(-tokens // self.block_size)

    def cached_blocks(self, hashes: Sequence[int], tokens: int) -> int:
        """How many leading hashes are there already. The last token is always computed."""
        longest = min(len(hashes), (tokens - 1) // (self.block_size * self.blocks_per_hash))
        for index in range(longest):
            if hashes[index] not in self._users and hashes[index] not in self._idle:
                return index
        return longest

    def admit(self, holding: Holding, cached: int, tokens: int) -> bool:
        """Take the first *cached* hashes from the cache and new blocks for the rest, or none."""
        prefix = holding.hashes[:cached]
        woken = sum(1 for content in prefix if content in self._idle)
        new = max(self.blocks_for(tokens) - cached * self.blocks_per_hash, 0)
        if new + woken * self.blocks_per_hash > self.free:
            return False
        for content in prefix:
            self._idle.pop(content, None)
            self._users[content] = self._users.get(content, 0) + 1
        holding.shared = list(prefix)
        holding.known = cached
        self._take(holding, new)
        return True

    def grow(self, holding: Holding, tokens: int) -> bool:
        """Make room for *tokens* tokens in all, or change nothing."""
        held = holding.private + len(holding.shared) * self.blocks_per_hash
        new = self.blocks_for(tokens) - held
        if new <= 0:
            return True
        if new > self.free:
            return False
        self._take(holding, new)
        return True

    def publish(self, holding: Holding, tokens: int) -> None:
        """Offer the full blocks of the first *tokens* tokens to later requests."""
        size = self.blocks_per_hash
        full = min(tokens // (self.block_size * size), len(holding.hashes))
        for content in holding.hashes[holding.known : full]:
            # Two requests that computed the same block at once: the second keeps its own copy.
            if content not in self._users and content not in self._idle:
                self._users[content] = 1
                holding.shared.append(content)
                holding.private -= size
                self._private -= size
        holding.known = max(holding.known, full)

    def release(self, holding: Holding) -> None:
        """Give all blocks back. Shared ones are kept for reuse, the tail to be dropped first."""
        for content in reversed(holding.shared):
            users = self._users[content] - 1
            if users:
                self._users[content] = users
            else:
                del self._users[content]
                self._idle[content] = None
        self._private -= holding.private
        holding.shared = []
        holding.private = 0
        holding.known = 0

    def _take(self, holding: Holding, blocks: int) -> None:
        holding.private += blocks
        self._private += blocks
        while self.used + len(self._idle) * self.blocks_per_hash > self.capacity:
            self._idle.popitem(last=False)
