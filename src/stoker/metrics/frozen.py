"""A part of the storage as it is now, for a query that runs beside the event loop.

Columns are not copied: appending never changes what a reader holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from stoker.metrics.recent import RecentWindows
from stoker.metrics.sample import Matcher
from stoker.metrics.series import Times, Values
from stoker.metrics.storage import Selection, Storage


class Source(Protocol):
    """What a query reads from."""

    def find(self, matchers: tuple[Matcher, ...]) -> Selection:
        """The series that meet all *matchers*, sorted by labels."""
        ...

    def latest(self, selection: Selection) -> tuple[Times, Values]:
        """Time in ms and value of the newest sample of each series."""
        ...

    def recent(self, selection: Selection, low_ms: int, end_ms: int) -> RecentWindows | None:
        """Windows of all series in one pass, None if that cannot be done."""
        ...


class Frozen:
    """The series of some selectors. Meets :class:`Source`."""

    def __init__(self, storage: Storage, wanted: Iterable[tuple[Matcher, ...]]) -> None:
        self._found: dict[tuple[Matcher, ...], tuple[Selection, Times, Values]] = {}
        for matchers in wanted:
            selection = storage.find(matchers)
            series = tuple(one.frozen() for one in selection.series)
            kept = Selection(series, selection.slots, selection.labels)
            self._found[matchers] = (kept, *storage.latest(selection))

    def find(self, matchers: tuple[Matcher, ...]) -> Selection:
        """One of the selectors that were named at the beginning."""
        return self._found[matchers][0]

    def latest(self, selection: Selection) -> tuple[Times, Values]:
        """Copies, as the caller may change them."""
        for kept, times, values in self._found.values():
            if kept is selection:
                return times.copy(), values.copy()
        raise KeyError("a selection of another storage")

    def recent(self, selection: Selection, low_ms: int, end_ms: int) -> RecentWindows | None:  # noqa: ARG002 - the rows change under a reader
        """Never: the rows of recent samples change while this is read."""
        return None
