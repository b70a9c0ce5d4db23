"""What a backtest comes to: replica-hours, scale events, flaps.

A *flap* is a scale event in the opposite direction of the one before it, less than the flap window
after it: capacity that was given up and needed again, or started for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stoker.scaling.observation import Reader
from stoker.tick import Tick

FLAP_WINDOW = 600.0  # two of the HPA's default windows for scale-down


@dataclass(frozen=True, slots=True)
class Summary:
    """One backtest in numbers. Times are seconds since the Unix epoch."""

    start: float
    end: float
    polls: int
    syncs: int
    replica_hours: float  # asked for, whether ready or not: what is paid
    lowest: int
    peak: int
    last: int
    scale_ups: int
    scale_downs: int
    flaps: int
    failed_looks: int  # polls and syncs in which a trigger gave an error

    @property
    def scale_events(self) -> int:
        """Changes of the number of replicas."""
        return self.scale_ups + self.scale_downs


class Tally:
    """Counts while ticks go by."""

    def __init__(self, start: float, replicas: int, *, flap_window: float = FLAP_WINDOW) -> None:
        self._start = self._since = start
        self._flap_window = flap_window
        self._replicas = self._lowest = self._peak = replicas
        self._replica_seconds = 0.0
        self._looks = dict.fromkeys(Reader, 0)
        self._ups = self._downs = self._flaps = self._failed = 0
        self._last_event: tuple[float, bool] | None = None  # when, and whether up

    def watch(self, ticks: Iterable[Tick]) -> Iterator[Tick]:
        """The same ticks, counted as they pass."""
        for tick in ticks:
            self.add(tick)
            yield tick

    def add(self, tick: Tick) -> None:
        """Count one."""
        self._looks[tick.reader] += 1
        self._failed += any(reading.error is not None for reading in tick.readings)
        wanted = tick.status.spec_replicas
        if wanted == self._replicas:
            return
        self._replica_seconds += self._replicas * (tick.time - self._since)
        up = wanted > self._replicas
        self._ups, self._downs = self._ups + up, self._downs + (not up)
        if self._last_event is not None:
            at, was_up = self._last_event
            self._flaps += was_up != up and tick.time - at < self._flap_window
        self._last_event = tick.time, up
        self._since, self._replicas = tick.time, wanted
        self._lowest, self._peak = min(self._lowest, wanted), max(self._peak, wanted)

    def summary(self, end: float) -> Summary:
        """The numbers, when nothing more happens until *end*."""
        seconds = self._replica_seconds + self._replicas * (end - self._since)
        return Summary(
            start=self._start,
            end=end,
            polls=self._looks[Reader.KEDA],
            syncs=self._looks[Reader.HPA],
            replica_hours=seconds / 3600,
            lowest=self._lowest,
            peak=self._peak,
            last=self._replicas,
            scale_ups=self._ups,
            scale_downs=self._downs,
            flaps=self._flaps,
            failed_looks=self._failed,
        )
