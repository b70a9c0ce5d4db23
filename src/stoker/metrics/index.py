"""Which series have which labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stoker.metrics.sample import Labels, Matcher, MatchOp


class LabelIndex:
    """Postings: label name -> label value -> slots of the series that have it."""

    def __init__(self) -> None:
        self._postings: dict[str, dict[str, set[int]]] = {}
        self._all: set[int] = set()

    def add(self, slot: int, labels: Labels) -> None:
        """Enter a series."""
        self._all.add(slot)
        for name, value in labels:
            self._postings.setdefault(name, {}).setdefault(value, set()).add(slot)

    def remove(self, slot: int, labels: Labels) -> None:
        """Forget a series, and label values that nobody has any more."""
        self._all.discard(slot)
        for name, value in labels:
            values = self._postings[name]
            values[value].discard(slot)
            if not values[value]:
                del values[value]
                if not values:
                    del self._postings[name]

    def find(self, matchers: Iterable[Matcher]) -> set[int]:
        """The slots that meet all *matchers*; all slots if there are none."""
        # Equalities first: they cut the set down without looking at every value.
        ordered = sorted(matchers, key=lambda m: m.op is not MatchOp.EQUAL or not m.value)
        found: set[int] | None = None
        for matcher in ordered:
            slots = self._find_one(matcher)
            found = slots if found is None else found & slots
            if not found:
                return set()
        return set(self._all) if found is None else set(found)

    def _find_one(self, matcher: Matcher) -> set[int]:
        values = self._postings.get(matcher.name, {})
        if matcher.op is MatchOp.EQUAL and matcher.value:
            return values.get(matcher.value, set())
        accepts = matcher.predicate()
        if not accepts(""):
            return _union(values, accepts)
        # The empty value is accepted, so series without the label are, too.
        return self._all - _union(values, lambda value: not accepts(value))

    def names(self) -> list[str]:
        """All label names, sorted."""
        return sorted(self._postings)

    def values(self, name: str) -> list[str]:
        """All values of a label, sorted."""
        return sorted(self._postings.get(name, ()))


def _union(values: dict[str, set[int]], accepts: Callable[[str], bool]) -> set[int]:
    found: set[int] = set()
    for value, slots in values.items():
        if accepts(value):
            found |= slots
    return found
