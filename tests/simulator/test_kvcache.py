"""The blocks of the KV cache."""

from stoker.simulator.kvcache import Holding, KVCache


def hold(cache: KVCache, *hashes: int) -> Holding:
    """One block of 16 tokens for each hash, computed and offered to others."""
    holding = Holding(hashes)
    tokens = 16 * len(hashes)
    assert cache.admit(holding, cache.cached_blocks(hashes, tokens + 1), tokens)
    cache.publish(holding, tokens)
    return holding


def test_one_block_is_never_handed_out():
    cache = KVCache(num_blocks=5, block_size=16)
    assert not cache.admit(Holding(), 0, 65)
    assert cache.admit(Holding(), 0, 64)
    assert (cache.free, cache.usage) == (0, 1.0)


def test_blocks_that_nobody_uses_are_free_and_still_there():
    cache = KVCache(5, 16)
    cache.release(hold(cache, 1, 2))
    assert (cache.used, cache.free) == (0, 4)
    assert cache.cached_blocks((1, 2, 3), 100) == 2


def test_the_least_recently_used_prefix_is_dropped_first_and_its_tail_before_its_head():
    cache = KVCache(6, 16)
    cache.release(hold(cache, 1, 2))
    cache.release(hold(cache, 3, 4))
    hold(cache, 9, 10)  # five blocks in all: one of the four kept ones has to go
    assert cache.cached_blocks((1, 2), 100) == 1
    assert cache.cached_blocks((3, 4), 100) == 2


def test_a_shared_block_counts_once_and_stays_until_its_last_user_has_gone():
    cache = KVCache(9, 16)
    first, second = hold(cache, 1, 2), hold(cache, 1, 2)
    assert cache.used == 2
    cache.release(first)
    assert cache.used == 2
    cache.release(second)
    assert cache.used == 0


def test_waking_kept_blocks_needs_room_as_much_as_taking_new_ones():
    cache = KVCache(5, 16)
    cache.release(hold(cache, 1, 2))
    assert cache.grow(Holding(), 32)  # somebody else's: only the two kept blocks are left
    assert not cache.admit(Holding((1, 2, 3)), 2, 48)
    assert cache.admit(Holding((1, 2)), 2, 32)


def test_the_same_block_computed_twice_at_once_is_kept_twice_and_found_once():
    cache = KVCache(9, 16)
    holdings = [Holding((1,)), Holding((1,))]
    for holding in holdings:
        assert cache.admit(holding, 0, 16)
    for holding in holdings:
        cache.publish(holding, 16)
    assert cache.used == 2
    for holding in holdings:
        cache.release(holding)
    assert (cache.used, cache.cached_blocks((1,), 100)) == (0, 1)
