"""``type: cpu`` and ``type: memory``: metrics that the HPA takes from pods, KEDA never reads.

They never wake a target from zero; where a ScaledObject has nothing else it counts as active.

*Source*: ``pkg/scalers/cpu_memory_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from stoker.errors import InputError
from stoker.resources.quantity import milli_value, parse_quantity
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import MetricType, TriggerSpec
from stoker.triggers.base import TriggerContext, unread, with_usage
from stoker.triggers.parameters import Parameter, Parameters, parameter


@dataclass(frozen=True, slots=True)
class ResourceParameters:
    """The trigger's ``metadata``: percent under Utilization, else cores or bytes a pod."""

    value: float
    container: str = ""

    @classmethod
    def parse(cls, spec: TriggerSpec) -> ResourceParameters:
        """Read and check the metadata.

        Raises:
            InputError: KEDA could not build the trigger, or the API server refuses its HPA.
        """
        given = Parameters(ResourceTrigger.PARAMETERS, spec.metadata)
        if given.get("type") is not None:
            given.refuse(
                f"scaler {spec.type} info: The 'type' setting is DEPRECATED and is removed in "
                "v2.18 - Use 'metricType' instead."
            )
        if spec.metric_type is MetricType.VALUE:
            given.refuse(
                "unknown metric type: Value, allowed values are 'Utilization' or 'AverageValue'"
            )
        text = given.text("value")
        value = 1.0
        if text:
            try:
                value = _target(text, spec.metric_type)
            except InputError as error:
                given.refuse(f'unable to set param "value" value "{text}": {error.message}')
        given.finish(spec.type)
        return cls(value, given.get("containerName") or "")


def _target(text: str, metric_type: MetricType) -> float:
    if metric_type is MetricType.UTILIZATION:
        if not re.fullmatch(r"[+-]?\d+", text) or not -(2**31) <= int(text) < 2**31:
            raise InputError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        if int(text) <= 0:
            raise InputError(f"averageUtilization: Invalid value: {text}: must be greater than 0")
        return float(text)
    milli = milli_value(parse_quantity(text))
    if milli <= 0:
        raise InputError(f'averageValue: Invalid value: "{text}": must be positive')
    return milli / 1000


class ResourceTrigger:
    """What the pods use of a resource; the HPA reads it, KEDA does not."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("type", "removed: `metricType` beside `type` takes its place"),
        parameter("value", "percent with Utilization, else a quantity a pod", required=True),
        parameter("containerName", "only this container of each pod"),
    )

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        self.parameters = ResourceParameters.parse(spec)
        self._usage = context.pod_usage

    @property
    def metric_name(self) -> str:
        """KEDA gives it none; the HPA speaks of the resource."""
        return self.spec.type

    @property
    def target(self) -> float:
        """Percent, cores or bytes."""
        return self.parameters.value

    async def read(self, now: float) -> TriggerReading:
        """What each pod uses at *now*, or why that is not known."""
        container = self.parameters.container
        source = f"{self.spec.type} of container {container}" if container else self.spec.type
        reading = unread(self.spec, self.metric_name, self.target, source)
        return with_usage(reading, self._usage, container, now)

    async def close(self) -> None:
        """Nothing is held."""
