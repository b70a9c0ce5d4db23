"""What a cluster's administrator sets: flags of the HPA controller and of KEDA's operator.

Defaults are those of kube-controller-manager 1.36 and KEDA 2.20. Durations are in seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from stoker.errors import InputError


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Flags that change decisions. ``kubernetes_version`` chooses between known differences.

    1.37 turns HPAScaleToZero on, with which a user's HPA may have ``minReplicas: 0``. KEDA gives
    its own HPAs at least 1.
    """

    sync_period: float = 15.0  # --horizontal-pod-autoscaler-sync-period
    tolerance: float = 0.1  # --horizontal-pod-autoscaler-tolerance
    downscale_stabilization: float = 300.0  # --horizontal-pod-autoscaler-downscale-stabilization
    kubernetes_version: str = "1.36"
    cpu_initialization_period: float = 300.0  # --horizontal-pod-autoscaler-... of these names
    initial_readiness_delay: float = 30.0
    http_timeout: float = 3.0  # KEDA_HTTP_DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        if not re.fullmatch(r"v?1\.\d+(\.\d+)?", self.kubernetes_version):
            raise InputError(
                f"`{self.kubernetes_version}` is not a Kubernetes version",
                hint="write it as 1.36",
            )
        if self.sync_period <= 0:
            raise InputError(f"sync period {self.sync_period:g} s must be more than 0")
        if self.tolerance < 0 or self.downscale_stabilization < 0:
            raise InputError("tolerance and downscale stabilization must not be negative")

    @property
    def minor(self) -> int:
        """36 for Kubernetes 1.36."""
        return _minor(self.kubernetes_version)

    @property
    def directional_tolerance(self) -> bool:
        """``1-down <= ratio <= 1+up`` instead of ``abs(1-ratio) <= tolerance``."""
        return self.minor >= 33

    @property
    def behavior_tolerance(self) -> bool:
        """Whether ``behavior.scaleUp.tolerance`` counts (gate HPAConfigurableTolerance)."""
        return self.minor >= 35

    @property
    def scale_to_zero(self) -> bool:
        """Whether an HPA may take its target to zero and back (gate HPAScaleToZero)."""
        return self.minor >= 37

    @property
    def negative_sum_overflows(self) -> bool:
        """Whether a negative sum under AverageValue is taken for an int64 overflow."""
        return self.minor >= 34

    @property
    def caps_value_proposals(self) -> bool:
        """Whether a proposal under Value stops at MaxInt32 instead of wrapping."""
        return self.minor >= 35


@lru_cache(maxsize=64)
def _minor(version: str) -> int:
    return int(version.removeprefix("v").split(".")[1])
