"""KEDA's five calls.

What real KEDA does with the answers shapes them. Names and targets reach the HPA once, so they
never change. GetMetricSpec fails for nothing that may pass: that would break an object with a
fallback silently. GetMetrics fails when a source does: that engages the fallback. A value goes out
as a double and as an integer, and as 0 in both when it is not above 0. A pushed ``false`` does
nothing in KEDA: polling says it, too.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

import grpc

from stoker.clock import Clock
from stoker.protocols.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from stoker.scaler.sampling import Sampler, ServedMetric

SCALED_OBJECT: Final = "scaledObject"  # keys of the trigger's metadata
TRIGGER: Final = "trigger"
REFRESH: Final = 60.0  # seconds after which a stream says `true` again, should one have been lost


class ScalerService:
    """Answers from samples. :meth:`end_streams` lets KEDA's streams end without an error."""

    def __init__(self, samplers: Iterable[Sampler], clock: Clock) -> None:
        self.samplers = {sampler.name: sampler for sampler in samplers}
        self.calls: Counter[tuple[str, str]] = Counter()  # by method and gRPC code
        self.streams = 0
        self._clock = clock
        self._ended = asyncio.Event()

    def end_streams(self) -> None:
        """End all streams; new ones end at once."""
        self._ended.set()

    # -- the calls -------------------------------------------------------------------------------

    async def get_metric_spec(
        self, request: ScaledObjectRef, context: Any
    ) -> GetMetricSpecResponse:
        """Names and targets."""
        _, metrics = await self._chosen("GetMetricSpec", request, context)
        self.calls["GetMetricSpec", "OK"] += 1
        return specs_of(metrics)

    async def get_metrics(self, request: GetMetricsRequest, context: Any) -> GetMetricsResponse:
        """The newest value of one metric."""
        call = "GetMetrics"
        sampler, metrics = await self._chosen(call, request.scaledObjectRef, context)
        named = [metric for metric in metrics if metric.name == request.metricName]
        if not named:
            names = ", ".join(metric.name for metric in metrics)
            problem = f"no metric `{request.metricName}`, there are: {names}"
            await self._refuse(call, context, grpc.StatusCode.NOT_FOUND, problem)
        sample = sampler.newest(named[0], self._clock.now())
        if sample.value is None:
            await self._refuse(call, context, grpc.StatusCode.UNAVAILABLE, sample.error)
        self.calls[call, "OK"] += 1
        return GetMetricsResponse(metricValues=[value_of(named[0].name, sample.value or 0.0)])

    async def is_active(self, request: ScaledObjectRef, context: Any) -> IsActiveResponse:
        """Whether one of the metrics is active."""
        call = "IsActive"
        sampler, metrics = await self._chosen(call, request, context)
        now = self._clock.now()
        samples = [sampler.newest(metric, now) for metric in metrics]
        active = any(sample.active for sample in samples)
        failed = [sample for sample in samples if sample.value is None]
        if failed and not active:
            await self._refuse(call, context, grpc.StatusCode.UNAVAILABLE, failed[0].error)
        self.calls[call, "OK"] += 1
        return IsActiveResponse(result=active)

    async def stream_is_active(
        self, request: ScaledObjectRef, context: Any
    ) -> AsyncIterator[IsActiveResponse]:
        """What is, at once, then every change, and now and then that it is still active."""
        sampler, metrics = await self._chosen("StreamIsActive", request, context)
        self.calls["StreamIsActive", "OK"] += 1
        changed = asyncio.Event()
        unwatch = sampler.watch(changed.set)
        self.streams += 1
        told: bool | None = None
        told_at = -math.inf
        try:
            while not self._ended.is_set():
                changed.clear()
                now = self._clock.now()
                active = any(sampler.active(metric, now) for metric in metrics)
                if active != told or (active and now - told_at >= REFRESH):
                    told, told_at = active, now
                    yield IsActiveResponse(result=active)
                await self._wait(changed)
        finally:
            self.streams -= 1
            unwatch()

    async def stream_metric_spec(
        self, request: ScaledObjectRef, context: Any
    ) -> AsyncIterator[GetMetricSpecResponse]:
        """Names and targets once: they do not change."""
        _, metrics = await self._chosen("StreamMetricSpec", request, context)
        self.calls["StreamMetricSpec", "OK"] += 1
        self.streams += 1
        try:
            yield specs_of(metrics)
            await self._ended.wait()
        finally:
            self.streams -= 1

    # -- what is asked for -----------------------------------------------------------------------

    async def _chosen(
        self, call: str, request: ScaledObjectRef, context: Any
    ) -> tuple[Sampler, Sequence[ServedMetric]]:
        try:
            return choose(self.samplers, request.name, request.scalerMetadata)
        except LookupError as error:
            await self._refuse(call, context, grpc.StatusCode.NOT_FOUND, str(error.args[0]))
            raise  # the refusal has raised already

    async def _refuse(self, call: str, context: Any, code: grpc.StatusCode, why: str) -> None:
        self.calls[call, code.name] += 1
        await context.abort(code, why)

    async def _wait(self, changed: asyncio.Event) -> None:
        """For a change, the end, or the time at which `true` is said again."""
        waits = [asyncio.ensure_future(one.wait()) for one in (changed, self._ended)]
        try:
            await asyncio.wait(waits, timeout=REFRESH, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


def choose(
    samplers: Mapping[str, Sampler], caller: str, metadata: Mapping[str, str]
) -> tuple[Sampler, Sequence[ServedMetric]]:
    """What a trigger's metadata asks for.

    ``scaledObject`` defaults to the name of the one that asks, then to the only one there is;
    ``trigger`` to all. Raises LookupError.
    """
    wanted = metadata.get(SCALED_OBJECT, "").strip() or caller
    sampler = samplers.get(wanted)
    if sampler is None and not metadata.get(SCALED_OBJECT) and len(samplers) == 1:
        (sampler,) = samplers.values()
    if sampler is None:
        raise LookupError(
            f"no ScaledObject `{wanted}` is served here, there are: {', '.join(samplers)}; "
            f"write `{SCALED_OBJECT}` into the trigger's metadata"
        )
    key = metadata.get(TRIGGER, "").strip()
    if not key:
        return sampler, sampler.metrics
    found = [metric for metric in sampler.metrics if key in {metric.key, metric.name}]
    if not found:
        keys = ", ".join(metric.key for metric in sampler.metrics)
        raise LookupError(f"{sampler.name} has no trigger `{key}`, there are: {keys}")
    return sampler, found


def specs_of(metrics: Iterable[ServedMetric]) -> GetMetricSpecResponse:
    """Targets as doubles, and as integers for what knows only those."""
    return GetMetricSpecResponse(
        metricSpecs=[
            MetricSpec(
                metricName=metric.name,
                targetSize=_whole(metric.target),
                targetSizeFloat=metric.target,
            )
            for metric in metrics
        ]
    )


def value_of(name: str, value: float) -> MetricValue:
    """A value that KEDA reads as it is meant: what is not above 0, or no number, is 0 in both."""
    if not math.isfinite(value) or value <= 0:
        return MetricValue(metricName=name, metricValue=0, metricValueFloat=0.0)
    return MetricValue(metricName=name, metricValue=_whole(value), metricValueFloat=value)


def _whole(value: float) -> int:
    """The nearest integer, and at least 1 of what is above 0."""
    return min(max(round(value), 1 if value > 0 else 0), 2**62)
