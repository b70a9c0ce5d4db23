"""Kubernetes events: what happened to an object, in the words that users search for.

An event that happens again is counted, not repeated, as the event recorder of client-go does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The object that an event is about."""

    kind: str
    name: str
    namespace: str = "default"

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of ``kubectl get events``. Times are seconds since the Unix epoch."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    about: ObjectRef
    source: str
    first_seen: float
    last_seen: float
    count: int = 1


_Key = tuple[str, str, str, ObjectRef, str]


class EventLog:
    """The events of a run, the newest last, at most *capacity* different ones."""

    def __init__(self, capacity: int = 2000) -> None:
        self._events: OrderedDict[_Key, Event] = OrderedDict()
        self._capacity = capacity
        self._watchers: list[Callable[[Event], None]] = []

    def record(
        self,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        about: ObjectRef,
        source: str,
        now: float,
    ) -> Event:
        """Add an event, or count it once more if the same thing was recorded before."""
        key = (type_, reason, message, about, source)
        seen = self._events.pop(key, None)
        if seen is None:
            event = Event(type_, reason, message, about, source, now, now)
        else:
            event = replace(seen, last_seen=now, count=seen.count + 1)
        self._events[key] = event
        while len(self._events) > self._capacity:
            self._events.popitem(last=False)
        for watcher in self._watchers:
            watcher(event)
        return event

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call *watcher* with every event from now on."""
        self._watchers.append(watcher)

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._events.values()))

    def __len__(self) -> int:
        return len(self._events)
