"""A stored ScaledObject as KEDA reads it, and the HPA that it would become."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from stoker.errors import InputError
from stoker.resources.quantity import canonical_quantity
from stoker.scaling import annotations as names
from stoker.scaling import numbers
from stoker.scaling.modifiers import check_formula
from stoker.scaling.spec import (
    RESOURCE_TRIGGERS,
    MetricType,
    ScaleTargetRef,
    ScalingSpec,
    TriggerSpec,
)
from stoker.triggers.base import TriggerContext
from stoker.triggers.registry import SUPPORTED, build_trigger

LONGEST_NAME: Final = 63  # of a label's value, which names become
_UNCACHED = RESOURCE_TRIGGERS | {"cron"}

_GO_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_GO_SPECIAL = re.compile(r"[-+]?(?:inf|infinity)|nan", re.IGNORECASE)


def _go_float(text: str) -> float | None:
    """A number as Go's ParseFloat reads it; None: it is none, or out of range."""
    if _GO_SPECIAL.fullmatch(text):
        return float(text)
    number = float(text) if _GO_FLOAT.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None


def _metric_type(text: object) -> MetricType:
    return next((kind for kind in MetricType if kind == text), MetricType.AVERAGE_VALUE)


@dataclass(frozen=True, slots=True)
class View:
    """A stored ScaledObject, read where a rule needs it. The API server has checked its types."""

    stored: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        """``spec``."""
        spec: Mapping[str, Any] = self.stored["spec"]
        return spec

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return str(self.stored["metadata"]["name"])

    @property
    def annotations(self) -> Mapping[str, str]:
        """``metadata.annotations``, empty where there are none."""
        return self.stored["metadata"].get("annotations") or {}

    @property
    def triggers(self) -> list[dict[str, Any]]:
        """``spec.triggers``."""
        return list(self.spec["triggers"])

    @property
    def hpa_config(self) -> Mapping[str, Any]:
        """``advanced.horizontalPodAutoscalerConfig``, empty where there is none."""
        advanced: Mapping[str, Any] = self.spec.get("advanced") or {}
        return advanced.get("horizontalPodAutoscalerConfig") or {}

    @property
    def modifiers(self) -> Mapping[str, str]:
        """What is not empty of ``scalingModifiers``."""
        written = (self.spec.get("advanced") or {}).get("scalingModifiers") or {}
        return {key: value for key, value in written.items() if value}

    @property
    def hpa_name(self) -> str:
        """The name of the HPA that KEDA makes."""
        return self.hpa_config.get("name") or f"keda-hpa-{self.name}"

    @property
    def target(self) -> ScaleTargetRef:
        """``scaleTargetRef`` with its defaults."""
        written = self.spec["scaleTargetRef"]
        return ScaleTargetRef(
            written["name"], written.get("kind") or "Deployment",
            written.get("apiVersion") or "apps/v1",
        )  # fmt: skip

    @property
    def has_only_resource_triggers(self) -> bool:
        """Whether KEDA has nothing to poll."""
        return all(trigger["type"] in RESOURCE_TRIGGERS for trigger in self.triggers)

    @property
    def is_paused(self) -> bool:
        """Whether an annotation has KEDA take the HPA away."""
        return names.is_paused(self.scaling_spec())

    def context(self) -> TriggerContext:
        """What triggers need to be built, and nothing to read with."""
        namespace = self.stored["metadata"].get("namespace") or "default"
        return TriggerContext(query_for=lambda _: None, namespace=namespace, name=self.name)

    def scaling_spec(self) -> ScalingSpec:
        """As far as annotations are concerned."""
        return ScalingSpec(
            self.name, self.target, (), annotations=MappingProxyType(dict(self.annotations))
        )

    def trigger_specs(self) -> tuple[TriggerSpec, ...]:
        """The triggers, those with a metricType that there is not as AverageValue."""
        return tuple(
            TriggerSpec(
                index,
                trigger["type"],
                MappingProxyType(dict(trigger["metadata"])),
                name=trigger.get("name") or "",
                metric_type=_metric_type(trigger.get("metricType")),
            )
            for index, trigger in enumerate(self.triggers)
        )

    def replica_refusals(self) -> Iterator[str]:
        """``idleReplicaCount`` must be below the minimum, where an explicit 0 counts as 1."""
        least, idle = self.spec.get("minReplicaCount"), self.spec.get("idleReplicaCount")
        floor = 0 if least is None else max(least, 1)
        if idle is not None and idle >= floor:
            yield f"IdleReplicaCount={idle} must be less than MinReplicaCount={floor}"

    def trigger_refusals(self) -> Iterator[str]:
        """Names given twice, a cache where there is none, Utilization of what is no resource."""
        seen: set[str] = set()
        for trigger in self.triggers:
            kind, name = trigger["type"], trigger.get("name") or ""
            if trigger.get("useCachedMetrics") and kind in _UNCACHED:
                yield f'property "useCachedMetrics" is not supported for "{kind}" scaler'
            if name and name in seen:
                yield f'triggerName "{name}" is defined multiple times in the ScaledObject'
            if trigger.get("metricType") == "Utilization" and kind not in RESOURCE_TRIGGERS:
                yield f"metric type Utilization is not supported for {kind}"
            seen.add(name)

    def modifier_refusals(self, *, of_operator: bool = False) -> Iterator[str]:
        """A formula that does not compile, a target that is no number above 0."""
        if not self.modifiers:
            return
        formula, target = self.modifiers.get("formula"), self.modifiers.get("target")
        if not formula:
            if not of_operator:
                yield "error ScalingModifiers.Formula is mandatory"
            return
        if not target:
            yield "formula is given but target is empty"
            return
        usable = (t.get("name") for t in self.triggers if t["type"] not in RESOURCE_TRIGGERS)
        try:
            check_formula(formula, frozenset(name for name in usable if name))
        except InputError as error:
            yield f"error validating formula in ScalingModifiers\n{error.message}"
        number = _go_float(target)
        if number is None or number <= 0:
            yield "error converting target for scalingModifiers (string->float) to valid target"

    def autoscaler(self) -> dict[str, Any]:
        """The HPA that KEDA would create. Every trigger can be built."""
        reference = self.target
        spec: dict[str, Any] = {
            "scaleTargetRef": {
                "kind": reference.kind, "name": reference.name,
                "apiVersion": reference.api_version,
            },
            "minReplicas": max(self.spec.get("minReplicaCount") or 0, 1),
            "maxReplicas": self.spec.get("maxReplicaCount", 100),
            "metrics": sorted(self._metrics(), key=lambda metric: str(metric["type"])),
        }  # fmt: skip
        behavior = self._behavior()
        if behavior is not None:
            spec["behavior"] = behavior
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.hpa_name},
            "spec": spec,
        }

    def _behavior(self) -> dict[str, Any] | None:
        """As written, without empty lists, which KEDA's client drops; with paused directions."""
        written = self.hpa_config.get("behavior")
        paused = [
            key
            for key, annotation in (
                ("scaleDown", names.PAUSED_SCALE_IN), ("scaleUp", names.PAUSED_SCALE_OUT),
            )
            if names.is_on(self.scaling_spec(), annotation)
        ]  # fmt: skip
        if written is None and not paused:
            return None
        behavior = {
            key: {field: value for field, value in rules.items() if value != []}
            for key, rules in (written or {}).items()
        }
        for key in paused:
            behavior[key] = {**behavior.get(key, {}), "selectPolicy": "Disabled"}
        return behavior

    def _metrics(self) -> Iterator[dict[str, Any]]:
        is_composite = bool(self.modifiers.get("formula"))
        resources = [t for t in self.trigger_specs() if t.type in RESOURCE_TRIGGERS]
        for trigger, written in zip(self.trigger_specs(), self.triggers, strict=True):
            if trigger not in resources and not is_composite:
                kind = written.get("metricType") or "AverageValue"
                yield self._external_metric(f"s{trigger.index}-{trigger.type}", kind, trigger)
        if is_composite:
            target = _go_float(self.modifiers["target"]) or 0.0
            milli = numbers.int64(target * 1000)
            kind = self.modifiers.get("metricType") or "AverageValue"
            yield self._external("composite-metric", kind, f"{milli}m")
        yield from map(self._resource_metric, resources)

    def _external_metric(self, name: str, kind: str, trigger: TriggerSpec) -> dict[str, Any]:
        target = 1.0
        if trigger.type in SUPPORTED:
            built = build_trigger(trigger, self.context())
            name, target = built.metric_name, built.target
        return self._external(name, kind, f"{target:.3f}" if math.isfinite(target) else "0")

    def _external(self, name: str, kind: str, quantity: str) -> dict[str, Any]:
        key = "value" if kind == "Value" else "averageValue"
        selector = {"matchLabels": {"scaledobject.keda.sh/name": self.name}}
        target = {"type": kind, key: canonical_quantity(quantity)}
        metric = {"name": name, "selector": selector}
        return {"type": "External", "external": {"metric": metric, "target": target}}

    @staticmethod
    def _resource_metric(trigger: TriggerSpec) -> dict[str, Any]:
        text = trigger.metadata.get("value", "").strip()
        if trigger.metric_type is MetricType.UTILIZATION:
            target: dict[str, Any] = {"type": "Utilization", "averageUtilization": int(text)}
        else:
            target = {"type": "AverageValue", "averageValue": text}
        container = trigger.metadata.get("containerName", "").strip()
        source = {"name": trigger.type, "target": target}
        if container:
            return {
                "type": "ContainerResource",
                "containerResource": {**source, "container": container},
            }
        return {"type": "Resource", "resource": source}
