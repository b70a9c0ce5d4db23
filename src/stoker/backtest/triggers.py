"""Triggers of any type, answered by recorded metrics in the place of their sources.

A prometheus trigger evaluates its own query or takes a recorded answer, cron looks at the time.
Every other type needs a column of values: how it would have asked does not matter then, only the
name of its metric, its target and its activation value. cpu and memory take percent of the request
under Utilization, else cores or bytes a pod. A metric of a user's HPA is called by its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from stoker.backtest.metrics import Recorded
from stoker.errors import InputError, StokerError
from stoker.scaling import numbers
from stoker.scaling.observation import (
    PodUsage,
    ResourceUsage,
    TargetStatus,
    TriggerReading,
)
from stoker.scaling.spec import RESOURCE_TRIGGERS, MetricType, ScalingSpec, TriggerSpec
from stoker.triggers.base import QueryFunction, Trigger, TriggerContext, unread
from stoker.triggers.registry import SUPPORTED, build_trigger

RECORDED = ("prometheus",)  # types whose own query can be evaluated on raw series
FROM_TIME = ("cron",)  # types that need nothing but the time
_RESOURCES = RESOURCE_TRIGGERS | {"Resource", "ContainerResource"}
_REQUEST = 1_000_000_000  # thousandths that a pod requests, so that percent have no rounding
# in the place of addresses and credentials, which a backtest has none of
_SOMETHING = ("recorded:1", "http://recorded:1", "amqp://recorded:1/vhost")
_TARGETS = (  # of types that are not built here, in the order of how common they are
    "threshold", "value", "targetValue", "target", "targetSize", "lagThreshold", "queueLength",
    "listLength", "targetQueueLength", "desiredReplicas",
)  # fmt: skip


def is_recorded(trigger: TriggerSpec) -> bool:
    """Whether metrics answer it; the others need only the time."""
    return trigger.type not in FROM_TIME


def triggers_of(
    spec: ScalingSpec,
    metrics: Recorded | None,
    status: Callable[[float], TargetStatus],
    targets: Mapping[str, float] | None = None,
    own: Callable[[TriggerSpec], Trigger | None] = lambda _: None,
) -> tuple[Trigger, ...]:
    """The file's own triggers, each asking *metrics*.

    Args:
        spec: what scales.
        metrics: None to ask for names and targets only.
        status: the pods at a time, for cpu and memory.
        targets: of triggers whose file does not say it, by the name of the trigger or its metric.
        own: those that need no *metrics*.

    Raises:
        InputError: a trigger cannot be built, or nothing was recorded for it.
    """
    recorded = sum(map(is_recorded, spec.triggers))
    built: list[Trigger] = []
    for trigger in spec.triggers:
        if (known := own(trigger)) is not None:
            built.append(known)
            continue
        query = None
        if metrics is not None and is_recorded(trigger):
            query = metrics.query_for(trigger, recorded)
        built.append(_build(spec, trigger, query, status, targets or {}))
    return tuple(built)


def _build(
    spec: ScalingSpec,
    trigger: TriggerSpec,
    query: QueryFunction | None,
    status: Callable[[float], TargetStatus],
    targets: Mapping[str, float],
) -> Trigger:
    context = TriggerContext(
        query_for=lambda _: query,
        namespace=spec.namespace,
        name=spec.name,
        metrics_adapter=query,
        external_metrics=query,
    )
    if trigger.type in (*RECORDED, *FROM_TIME):
        return build_trigger(trigger, _with_credentials(trigger, context))
    if trigger.type in _RESOURCES:
        return _RecordedUsage(trigger, context, query, status)
    if trigger.metric is not None:
        return build_trigger(trigger, context)
    name, target = _name_and_target(trigger, context, targets)
    return _RecordedValue(trigger, name, target, query)


def _with_credentials(
    trigger: TriggerSpec, context: TriggerContext, something: str = _SOMETHING[0]
) -> TriggerContext:
    """*something* in the place of whatever a TriggerAuthentication or a variable would give."""
    env = {v: something for k, v in trigger.metadata.items() if k.endswith("FromEnv")}
    auth = {}
    kind = SUPPORTED.get(trigger.type)
    if trigger.authentication_ref is not None and kind is not None:
        given = [name for one in kind.PARAMETERS for name in one.names if name in _SECRETS]
        auth = dict.fromkeys(given, something)
    return replace(context, env=env, auth=auth)


_SECRETS = ("bearerToken", "username", "password", "customAuthHeader", "customAuthValue")


def _name_and_target(
    trigger: TriggerSpec, context: TriggerContext, targets: Mapping[str, float]
) -> tuple[str, float]:
    """The metric's name as KEDA has it, and what its value is compared with."""
    name, target = f"s{trigger.index}-{trigger.type}", 0.0
    for something in _SOMETHING if trigger.type in SUPPORTED else ():
        with suppress(InputError):  # for want of an address, which a backtest does not need
            built = build_trigger(trigger, _with_credentials(trigger, context, something))
            name, target = built.metric_name, built.target
            break
    given = (targets[key] for key in (trigger.name, name) if key in targets)
    target = next(given, target) or _written_target(trigger)
    if target <= 0:
        known = trigger.name or name
        raise InputError(
            f"trigger {trigger.index} ({trigger.type}) does not say its target",
            hint=f"an external scaler tells it to KEDA; say it with --target {known}=NUMBER",
        )
    return name, target


def _written_target(trigger: TriggerSpec) -> float:
    for key in _TARGETS:
        text = trigger.metadata.get(key, "").strip()
        if text:
            return _number(trigger, key, text)
    return 0.0


def _number(trigger: TriggerSpec, key: str, text: str) -> float:
    try:
        return numbers.json_number(text)
    except ValueError as error:
        raise InputError(
            f"trigger {trigger.index} ({trigger.type}): `{key}: {text}` is not a number: {error}"
        ) from None


class _RecordedValue:
    """A trigger of any type whose value is a column."""

    def __init__(
        self, spec: TriggerSpec, name: str, target: float, query: QueryFunction | None
    ) -> None:
        self.spec, self.metric_name, self.target = spec, name, target
        self._query = query
        self._activation = next(
            (_number(spec, k, v) for k, v in spec.metadata.items() if k.startswith("activation")),
            0.0,
        )

    async def read(self, now: float) -> TriggerReading:
        """The sum of the recorded elements; no sample is 0, as an empty queue would be."""
        reading = unread(self.spec, self.metric_name, self.target, self.spec.type, self._activation)
        try:
            value = await _sum(self._query, now) or 0.0
        except StokerError as error:
            return replace(reading, error=error.message, answer=error.hint or "no answer")
        return replace(
            reading, value=value, active=value > self._activation, answer=numbers.plain(value)
        )

    async def close(self) -> None:
        """Nothing is held."""


class _RecordedUsage:
    """cpu or memory: the same for each pod that there is."""

    def __init__(
        self,
        spec: TriggerSpec,
        context: TriggerContext,
        query: QueryFunction | None,
        status: Callable[[float], TargetStatus],
    ) -> None:
        self._query, self._status = query, status
        self._recorded: float | None = None
        self._by_percent = spec.metric_type is MetricType.UTILIZATION
        self._trigger = build_trigger(spec, replace(context, pod_usage=self._usage))
        self.metric_name, self.target = self._trigger.metric_name, self._trigger.target

    async def read(self, now: float) -> TriggerReading:
        """What each pod would have used."""
        try:
            self._recorded = await _sum(self._query, now)
        except StokerError:
            self._recorded = None
        return await self._trigger.read(now)

    def _usage(self, resource: str, container: str, now: float) -> ResourceUsage:
        pods = [pod.name for pod in self._status(now).pods]
        if self._recorded is None:
            return ResourceUsage(resource, now, container)
        one = self._recorded * (_REQUEST / 100 if self._by_percent else 1000)
        usages = tuple(PodUsage(pod, numbers.int64(one), now, 0.0) for pod in pods)
        requests = tuple((pod, _REQUEST) for pod in pods)
        return ResourceUsage(resource, now, container, usages, requests)

    async def close(self) -> None:
        """Nothing is held."""
        await self._trigger.close()


async def _sum(query: QueryFunction | None, now: float) -> float | None:
    """All elements of the answer together, None when there is none."""
    if query is None:
        return None
    answer = await query("", now)
    elements: Sequence[Mapping[str, tuple[float, float]]] = answer.result
    return sum(float(one["value"][1]) for one in elements) if elements else None
