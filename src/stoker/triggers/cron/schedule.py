"""Cron schedules of five fields, as github.com/robfig/cron reads them, which KEDA embeds.

Against Unix' cron: ``?`` is ``*``, ``5/15`` is ``5-59/15``, Sunday is 0 and never 7, and a day has
to match both day fields if one of them begins with ``*`` or ``?``, else one of the two is enough;
``*/2`` is no ``*`` in this. An hour that a time zone skips has no moments, one that it repeats has
each twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from stoker.errors import InputError

NEVER = math.inf
_YEARS = 5  # how far Next() looks
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class _Field:
    lowest: int
    highest: int
    names: tuple[str, ...] = ()


_FIELDS = (_Field(0, 59), _Field(0, 23), _Field(1, 31), _Field(1, 12, _MONTHS), _Field(0, 6, _DAYS))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something happens, in the wall clock of a time zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    both_days: bool  # a day has to match both day fields
    zone: str | None = None  # of a leading `TZ=`; None: that of the caller

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read ``minute hour day-of-month month day-of-week``.

        Raises:
            InputError: in robfig's words.
        """
        zone, text = _without_zone(text)
        if not text:
            raise InputError("empty spec string")
        words = text.split()
        if text.strip().startswith("@"):
            raise InputError(f"parser does not accept descriptors: {text.strip()}")
        if len(words) != len(_FIELDS):
            raise InputError(
                f"expected exactly {len(_FIELDS)} fields, found {len(words)}: [{' '.join(words)}]",
                hint="minute hour day-of-month month day-of-week",
            )
        minutes, hours, days, months, weekdays = map(_parse_field, words, _FIELDS)
        return cls(
            minutes[0],
            hours[0],
            days[0],
            months[0],
            weekdays[0],
            both_days=days[1] or weekdays[1],
            zone=zone,
        )

    def next(self, now: float, zone: tzinfo) -> float:
        """The first matching minute after *now*, in Unix seconds; NEVER: none in five years."""
        if self.zone is not None:
            zone = ZoneInfo(self.zone)
        at = math.floor(now) // 60 * 60 + 60
        local = datetime.fromtimestamp(at, zone)
        last_year = local.year + _YEARS
        while local.year <= last_year:
            if not self._on_day(local):
                midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
                at = int((midnight + timedelta(days=1)).timestamp())
            elif local.hour not in self.hours:
                at += (60 - local.minute) * 60
            elif local.minute not in self.minutes:
                at += 60
            else:
                return float(at)
            local = datetime.fromtimestamp(at, zone)
        return NEVER

    def _on_day(self, local: datetime) -> bool:
        if local.month not in self.months:
            return False
        by_month = local.day in self.days
        by_week = local.isoweekday() % 7 in self.weekdays
        return (by_month and by_week) if self.both_days else (by_month or by_week)


def location(name: str) -> tzinfo:
    """The time zone of that IANA name.

    Raises:
        InputError: there is none, in Go's words.
    """
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # no such file, a path that leads out, no such key
        raise InputError(
            f"unknown time zone {name}", hint="an IANA name such as Europe/Berlin"
        ) from None


def _without_zone(text: str) -> tuple[str | None, str]:
    if not text.startswith(("TZ=", "CRON_TZ=")):
        return None, text
    zone, _, rest = text.partition(" ")
    name = zone.partition("=")[2]
    try:
        location(name)
    except InputError as error:
        raise InputError(f"provided bad location {name}: {error.message}") from None
    return name or "UTC", rest


def _parse_field(text: str, field: _Field) -> tuple[frozenset[int], bool]:
    """The matching numbers, and whether the field is a star."""
    found: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            numbers, is_star = _parse_range(part, field)
            found.update(numbers)
            star = star or is_star
    return frozenset(found), star


def _parse_range(text: str, field: _Field) -> tuple[range, bool]:
    """``*``, ``5``, ``5-9``, ``mon-fri``, each also with ``/step``."""
    span, *steps = text.split("/")
    if len(steps) > 1:
        raise InputError(f"too many slashes: {text}")
    first, *rest = span.split("-")
    star = first in ("*", "?")
    if star:
        low, high = field.lowest, field.highest
    else:
        if len(rest) > 1:
            raise InputError(f"too many hyphens: {text}")
        low = _number(first, field.names, field.lowest)
        high = _number(rest[0], field.names, field.lowest) if rest else low
    step = 1
    if steps:
        step = _number(steps[0])
        if not star and not rest:
            high = field.highest  # "5/15" goes on to the end
    if low < field.lowest:
        raise InputError(f"beginning of range ({low}) below minimum ({field.lowest}): {text}")
    if high > field.highest:
        raise InputError(f"end of range ({high}) above maximum ({field.highest}): {text}")
    if low > high:
        raise InputError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise InputError(f"step of range should be a positive number: {text}")
    return range(low, high + 1, step), star and step == 1


def _number(text: str, names: tuple[str, ...] = (), first: int = 0) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + first
    try:
        number = int(text) if text.isascii() and "_" not in text else None
    except ValueError:
        number = None
    if number is None:
        cause = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise InputError(f"failed to parse int from {text}: {cause}")
    if number < 0:
        raise InputError(f"negative number ({number}) not allowed: {text}")
    return number
