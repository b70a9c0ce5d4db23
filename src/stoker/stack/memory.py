"""Python's garbage collector, kept from holding up a live run.

A full collection looks at every object that is alive: with ten thousand ScaledObjects those are
millions, and every stream and every look waits for a second. Nearly all garbage of a run is freed
by counting references; what is left are the cycles of exceptions, which die young. So what is
loaded at the start is taken out of the collector's sight, and old objects are looked at a hundred
times less often than by default.
"""

from __future__ import annotations

import gc

_YOUNG = 5_000  # more objects made than freed until the young ones are looked at; default 700
_MIDDLE = 20  # such looks until the middle-aged ones are looked at; default 10
_OLD = 1000  # such looks until all are looked at; default 10


def calm_collector() -> None:
    """Call once everything that stays is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
