"""Ages as kubectl prints them: ``45s``, ``2m30s``, ``5h``, ``3d``.

The steps are those of ``duration.HumanDuration`` in k8s.io/apimachinery: two digits that matter.
"""

from __future__ import annotations

from datetime import datetime

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY


# Up to which age (exclusive), the large unit and, where it still matters, the small one.
_STEPS = (
    (2 * MINUTE, 1, "s", 0, ""),
    (10 * MINUTE, MINUTE, "m", 1, "s"),
    (3 * HOUR, MINUTE, "m", 0, ""),
    (8 * HOUR, HOUR, "h", MINUTE, "m"),
    (2 * DAY, HOUR, "h", 0, ""),
    (8 * DAY, DAY, "d", HOUR, "h"),
    (2 * YEAR, DAY, "d", 0, ""),
    (8 * YEAR, YEAR, "y", DAY, "d"),
    (float("inf"), YEAR, "y", 0, ""),
)


def human_duration(seconds: float) -> str:
    """*seconds* in the shortest form that still says enough."""
    whole = int(seconds)
    if whole < 0:
        # Clocks of two machines may differ by a second; more is a mistake that has to be seen.
        return "0s" if whole == -1 else "<invalid>"
    large, large_unit, small, small_unit = next(step[1:] for step in _STEPS if whole < step[0])
    rest = whole % large // small if small else 0
    return f"{whole // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")


def epoch(timestamp: str) -> float:
    """Seconds since the Unix epoch of an RFC 3339 time."""
    return datetime.fromisoformat(timestamp).timestamp()


def age(timestamp: str | None, now: float) -> str:
    """How long ago *timestamp* was; ``<unknown>`` without one."""
    return human_duration(now - epoch(timestamp)) if timestamp else "<unknown>"
