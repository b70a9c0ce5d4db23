"""Parts of a date, UTC, from seconds since the epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker.metrics.series import Values

Moments = NDArray[np.datetime64]
DatePart = Callable[[Moments], Values]


def _part(extract: DatePart) -> Callable[[Values], Values]:
    def part(seconds: Values) -> Values:
        known = np.isfinite(seconds) & (np.abs(seconds) < 1e15)
        moments = np.trunc(np.where(known, seconds, 0.0)).astype(np.int64).astype("datetime64[s]")
        return np.where(known, extract(moments).astype(np.float64), np.nan)

    return part


def _since(moments: Moments, larger: str, smaller: str) -> Values:
    """How many whole *smaller* units have passed of the *larger* one."""
    passed = moments.astype(f"datetime64[{smaller}]") - moments.astype(f"datetime64[{larger}]")
    count: Values = passed.astype(f"timedelta64[{smaller}]").astype(np.float64)
    return count


def _days_in_month(moments: Moments) -> Values:
    month = moments.astype("datetime64[M]")
    days: Values = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(
        np.float64
    )
    return days


def _day_of_week(moments: Moments) -> Values:
    days = moments.astype("datetime64[D]").astype(np.int64)
    return ((days + 4) % 7).astype(np.float64)  # the epoch was a Thursday; Sunday is 0


DATE_PARTS: Final[dict[str, Callable[[Values], Values]]] = {
    "minute": _part(lambda t: _since(t, "h", "m")),
    "hour": _part(lambda t: _since(t, "D", "h")),
    "day_of_week": _part(_day_of_week),
    "day_of_month": _part(lambda t: _since(t, "M", "D") + 1),
    "day_of_year": _part(lambda t: _since(t, "Y", "D") + 1),
    "days_in_month": _part(_days_in_month),
    "month": _part(lambda t: _since(t, "Y", "M") + 1),
    "year": _part(lambda t: t.astype("datetime64[Y]").astype(np.float64) + 1970),
}
