"""A ScaledObject at work: its controller, its loops, its last ticks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stoker.clock import Clock
from stoker.controller import Controller
from stoker.errors import InputError, InputErrors
from stoker.metrics.otlp.addon import MetricStore
from stoker.metrics.storage import Storage
from stoker.resources import Bundle
from stoker.resources.workload import Workload
from stoker.scaling.modifiers import COMPOSITE_METRIC
from stoker.scaling.spec import ScalingSpec, TriggerSpec
from stoker.scaling.state import MetricStatus, ScalingState
from stoker.stack.activestreams import ActiveStream, is_pushing
from stoker.stack.credentials import ContextFunction, contexts
from stoker.stack.embedded import ask_embedded, query_for, samples_of
from stoker.stack.loops import Loops
from stoker.stack.options import Options
from stoker.stack.store import Remembered
from stoker.stack.waking import Waker, is_fed
from stoker.targets.base import ScaleTarget
from stoker.targets.processes.usage import LocalUsage
from stoker.tick import Tick
from stoker.triggers.base import Trigger, TriggerContext
from stoker.triggers.external import ExternalTrigger
from stoker.triggers.polling import PolledTrigger
from stoker.triggers.registry import build_trigger

_TICKS = 240  # an hour of syncs


@dataclass(slots=True, eq=False)
class Autoscaling:
    """A ScaledObject at work."""

    controller: Controller
    loops: Loops
    annotations: dict[str, str | None]  # set while it ran; None takes away what the file sets
    metrics: tuple[MetricStatus, ...]  # of the HPA, before it has values
    triggers: tuple[PolledTrigger, ...] = ()
    waker: Waker | None = None  # None: what is pushed waits for its turn
    ticks: deque[Tick] = field(default_factory=lambda: deque(maxlen=_TICKS))

    @property
    def name(self) -> str:
        """Of the ScaledObject."""
        return self.controller.spec.name

    def remembered(self) -> Remembered:
        """What a restart needs."""
        return Remembered(self.controller.state, self.annotations)

    def annotate(self, annotations: Mapping[str, str | None]) -> None:
        """Set annotations, or take away those whose value is None."""
        self.annotations.update(annotations)
        self.controller.spec = annotated(self.controller.spec, annotations)


def annotated(spec: ScalingSpec, annotations: Mapping[str, str | None]) -> ScalingSpec:
    """*spec* with *annotations* set, or without those whose value is None."""
    merged = {**spec.annotations, **annotations}
    return replace(spec, annotations={k: v for k, v in merged.items() if v is not None})


def autoscaling_of(  # noqa: PLR0913 - each is a part of its own
    spec: ScalingSpec,
    workload: Workload,
    target: ScaleTarget,
    remembered: Remembered | None,
    *,
    storage: Storage,
    store: MetricStore,
    clock: Clock,
    options: Options,
    held: Callable[[], bool],
    context_for: Callable[[TriggerContext, ScalingSpec], ContextFunction],
    background: Callable[[Coroutine[Any, Any, None]], None],
    on_change: Callable[[str, str], None],
    on_tick: Callable[[Tick], None],
    on_error: Callable[[str, Exception], None],
) -> Autoscaling:
    """Put the parts of a ScaledObject together; *remembered* is what an earlier run left."""
    state = remembered.state if remembered else ScalingState.new(clock.now())
    spec = with_options(spec, options, remembered)
    context = TriggerContext(
        query_for(storage),
        timeout=options.settings.http_timeout,
        pod_usage=LocalUsage(target.pods, workload.requests, workload.container),
        metrics_adapter=ask_embedded(storage),
        pushed=store,
    )
    build = context_for(context, spec)
    triggers = tuple(
        PolledTrigger(one, build, about=spec.name, on_change=on_change) for one in spec.triggers
    )
    controller = Controller(
        spec,
        triggers,
        target,
        state,
        settings=options.settings,
        samples=lambda now: samples_of(storage, workload, now),
        held=held,
    )
    loops = Loops(
        controller,
        clock,
        options.settings,
        on_tick=on_tick,
        on_error=lambda error: on_error(spec.name, error),
    )
    waker = None
    if options.wake_on_push:
        fed = [build_trigger(one, build(one)) for one in spec.triggers if is_fed(one)]
        waker = Waker(
            spec,
            fed,
            controller,
            loops,
            clock,
            options.settings,
            background,
            lambda error: on_error(spec.name, error),
        )
    for one in spec.triggers:
        if is_pushing(one):
            pushing = build_trigger(one, build(one))
            assert isinstance(pushing, ExternalTrigger)  # noqa: S101 - there is no other
            name = f"{spec.name} trigger {one.index} ({one.type})"
            stream = ActiveStream(name, pushing.stream_active, loops.push, clock)
            background(stream.run())
    kept = dict(remembered.annotations) if remembered else {}
    metrics = expected_metrics(spec, triggers)
    return Autoscaling(controller, loops, kept, metrics, triggers, waker)


def expected_metrics(spec: ScalingSpec, triggers: Sequence[Trigger]) -> tuple[MetricStatus, ...]:
    """The metrics of the HPA that KEDA makes, without values: one a trigger, or the formula's."""
    modifiers = spec.modifiers
    if modifiers is not None:
        milli = int(modifiers.target * 1000)
        return (MetricStatus(COMPOSITE_METRIC, modifiers.metric_type, milli),)
    return tuple(
        MetricStatus(t.metric_name, own.metric_type, round(t.target * 1000))
        for t, own in zip(triggers, spec.triggers, strict=True)
    )


def check_triggers(bundle: Bundle) -> None:
    """Build every trigger once, so that what cannot be built is told before anything starts.

    Raises:
        InputErrors: each with the place of the trigger.
    """
    errors = []
    for application in bundle.applications:
        spec, manifest = application.scaling, application.scaled_object
        if spec is None or manifest is None:
            continue
        context_for = contexts(TriggerContext(lambda _address: None), spec, application, bundle)
        for trigger in spec.triggers:
            try:
                PolledTrigger(trigger, context_for)
            except InputError as error:
                place = error.place or manifest.place("spec", "triggers", trigger.index)
                errors.append(InputError(error.message, hint=error.hint, place=place))
    if errors:
        raise InputErrors(errors)


def with_options(spec: ScalingSpec, options: Options, remembered: Remembered | None) -> ScalingSpec:
    """*spec* with what flags override, and with annotations that were set while it ran."""
    spec = spec.overridden(
        polling_interval=options.polling_interval,
        stabilization_window=options.stabilization_window,
    )
    if options.prometheus_url is not None:
        spec = replace(spec, triggers=tuple(_asking(options, t) for t in spec.triggers))
    return spec if remembered is None else annotated(spec, remembered.annotations)


def _asking(options: Options, trigger: TriggerSpec) -> TriggerSpec:
    """*trigger* with the server of ``--prometheus`` in place of its own."""
    if trigger.type != "prometheus" or options.prometheus_url is None:
        return trigger
    metadata = {**trigger.metadata, "serverAddress": options.prometheus_url}
    return replace(trigger, metadata=metadata)
