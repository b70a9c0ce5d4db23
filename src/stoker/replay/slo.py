"""What users were promised: ``ttft_p95<2s,itl_p95<50ms``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stoker.errors import InputError

DEFAULT: Final = "ttft_p95<2s,itl_p95<50ms"
MEASURES: Final = {
    "ttft": "time to first token",
    "itl": "inter-token latency",
    "e2e": "end to end",
}
_CONDITION = re.compile(
    r"\s*(?P<measure>[a-z0-9]+)_(?P<quantile>p\d+(?:\.\d+)?|mean|max)\s*(?P<op><=?)\s*"
    r"(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m)?\s*"
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class Condition:
    """One promise. *limit* is in seconds."""

    measure: str  # ttft, itl, e2e
    quantile: str  # p95, p99.9, mean, max
    limit: float
    text: str

    @property
    def percent(self) -> float | None:
        """95 for ``p95``; None for the mean."""
        if self.quantile == "mean":
            return None
        return 100.0 if self.quantile == "max" else float(self.quantile[1:])


@dataclass(frozen=True, slots=True)
class Slo:
    """All promises together.

    A request keeps them when its time to first token, its end-to-end time and the mean gap between
    its tokens are within the limits, whatever the percentiles say; one that failed does not.
    """

    conditions: tuple[Condition, ...]
    text: str

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Read ``ttft_p95<2s,itl_p95<50ms``. Raises InputError."""
        conditions = tuple(_condition(part) for part in text.split(",") if part.strip())
        if not conditions:
            raise InputError("the SLO is empty", hint=f"for example `{DEFAULT}`")
        return cls(conditions, ",".join(condition.text for condition in conditions))

    def limit(self, measure: str) -> float | None:
        """The strictest limit on a measure of one request; None: there is none."""
        limits = [c.limit for c in self.conditions if c.measure == measure]
        return min(limits, default=None)


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or match["measure"] not in MEASURES:
        raise InputError(
            f"`{text.strip()}` is not a condition of an SLO",
            hint=f"write it like `{DEFAULT}`: {', '.join(sorted(MEASURES))} with _p50 to _p99.9, "
            "_mean or _max, then < and a duration",
        )
    limit = float(match["limit"]) * _SECONDS[match["unit"]]
    condition = Condition(match["measure"], match["quantile"], limit, re.sub(r"\s+", "", text))
    percent = condition.percent
    if percent is not None and not 0.0 < percent <= 100.0:
        raise InputError(f"`{text.strip()}`: a percentile is above 0 and at most 100")
    return condition
