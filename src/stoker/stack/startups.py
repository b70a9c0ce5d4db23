"""How long starts of a model take, and whether they fail: what the gateway tells those who wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from stoker.targets.base import Pod

_REMEMBERED = 5  # starts of a model: enough for a median, few enough to follow a change


class StartUps:
    """Looks at pods again and again; each start counts once, however often a pod turns unready."""

    def __init__(self) -> None:
        self._counted: dict[str, set[str]] = {}
        self._seconds: dict[str, deque[float]] = {}

    def typical(self, model: str, pods: Sequence[Pod]) -> float | None:
        """Median seconds from a pod's creation to its readiness, None before the first."""
        counted = self._counted.setdefault(model, set())
        seconds = self._seconds.setdefault(model, deque(maxlen=_REMEMBERED))
        counted &= {pod.name for pod in pods}
        for pod in pods:
            if pod.ready_at is None or pod.name in counted:
                continue
            counted.add(pod.name)
            if not pod.restarts:  # with restarts it is the time of several starts
                seconds.append(pod.ready_at - pod.created_at)
        return median(seconds) if seconds else None


def failed(pods: Sequence[Pod]) -> str | None:
    """Why no replica will come soon: all there are crash at their start. None: one may come."""
    staying = [pod for pod in pods if not pod.terminating]
    if not staying or any(pod.reason != "CrashLoopBackOff" for pod in staying):
        return None
    return staying[0].message
