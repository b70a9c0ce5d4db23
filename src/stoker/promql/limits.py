"""What one query may cost, and what is said when it would cost more."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import QueryError


class QueryLimitError(QueryError):
    """The query asks for more than it may: too many samples, or too long."""


class QueryTimeoutError(QueryLimitError):
    """The query took longer than it may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may cost."""

    max_samples: int = 20_000_000
    timeout: float | None = None  # seconds; None: no limit
