"""The KV cache of one engine: blocks that are counted, shared by prefix, and reused.

As in vLLM's V1 block pool: a block that nobody uses any more keeps its content until its space is
needed, the least recently used first; usage counts only blocks in use, and one block of the pool is
never handed out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Holding:
    """The blocks of one request: *shared* ones by the hash of their content, the others counted."""

    hashes: Sequence[int] = ()  # one for each full block of the prompt, in order
    private: int = 0
    shared: list[int] = field(default_factory=list)
    known: int = 0  # how many of the hashes were offered to the cache

    @property
    def blocks(self) -> int:
        """How many blocks the request holds."""
        return self.private + len(self.shared)


class KVCache:
    """A pool of *num_blocks* blocks of *block_size* tokens."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.capacity = num_blocks - 1  # vLLM keeps block 0 as the null block
        self._users: dict[int, int] = {}  # hash of a shared block -> requests that hold it
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept for reuse, the oldest first
        self._private = 0

    @property
    def used(self) -> int:
        """Blocks in use."""
        return self._private + len(self._users)

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
        """How many leading blocks are there already. The last token is always computed."""
        longest = min(len(hashes), (tokens - 1) // self.block_size)
        for index in range(longest):
            if hashes[index] not in self._users and hashes[index] not in self._idle:
                return index
        return longest

    def admit(self, holding: Holding, cached: int, tokens: int) -> bool:
        """Take the first *cached* blocks from the cache and new ones for the rest, or none."""
        prefix = holding.hashes[:cached]
        woken = sum(1 for content in prefix if content in self._idle)
        new = max(self.blocks_for(tokens) - cached, 0)
        if new + woken > self.free:
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
        new = self.blocks_for(tokens) - holding.blocks
        if new <= 0:
            return True
        if new > self.free:
            return False
        self._take(holding, new)
        return True

    def publish(self, holding: Holding, tokens: int) -> None:
        """Offer the full blocks of the first *tokens* tokens to later requests."""
        full = min(tokens // self.block_size, len(holding.hashes))
        for content in holding.hashes[holding.known : full]:
            # Two requests that computed the same block at once: the second keeps its own copy.
            if content not in self._users and content not in self._idle:
                self._users[content] = 1
                holding.shared.append(content)
                holding.private -= 1
                self._private -= 1
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
        while self.used + len(self._idle) > self.capacity:
            self._idle.popitem(last=False)
