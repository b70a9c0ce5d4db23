"""How long a crashed container waits: the kubelet's back-off.

Source: k8s.io/client-go/util/flowcontrol/backoff.go as pkg/kubelet uses it. The first restart is
immediate, then 10 s, doubled up to 5 min; more than 10 min of running start it over.
"""

from __future__ import annotations

INITIAL_DELAY = 10.0
MAX_DELAY = 300.0


class CrashBackOff:
    """The back-off of one container. Times are seconds since the Unix epoch."""

    def __init__(self) -> None:
        self._delay = 0.0
        self._restarted_at: float | None = None

    def delay(self, finished_at: float) -> float:
        """Seconds from the exit at *finished_at* until the container may start again."""
        return 0.0 if self._is_over(finished_at) else self._delay

    def restarted(self, finished_at: float, now: float) -> None:
        """Note the restart at *now* after the exit at *finished_at*."""
        if self._is_over(finished_at):
            self._delay = INITIAL_DELAY
        else:
            self._delay = min(2 * self._delay, MAX_DELAY)
        self._restarted_at = now

    def _is_over(self, finished_at: float) -> bool:
        return self._restarted_at is None or finished_at - self._restarted_at > 2 * MAX_DELAY
