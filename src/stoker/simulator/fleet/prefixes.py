"""Prompt blocks of one replica: counted users, and the least recently used goes first.

The same rules as :class:`stoker.simulator.kvcache.KVCache`, on linked lists in arrays.
"""

from __future__ import annotations

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.state import (
    APP,
    BLOCK,
    BLOCKS_PER_HASH,
    CAPACITY,
    CONTENT,
    IDLE_HASHES,
    MINE,
    NEWER,
    NEWEST,
    NONE,
    OLDER,
    OLDEST,
    PRIVATE,
    Q_HASHES,
    Q_HASHES_END,
    Q_KNOWN,
    Q_SHARED,
    SHARED,
    USERS,
    State,
)

NOT_IDLE = -2


@inner
def free_blocks(s: State, r: int) -> int:
    """Blocks that can be had, those that are kept for reuse included."""
    return s.app[s.number[r, APP], CAPACITY] - s.number[r, PRIVATE] - s.number[r, SHARED]


@inner
def blocks_for(s: State, r: int, tokens: int) -> int:
    """How many blocks *tokens* tokens need."""
    return -(-tokens // s.app[s.number[r, APP], BLOCK])


@inner
def take(s: State, r: int, blocks: int) -> None:
    """Use so many more; they are there."""
    number = s.number[r]
    number[PRIVATE] += blocks
    if number[IDLE_HASHES] == 0:
        return
    app = number[APP]
    capacity, size = s.app[app, CAPACITY], s.app[app, BLOCKS_PER_HASH]
    while number[PRIVATE] + number[SHARED] + number[IDLE_HASHES] * size > capacity:
        _unlink(s, r, number[OLDEST])


@inner
def _unlink(s: State, r: int, content: int) -> None:
    number = s.number[r]
    older, newer = s.cache[r, OLDER, content], s.cache[r, NEWER, content]
    if older == NONE:
        number[OLDEST] = newer
    else:
        s.cache[r, NEWER, older] = newer
    if newer == NONE:
        number[NEWEST] = older
    else:
        s.cache[r, OLDER, newer] = older
    s.cache[r, OLDER, content] = NOT_IDLE
    number[IDLE_HASHES] -= 1


@inner
def _append(s: State, r: int, content: int) -> None:
    number = s.number[r]
    last = number[NEWEST]
    s.cache[r, OLDER, content] = last
    s.cache[r, NEWER, content] = NONE
    if last == NONE:
        number[OLDEST] = content
    else:
        s.cache[r, NEWER, last] = content
    number[NEWEST] = content
    number[IDLE_HASHES] += 1


@inner
def cached_hashes(s: State, r: int, request: int, tokens: int) -> int:
    """How many leading blocks of the prompt are there. The last token is always computed."""
    begin = s.request[request, Q_HASHES]
    app = s.number[r, APP]
    size = s.app[app, BLOCK] * s.app[app, BLOCKS_PER_HASH]
    longest = min(s.request[request, Q_HASHES_END] - begin, (tokens - 1) // size)
    for i in range(longest):
        content = s.blocks[begin + i, CONTENT]
        if s.cache[r, USERS, content] == 0 and s.cache[r, OLDER, content] == NOT_IDLE:
            return i
    return longest


@inner
def admit(s: State, r: int, request: int, cached: int, tokens: int) -> bool:
    """Take the first *cached* hashes from the cache and new blocks for the rest, or none."""
    number = s.number[r]
    size = s.app[number[APP], BLOCKS_PER_HASH]
    begin = s.request[request, Q_HASHES]
    woken = 0
    for i in range(begin, begin + cached):
        if s.cache[r, USERS, s.blocks[i, CONTENT]] == 0:
            woken += 1
    new = max(blocks_for(s, r, tokens) - cached * size, 0)
    if new + woken * size > free_blocks(s, r):
        return False
    for i in range(begin, begin + cached):
        content = s.blocks[i, CONTENT]
        if s.cache[r, USERS, content] == 0:
            _unlink(s, r, content)
            number[SHARED] += size
        s.cache[r, USERS, content] += 1
        s.blocks[i, MINE] = 1
    s.request[request, Q_SHARED] = cached
    s.request[request, Q_KNOWN] = cached
    take(s, r, new)
    return True


@inner
def publish(s: State, r: int, request: int, tokens: int) -> None:
    """Offer the full hashes of the first *tokens* tokens to later requests."""
    begin = s.request[request, Q_HASHES]
    count = s.request[request, Q_HASHES_END] - begin
    if s.request[request, Q_KNOWN] >= count:
        return
    number = s.number[r]
    app = number[APP]
    size = s.app[app, BLOCKS_PER_HASH]
    full = min(tokens // (s.app[app, BLOCK] * size), count)
    for i in range(begin + s.request[request, Q_KNOWN], begin + full):
        content = s.blocks[i, CONTENT]
        # Two requests that computed the same block at once: the second keeps its own copy.
        if s.cache[r, USERS, content] == 0 and s.cache[r, OLDER, content] == NOT_IDLE:
            s.cache[r, USERS, content] = 1
            s.blocks[i, MINE] = 1
            s.request[request, Q_SHARED] += 1
            number[PRIVATE] -= size
            number[SHARED] += size
    s.request[request, Q_KNOWN] = max(s.request[request, Q_KNOWN], full)


@inner
def release(s: State, r: int, request: int, computed: int) -> None:
    """Give all blocks of *computed* tokens back. Shared ones are kept, the tail goes first."""
    number = s.number[r]
    size = s.app[number[APP], BLOCKS_PER_HASH]
    number[PRIVATE] -= blocks_for(s, r, computed) - s.request[request, Q_SHARED] * size
    if s.request[request, Q_SHARED]:
        begin = s.request[request, Q_HASHES]
        for i in range(s.request[request, Q_HASHES_END] - 1, begin - 1, -1):
            if s.blocks[i, MINE]:
                s.blocks[i, MINE] = 0
                content = s.blocks[i, CONTENT]
                s.cache[r, USERS, content] -= 1
                if s.cache[r, USERS, content] == 0:
                    number[SHARED] -= size
                    _append(s, r, content)
    s.request[request, Q_SHARED] = 0
    s.request[request, Q_KNOWN] = 0
