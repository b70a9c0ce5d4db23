"""A circuit breaker for one endpoint, and a budget of retries for one model."""

from __future__ import annotations

THRESHOLD = 3  # failures in a row
OPEN_FIRST = 1.0  # seconds
OPEN_MOST = 30.0
TRIAL_GAP = 0.2  # seconds between two tries of an endpoint while the circuits of all are open
_MOST_TRIPS = 5  # beyond it `OPEN_MOST` rules
BUDGET_RESERVE = 500.0
BUDGET_SHARE = 0.2


class Circuit:
    """Opens after `THRESHOLD` failures in a row, for 1 s and then twice as long each time.

    When that time is over it is half open: one request may try. Its answer closes the circuit, its
    failure opens it again.
    """

    __slots__ = ("_failures", "_trips", "failed_at", "open_until")

    def __init__(self) -> None:
        self._failures = 0
        self.failed_at = 0.0  # last
        self.open_until: float | None = None  # None while it is closed
        self._trips = 0  # times that it opened since it was closed

    def failed(self, now: float) -> bool:
        """A failure. Whether the circuit is open now."""
        self._failures += 1
        self.failed_at = now
        half_open = self.open_until is not None and now >= self.open_until
        if self._failures < THRESHOLD and not half_open:
            return False
        if self.open_until is not None and not half_open:
            return True
        self.open_until = now + min(OPEN_FIRST * 2**self._trips, OPEN_MOST)
        self._trips = min(self._trips + 1, _MOST_TRIPS)
        return True

    def succeeded(self) -> bool:
        """An answer. Whether it closes a circuit that was not."""
        self._failures = 0
        if self.open_until is None:
            return False
        self.open_until = None
        self._trips = 0
        return True

    def is_open(self, now: float) -> bool:
        """Whether nothing should be sent."""
        return self.open_until is not None and now < self.open_until

    def is_half_open(self, now: float) -> bool:
        """Whether one request may try."""
        return self.open_until is not None and now >= self.open_until


class RetryBudget:
    """Retries may be a fifth of the requests, beyond a reserve for a replica that dies with many.

    Without it a model whose engines all fail would get every request three times over.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = BUDGET_RESERVE

    def request(self) -> None:
        """A request came."""
        if self._left < BUDGET_RESERVE:
            self._left += BUDGET_SHARE

    def spend(self) -> bool:
        """Whether a retry is still within it."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
