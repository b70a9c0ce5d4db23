"""The same session, or the same beginning of a prompt, to the same endpoint while it has room.

Rendezvous hashing ranks the endpoints for each hash: when one comes or goes, only its own share
moves. A cap on the load, as in consistent hashing with bounded loads (Mirrokni, Thorup and
Zadimoghaddam, 2016), sends what is too much for the first to the second, which is then warm, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from stoker.gateway.policy.endpoint import Endpoint

_MASK: Final = (1 << 32) - 1
_MIX: Final = 0x2545F491  # odd, its bits spread; a product of 62 bits is no large number yet


def fingerprint(text: bytes) -> int:
    """A hash of 32 bits that is the same in every process."""
    return zlib.crc32(text)


def preferred(
    affinity: int, endpoints: Sequence[Endpoint], load_cap: float, now: float
) -> Endpoint | None:
    """The endpoint that *affinity* belongs to, or the next that has room. None when none has."""
    load, share, best, best_rank = 1, 0.0, endpoints[0], -1
    for endpoint in endpoints:
        load += endpoint.in_flight + endpoint.elsewhere
        share += endpoint.weight
        ranked = (affinity ^ endpoint.seed) * _MIX & _MASK
        if ranked > best_rank:
            best, best_rank = endpoint, ranked
    fair = load_cap * load / share
    if _has_room(best, fair, now):
        return best
    others = (endpoint for endpoint in endpoints if _has_room(endpoint, fair, now))
    return max(others, key=lambda e: (affinity ^ e.seed) * _MIX & _MASK, default=None)


def _has_room(endpoint: Endpoint, fair: float, now: float) -> bool:
    """Whether it has less than its share of the load, *fair* for a weight of 1, and its limit."""
    has = endpoint.in_flight + endpoint.elsewhere
    return has < fair * endpoint.share(now) and has < endpoint.allowance(now)
