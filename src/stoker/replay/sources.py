"""What each trigger of a run asks: series of the modelled replicas, its pods, or a recording.

A recorded column comes first, whatever the trigger is; it is not moved by what the run does. What
KServe's collectors push is scraped of the modelled engines. What is left cannot be known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from stoker.backtest.metrics import Column, Metrics, names_of
from stoker.backtest.triggers import FROM_TIME, RECORDED
from stoker.errors import InputError, QueryError
from stoker.metrics.otlp.addon import MetricQuery, MetricStore
from stoker.metrics.storage import Storage
from stoker.promql.ast import Node, Range, Selector, Subquery, children
from stoker.promql.parsing import parse
from stoker.replay.answers import Answers
from stoker.resources import Bundle
from stoker.scaling.spec import ScalingSpec, TriggerSpec
from stoker.triggers.base import PodFacts, QueryFunction, Trigger, TriggerContext
from stoker.triggers.opentelemetry import OpenTelemetryTrigger, asks_the_addon
from stoker.triggers.workload import WorkloadTrigger

_CUSTOM = ("Pods", "Object")  # of a user's HPA: an adapter would ask Prometheus for them
_ABSOLUTE = 1e8  # a smaller time is no date but seconds of the run
PodsFunction = Callable[[], Sequence[PodFacts]]


@dataclass(frozen=True, slots=True)
class Recording:
    """Answers that were recorded, by trigger, and targets that the files do not say."""

    metrics: Metrics | None = None
    targets: Mapping[str, float] = field(default_factory=dict)

    def column(self, trigger: TriggerSpec, triggers: Sequence[TriggerSpec]) -> Column | None:
        """What was recorded for *trigger*, one of the *triggers* of its object."""
        if self.metrics is None:
            return None
        return self.metrics.column(trigger, self.rivals(trigger, triggers))

    def has(self, trigger: TriggerSpec, triggers: Sequence[TriggerSpec]) -> bool:
        """Whether there is one."""
        return self.column(trigger, triggers) is not None

    def rivals(self, trigger: TriggerSpec, triggers: Sequence[TriggerSpec]) -> int:
        """How many triggers an only column could be for, if its name is that of none of them.

        1: *trigger* alone, because it is the only one, or the only one that needs it.
        """
        others = [one for one in triggers if one is not trigger]
        columns = () if self.metrics is None else self.metrics.columns
        named = {name for one in others for name in names_of(one)}
        is_anothers = any(column.name in named for column in columns)
        is_only = not others or (not is_known(trigger) and all(map(is_known, others)))
        return 1 if is_only and not is_anothers else len(triggers) + 1

    def unused(self, bundle: Bundle) -> tuple[str, ...]:
        """Columns that answer no trigger of *bundle*."""
        if self.metrics is None:
            return ()
        asked = [a.scaling.triggers for a in bundle.applications if a.scaling is not None]
        used = {id(self.column(one, triggers)) for triggers in asked for one in triggers}
        return tuple(c.name or c.source for c in self.metrics.columns if id(c) not in used)

    def from_run_start(self, start: float | None, usual: float) -> tuple[Recording, float]:
        """The same with times of the run, and when the run begins.

        Dates stay as they are: the run begins with the first, or at *start*. Plain seconds count
        from the beginning of the run, at *start* or at the *usual* time.
        """
        if self.metrics is None:
            return self, usual if start is None else start
        first, _ = self.metrics.span
        if first >= _ABSOLUTE:
            return self, first if start is None else start
        begins = usual if start is None else start
        columns = [_moved(column, begins) for column in self.metrics.columns]
        return replace(self, metrics=self.metrics.of(columns)), begins


def _moved(column: Column, seconds: float) -> Column:
    tracks = tuple(
        replace(track, times=[time + seconds for time in track.times]) for track in column.tracks
    )
    return replace(column, tracks=tracks)


class Sources:
    """What the triggers of one ScaledObject or HPA ask."""

    def __init__(
        self,
        spec: ScalingSpec,
        storage: Storage,
        pushed: MetricStore,
        pods: PodsFunction,
        recording: Recording,
    ) -> None:
        self._spec = spec
        self._answers = Answers(storage)
        self._recording = recording
        self._context = TriggerContext(
            query_for=lambda _: None,
            namespace=spec.namespace,
            name=spec.name,
            in_formula=spec.modifiers is not None,
            pods=pods,
            pushed=pushed,
        )

    @property
    def series(self) -> int:
        """How many series there are."""
        return self._answers.series

    def own(self, trigger: TriggerSpec) -> Trigger | None:
        """The trigger as a live run has it, if the run knows what it asks without a query."""
        if self._recording.has(trigger, self._spec.triggers):
            return None
        if asks_the_addon(trigger.type, trigger.metadata):
            return OpenTelemetryTrigger(trigger, self._context)
        if trigger.type == "kubernetes-workload":
            return WorkloadTrigger(trigger, self._context)
        return None

    def query_for(self, trigger: TriggerSpec, triggers: int) -> QueryFunction:
        """What answers *trigger*.

        Raises:
            InputError: nothing here does, and nothing was recorded.
        """
        recording, others = self._recording, self._spec.triggers
        if recording.metrics is not None and recording.has(trigger, others):
            return recording.metrics.query_for(trigger, recording.rivals(trigger, others))
        if trigger.type in (*RECORDED, *_CUSTOM):
            return self._answers.query_for(trigger, triggers)
        name = names_of(trigger)[0]
        raise InputError(
            f"trigger {trigger.index} ({trigger.type}) of {self._spec.name}: traffic does not say "
            "what it reads",
            hint=f"give it recorded: --metrics {name}=FILE.csv, a table with the columns time and "
            "value, or the answer of a range query (.json)",
        )


def is_known(trigger: TriggerSpec) -> bool:
    """Whether a run knows what *trigger* asks."""
    return (
        trigger.type in (*RECORDED, *_CUSTOM, *FROM_TIME, "kubernetes-workload")
        or asks_the_addon(trigger.type, trigger.metadata)
    )  # fmt: skip


# -- which series are needed, and for how long ---------------------------------------------------


def longest_window(queries: Iterable[Node]) -> float:
    """Seconds that one of *queries* looks back at most: its ranges, one in the other, and offsets.

    A time of its own (``@``) is not looked at.
    """
    return max(map(_looks_back, queries), default=0.0)


def _looks_back(node: Node) -> float:
    inside = max(map(_looks_back, children(node)), default=0.0)
    match node:
        case Selector(_, offset_ms):
            return offset_ms / 1000.0
        case Range(selector, range_ms):
            return (selector.offset_ms + range_ms) / 1000.0
        case Subquery(_, range_ms, _, offset_ms):
            return inside + (range_ms + offset_ms) / 1000.0
        case _:
            return inside


def queries_of(bundle: Bundle, recording: Recording) -> list[Node]:
    """What is asked of series. What cannot be parsed fails at every look, as in KEDA."""
    found = []
    for spec in (a.scaling for a in bundle.applications if a.scaling is not None):
        for trigger in spec.triggers:
            if recording.has(trigger, spec.triggers):
                continue
            for query in _asked(trigger):
                with suppress(QueryError):
                    found.append(parse(query))
    return found


def _asked(trigger: TriggerSpec) -> Iterator[str]:
    if trigger.type in RECORDED:
        yield str(trigger.metadata.get("query") or "")
    elif asks_the_addon(trigger.type, trigger.metadata):
        with suppress(InputError):
            query = MetricQuery.parse(trigger.metadata["metricQuery"])
            yield f'{{__name__="{query.name}"}}'
    elif trigger.type in _CUSTOM and trigger.metric is not None:
        name = trigger.metric.name
        of_vllm = f"vllm:{name.removeprefix('vllm_')}" if name.startswith("vllm_") else name
        yield from (f'{{__name__="{one}"}}' for one in dict.fromkeys((of_vllm, f"{of_vllm}_total")))
