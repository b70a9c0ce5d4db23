"""What KServe takes no notice of in an InferenceService that it accepts.

Source: the reconcilers and the pod webhook of KServe 0.20, as read; its issue #6169 for the type of
a target.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stoker.resources.document import Path
from stoker.resources.kserve import names
from stoker.resources.kserve.inferenceservice import MetricTarget
from stoker.resources.kserve.podtemplate import Component
from stoker.resources.kserve.scaling import metrics_of
from stoker.resources.translation import Ignored

_PREDICTOR: Final[Path] = ("spec", "predictor")
_SCALING: Final[Path] = (*_PREDICTOR, "autoScaling")
_BEHAVIOR: Final[Path] = (*_SCALING, "behavior")
_QUEUE_PROXY = {False: "9091", True: "9088"}  # by whether metrics are aggregated


def ignored(component: Component) -> Iterator[Ignored]:
    """Everything that KServe leaves out, a sentence each."""
    if component.autoscaler_class == "keda":
        yield from _ignored_with_keda(component)
    elif component.autoscaler_class in {"external", "none"}:
        yield from _ignored_without_autoscaler(component)
    elif component.autoscaler_class == "hpa":
        yield from _ignored_with_hpa(component)
    yield from _scrape_port(component)


def _notice(
    component: Component, rule: str, path: Path, text: tuple[str, str, str], *, key: bool = True
) -> Ignored:
    place = component.manifest.place(*path, key=key)
    about = f"{component.manifest.kind} {component.manifest.name}"
    return Ignored(rule, *text, place, about)


def _ignored_with_keda(component: Component) -> Iterator[Ignored]:
    for index, item in enumerate(metrics_of(component.predictor)):
        source = item.external or item.podmetric
        if source is None or item.type == "Resource":
            continue
        path = (*_SCALING, "metrics", index, "external" if item.external else "podmetric")
        yield from _ignored_target(component, source.target, (*path, "target"))
        if item.podmetric is not None and not _is_bare(item.podmetric.metric.query):
            text = (
                f"the query `{item.podmetric.metric.query}` is not a metric's name",
                (
                    "KServe puts labels behind it and sum() around it; the add-on cannot read the "
                    "result, so nothing is scaled"
                ),
                "write the name alone: KServe sums it over the replicas of this service",
            )
            where = (*path, "metric", "query")
            yield _notice(component, "pod-metric-not-a-name", where, text, key=False)
    behavior = (component.written.get("autoScaling") or {}).get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        for key in ("policies", "selectPolicy", "tolerance"):
            if (behavior.get(direction) or {}).get(key):
                text = (
                    f"{direction}.{key} is ignored",
                    (
                        "Of behavior KServe copies stabilizationWindowSeconds into the "
                        "ScaledObject, and nothing else"
                    ),
                    (
                        f'annotate it with {names.AUTOSCALER_CLASS}: "external" and write a '
                        "ScaledObject beside it"
                    ),
                )
                where = (*_BEHAVIOR, direction, key)
                yield _notice(component, "behavior-dropped", where, text)
    if component.predictor.scale_target is not None:
        text = (
            "scaleTarget has no effect with KEDA",
            "KServe's KEDA reconciler reads autoScaling.metrics alone",
            "the target of a metric in autoScaling.metrics",
        )
        yield _notice(component, "scale-target-ignored", (*_PREDICTOR, "scaleTarget"), text)


def _ignored_target(component: Component, target: MetricTarget, path: Path) -> Iterator[Ignored]:
    if target.type not in {"Value", "Utilization"} and not _differs(target):
        return
    if target.type == "AverageValue":
        text = (
            f"averageValue {target.average_value} is ignored",
            f"KServe takes the threshold from value, which is {target.value}",
            f'value: "{target.average_value}"',
        )
        yield _notice(component, "target-type-ignored", (*path, "averageValue"), text)
        return
    text = (
        f"target type {target.type} is ignored",
        (
            "KServe gives the trigger no metricType, and KEDA's default is AverageValue: the "
            f"query's result is shared among the replicas, {target.value} for each"
        ),
        "write the query as a total over the replicas, and type: AverageValue to say what happens",
    )
    yield _notice(component, "target-type-ignored", (*path, "type"), text)


def _differs(target: MetricTarget) -> bool:
    return target.type == "AverageValue" and target.average_value != target.value


def _is_bare(query: str) -> bool:
    return bool(query) and all(one.isalnum() or one in "_:" for one in query)


def _ignored_without_autoscaler(component: Component) -> Iterator[Ignored]:
    written, name = component.written, component.autoscaler_class
    for key in ("autoScaling", "scaleTarget", "scaleMetric"):
        if written.get(key) is not None:
            text = (
                f"{key} has no effect with autoscalerClass {name}",
                "KServe makes neither a ScaledObject nor an HPA for this class",
                f'{names.AUTOSCALER_CLASS}: "keda"',
            )
            yield _notice(component, "autoscaling-ignored", (*_PREDICTOR, key), text)


def _ignored_with_hpa(component: Component) -> Iterator[Ignored]:
    if (component.written.get("autoScaling") or {}).get("behavior"):
        text = (
            "behavior is ignored with autoscalerClass hpa",
            "KServe makes the HPA with an empty behavior, which the API server fills in",
            f'{names.AUTOSCALER_CLASS}: "keda" for its windows',
        )
        yield _notice(component, "behavior-dropped", _BEHAVIOR, text)
    if component.predictor.min_replicas == 0:
        text = (
            "minReplicas 0 is 1 with autoscalerClass hpa",
            "KServe writes at least 1 into the HPA: an HPA does not scale to zero",
            f'{names.AUTOSCALER_CLASS}: "keda"',
        )
        yield _notice(component, "min-replicas-not-zero", (*_PREDICTOR, "minReplicas"), text)


def _scrape_port(component: Component) -> Iterator[Ignored]:
    """The pod webhook writes the port of a container that Standard mode does not have."""
    annotations = component.annotations
    port = annotations.get(names.SCRAPE_PORT)
    if annotations.get(names.ENABLE_SCRAPING) != "true" or port is None:
        return
    written = _QUEUE_PROXY[annotations.get(names.ENABLE_AGGREGATION) == "true"]
    if port == written:
        return
    text = (
        f"{names.SCRAPE_PORT} {port} is overwritten with {written}",
        (
            f"With {names.ENABLE_SCRAPING} KServe's pod webhook writes the port of Knative's "
            "queue-proxy. In Standard mode there is none, so nothing answers and the query is empty"
        ),
        f"leave {names.ENABLE_SCRAPING} out: the prometheus.io annotations alone are enough",
    )
    own = component.predictor.annotations or {}
    where: Path = ("metadata", "annotations", names.SCRAPE_PORT)
    if names.SCRAPE_PORT in own:
        where = (*_PREDICTOR, "annotations", names.SCRAPE_PORT)
    yield _notice(component, "scrape-port-overwritten", where, text)
