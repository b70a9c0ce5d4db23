"""What a cluster refuses in a ScaledObject, beyond the shape of its fields.

Two parties look. KEDA's webhook refuses the object itself; KEDA's operator takes the object and
then makes no HPA, with Ready=False/ScaledObjectCheckFailed. They do not refuse the same things: a
name that is too long stops only at the webhook, a threshold of 0 only at the operator.

*Source*: ``scaledobject_webhook.go`` and ``ValidateTriggers`` of KEDA 2.20, and recorded answers of
both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from stoker.errors import InputError
from stoker.scaling import numbers
from stoker.scaling.annotations import PAUSED_REPLICAS, paused_replicas
from stoker.scaling.modifiers import check_formula
from stoker.scaling.spec import RESOURCE_TRIGGERS, MetricType, ScalingSpec

Path: TypeAlias = "tuple[str | int, ...]"
NameOf: TypeAlias = "Callable[[Path], str]"

_UNCACHED_TRIGGERS = RESOURCE_TRIGGERS | {"cron"}
_LONGEST_NAME = 63  # of a label's value, which both names become
FORMULA_PATH: Path = ("spec", "advanced", "scalingModifiers", "formula")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a cluster refuses the object, and the field of the ScaledObject that it is about.

    ``operator`` tells whether KEDA's operator refuses it too, where no webhook is installed.
    ``column`` is that of a formula, from 1.
    """

    message: str
    path: Path
    hint: str | None = None
    operator: bool = True
    column: int | None = None


def dotted(path: Path) -> str:
    """``spec.triggers[0].name``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def problems(spec: ScalingSpec, name: NameOf = dotted) -> tuple[Problem, ...]:
    """Everything that a cluster would refuse in *spec*; *name* says how the user calls a field."""
    return tuple(problem for rule in _RULES for problem in rule(spec, name))


def _replica_bounds(spec: ScalingSpec, name: NameOf) -> Iterator[Problem]:
    least, idle = spec.min_replica_count, spec.idle_replica_count
    least_path, idle_path = ("spec", "minReplicaCount"), ("spec", "idleReplicaCount")
    if spec.min_replicas > spec.max_replicas:
        default = " (its default)" if spec.max_replica_count is None else ""
        most = f"`{name(('spec', 'maxReplicaCount'))}` {spec.max_replicas}{default}"
        yield Problem(f"`{name(least_path)}` is {least}, more than {most}", least_path)
    # an explicit 0 counts as 1 here, as in the webhook
    floor = 0 if least is None else max(least, 1)
    if idle is not None and idle >= floor:
        message = f"`{name(idle_path)}` is {idle}, it must be less than minReplicaCount {floor}"
        hint = "minReplicaCount is left out, which is 0" if least is None else None
        yield Problem(message, idle_path, hint)


def _names(spec: ScalingSpec, _name: NameOf) -> Iterator[Problem]:
    path: Path = ("metadata", "name")
    longer = f"is longer than {_LONGEST_NAME} characters"
    if len(spec.name) > _LONGEST_NAME:
        message = f'the ScaledObject\'s name "{spec.name}" {longer}'
        yield Problem(message, path, operator=False)
    elif len(spec.hpa_name) > _LONGEST_NAME:
        hint = "shorten the name, or set advanced.horizontalPodAutoscalerConfig.name"
        message = f'the HPA\'s name "{spec.hpa_name}" {longer}'
        if spec.horizontal_pod_autoscaler_name:
            path = ("spec", "advanced", "horizontalPodAutoscalerConfig", "name")
        yield Problem(message, path, hint, operator=False)


def _triggers(spec: ScalingSpec, name: NameOf) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for trigger in spec.triggers:
        path: Path = ("spec", "triggers", trigger.index)
        if trigger.name and first.setdefault(trigger.name, trigger.index) != trigger.index:
            other = name(("spec", "triggers", first[trigger.name]))
            message = f'two triggers have the name "{trigger.name}", the other is `{other}`'
            yield Problem(message, (*path, "name"))
        if trigger.use_cached_metrics and trigger.type in _UNCACHED_TRIGGERS:
            message = f"a {trigger.type} trigger cannot use cached metrics"
            yield Problem(message, (*path, "useCachedMetrics"))
        utilization = trigger.metric_type is MetricType.UTILIZATION
        if utilization and trigger.type not in RESOURCE_TRIGGERS:
            message = f"metricType Utilization is for cpu and memory, not for {trigger.type}"
            yield Problem(message, (*path, "metricType"), "`AverageValue` or `Value`")


def _targets(spec: ScalingSpec, name: NameOf) -> Iterator[Problem]:
    """The HPA keeps thousandths: a target below half of one is 0 to it, which it refuses."""
    modifiers = spec.modifiers
    if modifiers is not None and numbers.int64(modifiers.target * 1000) <= 0:
        path: Path = (*FORMULA_PATH[:-1], "target")
        shown = modifiers.target_text or numbers.plain(modifiers.target)
        yield Problem(f'`{name(path)}` must be a number above 0, not "{shown}"', path)
    for trigger in spec.triggers:
        text = trigger.metadata.get("threshold", "").strip()
        if trigger.type != "prometheus" or modifiers is not None or not text:
            continue
        try:
            threshold = numbers.json_number(text)
        except ValueError:
            continue  # told by the trigger itself, with KEDA's words for bad numbers
        if numbers.milli_of_target(threshold) <= 0:
            path = ("spec", "triggers", trigger.index, "metadata", "threshold")
            message = f'`{name(path)}` must be a number above 0, not "{text}"'
            yield Problem(message, path, "the HPA keeps thousandths: 0.001 is the least")


def _resource_triggers(spec: ScalingSpec, name: NameOf) -> Iterator[Problem]:
    if not spec.has_only_resource_triggers:
        return
    if spec.min_replicas == 0:
        path: Path = ("spec", "triggers")
        message = f"`{name(path)}` has only cpu and memory, which cannot wake from zero"
        yield Problem(message, path, "set minReplicaCount to 1 or more", operator=False)
    if spec.fallback is not None and spec.modifiers is None:
        message = "a fallback needs a trigger that is not cpu or memory"
        yield Problem(message, ("spec", "fallback"), operator=False)


def _formula(spec: ScalingSpec, _name: NameOf) -> Iterator[Problem]:
    modifiers = spec.modifiers
    if modifiers is None:
        if spec.fallback is not None and spec.fallback.behavior == "scalingModifiers":
            message = "fallback behavior scalingModifiers needs a formula"
            hint = "set advanced.scalingModifiers.formula"
            yield Problem(message, ("spec", "fallback", "behavior"), hint, operator=False)
        return
    # cpu and memory are no names in a formula, whatever they are called
    usable = (t.name for t in spec.triggers if t.name and t.type not in RESOURCE_TRIGGERS)
    try:
        check_formula(modifiers.formula, frozenset(usable))
    except InputError as error:
        column = error.place.column if error.place else None
        where = "" if column is None else f" (column {column})"
        message = f"the formula cannot be used: {error.message}{where}"
        yield Problem(message, FORMULA_PATH, error.hint, column=column)


def _annotations(spec: ScalingSpec, _name: NameOf) -> Iterator[Problem]:
    path: Path = ("metadata", "annotations", PAUSED_REPLICAS)
    try:
        replicas = paused_replicas(spec)
    except InputError as error:
        yield Problem(error.message, path, error.hint)
        return
    if replicas is not None and replicas < 0:
        message = f"annotation `{PAUSED_REPLICAS}: {replicas}` must not be negative"
        yield Problem(message, path)


_RULES = (
    _replica_bounds,
    _names,
    _triggers,
    _targets,
    _resource_triggers,
    _formula,
    _annotations,
)
