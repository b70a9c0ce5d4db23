"""The metrics of an HPA that a user wrote, each asked as the controller asks its API.

cpu and memory come from what pods use. Pods and Object metrics come from a metrics adapter; there
is none on one machine, so the embedded Prometheus answers as prometheus-adapter's default rules
would have it asked: the series of the metric's name with the labels of pod or object, or the rate
over five minutes of the counter NAME_total. Of the series of vLLM, whose names have a colon, both
``vllm:NAME`` and ``vllm_NAME`` work, as the rule in the documents of the production-stack has it.
External metrics are made by nobody: KEDA makes them, of a ScaledObject.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stoker.errors import StokerError
from stoker.scaling import numbers
from stoker.scaling.observation import EACH_POD, CustomMetric, TriggerReading
from stoker.scaling.spec import HpaMetric, TriggerSpec
from stoker.triggers.base import QueryFunction, TriggerContext, with_usage

NO_SUCH_API = "no such API"  # in the place of an answer
_RATE = "5m"  # the window of prometheus-adapter's rule for counters
_OPERATORS = {"In": "=~", "NotIn": "!~"}


class HpaMetricTrigger:
    """One item of ``spec.metrics``."""

    def __init__(self, spec: TriggerSpec, metric: HpaMetric, context: TriggerContext) -> None:
        self.spec = spec
        self.metric = metric
        self._context = context

    @property
    def metric_name(self) -> str:
        """As the user wrote it."""
        return self.metric.name

    @property
    def target(self) -> float:
        """What the value is compared with; 0 where the controller finds nothing to compare."""
        return self.metric.target or 0.0

    async def read(self, now: float) -> TriggerReading:
        """Ask the API of the metric's type at *now*."""
        metric = self.metric
        reading = TriggerReading(
            index=self.spec.index,
            metric_name=metric.name,
            value=None,
            target=self.target,
            metric_type=metric.target_type,
            type=metric.type,
            source=metric.name,
        )
        if metric.type in {"Resource", "ContainerResource"}:
            of = f"{metric.name} of container {metric.container}"
            reading = replace(reading, source=of if metric.container else metric.name)
            return with_usage(reading, self._context.pod_usage, metric.container, now)
        custom = CustomMetric(metric.type, go_selector(metric), _described(metric))
        reading = replace(reading, custom=custom, source=self._source())
        if metric.target is None:
            what = metric.type.lower()
            message = (
                f"invalid {what} metric source: neither a value target nor an average value target "
                "was set"
            )
            return replace(reading, error=message)
        return await self._asked(reading, custom, now)

    async def close(self) -> None:
        """Nothing is held."""

    def _source(self) -> str:
        """What is asked: a query, or the name of an External metric."""
        if self.metric.type == "External":
            return self.metric.name
        return adapter_query(self.metric, self._context.namespace)

    async def _asked(
        self, reading: TriggerReading, custom: CustomMetric, now: float
    ) -> TriggerReading:
        ask = self._context.metrics_adapter
        if custom.kind == "External":
            ask = self._context.external_metrics
        if ask is None:
            return replace(reading, error=self._no_api(), answer=NO_SUCH_API)
        try:
            elements = await _elements(ask, reading.source, now)
            if not elements and custom.kind != "External":
                rate = adapter_query(self.metric, self._context.namespace, counter=True)
                reading = replace(reading, source=rate)
                elements = await _elements(ask, rate, now)
        except StokerError as error:
            return replace(reading, error=error.message, answer=error.hint or "no answer")
        if not elements:
            return replace(reading, error=self._not_found(), answer="nothing")
        pods = tuple((pod, milli) for pod, milli in elements)
        values = tuple(milli for _, milli in elements)
        total = sum(values) / 1000
        if custom.kind != "Pods":
            custom = replace(custom, milli=values)
            return replace(reading, custom=custom, value=total, answer=numbers.plain(total))
        mean = total / len(values)
        shown = f"{numbers.plain(mean)} on average of {len(values)} pods"
        answer = numbers.plain(mean) if pods[0][0] == EACH_POD else shown
        return replace(reading, custom=replace(custom, pods=pods), value=mean, answer=answer)

    def _no_api(self) -> str:
        group = "external" if self.metric.type == "External" else "custom"
        return (
            "the server could not find the requested resource "
            f"(get {self.metric.name}.{group}.metrics.k8s.io)"
        )

    def _not_found(self) -> str:
        name = self.metric.name
        if self.metric.type == "External":
            return f"no metrics returned from external metrics API: nothing for {name}"
        about = self.metric.described_object
        if about is None:
            return f"the server could not find the metric {name} for pods"
        return f"the server could not find the metric {name} for {about.kind.lower()}s {about.name}"


def _described(metric: HpaMetric) -> tuple[str, str]:
    about = metric.described_object
    return (about.kind, about.name) if about else ("", "")


def adapter_query(metric: HpaMetric, namespace: str, *, counter: bool = False) -> str:
    """What prometheus-adapter would ask for a Pods or an Object metric, by its default rules."""
    about = metric.described_object
    group = "pod" if about is None else about.kind.lower()
    # a Namespace is its own place
    labels = [] if group == "namespace" else [f"namespace={_quoted(namespace)}"]
    if about is not None:
        labels.append(f"{group}={_quoted(about.name)}")
    labels += _matchers(metric)
    if counter:
        return f"sum by ({group}) (rate({_series(f'{metric.name}_total', labels)}[{_RATE}]))"
    return f"sum by ({group}) ({_series(metric.name, labels)})"


def _series(name: str, labels: list[str]) -> str:
    if not name.startswith("vllm_"):
        return _named(name, labels)
    both = f"{name}|vllm:{name.removeprefix('vllm_')}"
    return "{" + ", ".join([f"__name__=~{_quoted(both)}", *labels]) + "}"


def _named(name: str, labels: list[str]) -> str:
    return "{" + ", ".join([f"__name__={_quoted(name)}", *labels]) + "}"


def _matchers(metric: HpaMetric) -> list[str]:
    """The selector of the metric as PromQL."""
    found = [f"{key}={_quoted(value)}" for key, value in (metric.match_labels or {}).items()]
    for key, operator, values in metric.match_expressions:
        if operator in _OPERATORS:
            found.append(f"{key}{_OPERATORS[operator]}{_quoted('|'.join(values))}")
        else:  # Exists, DoesNotExist
            found.append(f'{key}{"!=" if operator == "Exists" else "="}""')
    return found


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


async def _elements(ask: QueryFunction, query: str, now: float) -> list[tuple[str, int]]:
    """Pod (or nothing) and thousandths of each element of a vector; others give none."""
    answer = await ask(query, now)
    if answer.result_type != "vector":
        return []
    items: Iterable[Mapping[str, Any]] = answer.result
    return [
        (str(item["metric"].get("pod", EACH_POD)), _milli(float(item["value"][1])))
        for item in items
    ]


def _milli(value: float) -> int:
    """Thousandths as prometheus-adapter makes them: cut, and 0 for what is no number."""
    return 0 if math.isnan(value) else numbers.int64(value * 1000.0)


def go_selector(metric: HpaMetric) -> str:
    """The selector of a metric as Go prints it into conditions and events."""
    if metric.match_labels is None:
        return "nil"
    labels = "".join(f"{key}: {metric.match_labels[key]}," for key in sorted(metric.match_labels))
    expressions = "".join(
        "LabelSelectorRequirement{" + f"Key:{key},Operator:{operator},Values:[{' '.join(values)}],"
        "},"
        for key, operator, values in metric.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
