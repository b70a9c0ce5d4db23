"""``type: kubernetes-workload``: how many pods there are of some other workload.

*Source*: ``pkg/scalers/kubernetes_workload_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from stoker.errors import InputError
from stoker.scaling.numbers import plain
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, metric_name, unread
from stoker.triggers.parameters import Parameter, Parameters, parameter
from stoker.triggers.workload.selector import Selector

__all__ = ["WorkloadTrigger"]

_OVER = ("Succeeded", "Failed")
_ALL = "*"


class WorkloadTrigger:
    """Pods with some labels; those that wait or end count, those that have ended do not."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("podSelector", "labels: app=a,tier in (b,c),!d", required=True),
        parameter("value", "the target; may be left out in a formula", "float64", default="0"),
        parameter("activationValue", "a greater value wakes", "float64", default="0"),
        parameter("namespace", "in the place of the ScaledObject's; * is all"),
    )

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        given = Parameters(self.PARAMETERS, spec.metadata)
        self._target = given.number("value")
        self._activation = given.number("activationValue")
        if self._target <= 0 and not context.in_formula:
            given.refuse("value must be a float greater than 0")
        kind = "kubernetes workload"
        given.finish(kind)
        text = given.text("podSelector")
        try:
            self._selector = Selector.parse(text)
        except ValueError as error:
            problem = f"error parsing pod selector: {error}"
            raise InputError(f"error parsing {kind} metadata: {problem}") from None
        wanted = given.text("namespace")
        self._namespace = "" if wanted == _ALL else wanted or context.namespace
        self._text = text
        self._pods = context.pods

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric."""
        return metric_name(self.spec, f"workload-{self._namespace}")

    @property
    def target(self) -> float:
        """``value``."""
        return self._target

    async def read(self, now: float) -> TriggerReading:  # noqa: ARG002 - of this moment
        """How many pods there are."""
        where = f"in {self._namespace}" if self._namespace else "in all namespaces"
        source = f"pods with {self._text} {where}"
        reading = unread(self.spec, self.metric_name, self._target, source, self._activation)
        if self._pods is None:
            return replace(reading, error="error inspecting kubernetes workload: no pods are known")
        count = float(
            sum(
                self._selector.matches(pod.labels)
                for pod in self._pods()
                if pod.phase not in _OVER and self._namespace in ("", pod.namespace)
            )
        )
        return replace(reading, value=count, active=count > self._activation, answer=plain(count))

    async def close(self) -> None:
        """Nothing is held."""
