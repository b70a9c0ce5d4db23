"""Triggers of the otel add-on for KEDA, answered by what was pushed here.

In a cluster they are of type ``external`` (KServe makes such ones of a ``PodMetric``) or
``external-push``, and ask the add-on's Service. On one machine that Service is here.

*Source*: ``scaler/handlers.go`` of kedify/otel-add-on 0.1.4, as KEDA 2.20 calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from stoker.errors import InputError
from stoker.metrics.otlp.addon import OPERATIONS, MetricQuery
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, metric_name, unread
from stoker.triggers.parameters import Parameter, Parameters, parameter

TYPES: Final = frozenset({"external", "external-push"})
_CLUSTER_SUFFIXES: Final = (".svc", ".svc.cluster.local")


def asks_the_addon(type_: str, metadata: Mapping[str, str]) -> bool:
    """Whether a trigger asks the otel add-on at a Service that exists in a cluster alone."""
    if type_ not in TYPES or not metadata.get("metricQuery", "").strip():
        return False
    host = metadata.get("scalerAddress", "").strip().rpartition(":")[0]
    return host.rstrip(".").endswith(_CLUSTER_SUFFIXES)


@dataclass(frozen=True, slots=True)
class OpenTelemetryParameters:
    """What a trigger of the add-on was given. None: not clamped."""

    metric_query: str
    target_value: float
    operation_over_time: str = "last_one"
    clamp_min: float | None = None
    clamp_max: float | None = None

    @classmethod
    def read(cls, spec: TriggerSpec, context: TriggerContext) -> OpenTelemetryParameters:
        """Read and check what was given. Raises InputError."""
        given = Parameters(OpenTelemetryTrigger.PARAMETERS, spec.metadata, context.auth)
        given.finish("external")
        operation = given.text("operationOverTime")
        return cls(
            metric_query=given.text("metricQuery"),
            target_value=given.number("targetValue"),
            # the add-on warns in its log and takes the default
            operation_over_time=operation if operation in OPERATIONS else "last_one",
            clamp_min=_clamp(given.get("clampMin")),
            clamp_max=_clamp(given.get("clampMax")),
        )

    def clamped(self, value: float) -> float:
        """*value* between ``clampMin`` and ``clampMax``."""
        if self.clamp_min is not None:
            value = max(value, self.clamp_min)
        return value if self.clamp_max is None else min(value, self.clamp_max)


class OpenTelemetryTrigger:
    """A query to the otel add-on."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("scalerAddress", "of the add-on; its Service is here", required=True),
        parameter(
            "metricQuery", "one metric: `sum(name{label=value})`, or avg, min, max, count",
            required=True,
        ),
        parameter("targetValue", "the target", "float64", required=True),
        parameter(
            "operationOverTime",
            f"what a series of two minutes becomes: {', '.join(OPERATIONS)}; another is last_one",
            default="last_one",
        ),
        parameter("clampMin", "a lesser value is this one; above 0 the trigger is always active"),
        parameter("clampMax", "a greater value is this one"),
    )  # fmt: skip

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        self.parameters = OpenTelemetryParameters.read(spec, context)
        self._store = context.pushed
        self._metric_name = metric_name(spec, f"{context.namespace}-{context.name}")

    @property
    def metric_name(self) -> str:
        """The add-on names it after the ScaledObject: s0-default-llama."""
        return self._metric_name

    @property
    def target(self) -> float:
        """``targetValue``."""
        return self.parameters.target_value

    async def read(self, now: float) -> TriggerReading:
        """What was pushed, reduced to one number; nothing of that name is 0."""
        parameters = self.parameters
        source = f"{parameters.metric_query} {parameters.operation_over_time}"
        reading = unread(self.spec, self._metric_name, self.target, source)
        if self._store is None:
            return replace(reading, error="nothing is pushed here", answer="no answer")
        try:
            query = MetricQuery.parse(parameters.metric_query)
        except InputError as error:
            problem = f"error getting external metrics from scaler: {error.message}"
            hint = "write one metric with labels, such as sum(name{label=value})"
            return replace(reading, error=problem, answer=hint)
        found = self._store.get(query, parameters.operation_over_time, now)
        raw, count = (0.0, 0) if found is None else found
        value = max(parameters.clamped(raw), 0.0)  # KEDA takes what is negative for 0
        told = f"{count} series" if found is not None else "never pushed, counts as 0"
        return replace(reading, value=value, active=value > 0, answer=f"{value:g} ({told})")

    async def close(self) -> None:
        """Nothing is held."""


def _clamp(text: str | None) -> float | None:
    """A bound; what is no number is none, as in the add-on."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
