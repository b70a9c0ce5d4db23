"""One model server of a run with everything that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.resources.workload import Workload
from stoker.stack.autoscaling import Autoscaling
from stoker.targets.processes import Deployment


@dataclass(slots=True, eq=False)
class RunningApplication:
    """A Deployment, and what scales it. ``autoscaling`` is None where replicas are fixed."""

    workload: Workload
    deployment: Deployment
    created_at: float
    autoscaling: Autoscaling | None = None
    source: Mapping[str, Any] | None = None  # the custom resource that it was made of
