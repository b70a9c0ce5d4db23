"""Replicas that need nothing but time: the scale target of a backtest."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.scaling.observation import PodStatus, TargetStatus

_ALWAYS = -1.0  # a pod that was there before


@dataclass(slots=True)
class _Pod:
    name: str
    ready_at: float
    made_at: float = _ALWAYS

    def status(self, now: float) -> PodStatus:
        ready = self.ready_at <= now
        changed = self.ready_at if ready else self.made_at
        return PodStatus(self.name, ready=ready, started_at=self.made_at, ready_changed_at=changed)


class Replicas:
    """Pods that are ready *startup* seconds after they were made, and gone at once."""

    def __init__(self, count: int, startup: float) -> None:
        self._startup = startup
        self._made = count
        self._pods = [_Pod(f"p{i}", _ALWAYS) for i in range(count)]
        self._status: TargetStatus | None = None
        self._changes_at = 0.0  # when the next pod becomes ready

    def scale(self, replicas: int, now: float) -> None:
        """Make pods, or delete the newest, which are those that are not ready yet."""
        missing = replicas - len(self._pods)
        for _ in range(missing):
            self._pods.append(_Pod(f"p{self._made}", now + self._startup, now))
            self._made += 1
        if missing < 0:
            del self._pods[replicas:]
        self._status = None

    def status(self, now: float) -> TargetStatus:
        """What KEDA and the HPA see."""
        if self._status is None or now >= self._changes_at:
            pods = tuple(pod.status(now) for pod in self._pods)
            coming = [pod.ready_at for pod in self._pods if pod.ready_at > now]
            self._changes_at = min(coming, default=float("inf"))
            self._status = TargetStatus(len(pods), len(pods), pods)
        return self._status
