"""A pushed value may bring a look forward: that is what pushing is for.

What was pushed is first looked at by the pure core alone. Only if more replicas would be wanted,
KEDA or the HPA looks out of turn, at all triggers, with all their rules: tolerance, policies,
windows. Scale-down comes in its turn.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from stoker.clock import Clock
from stoker.controller import Controller
from stoker.errors import StokerError
from stoker.metrics.otlp.addon import MetricQuery
from stoker.metrics.sample import METRIC_NAME, MatchOp
from stoker.promql.ast import Selector, selectors
from stoker.promql.parsing import parse
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec, TriggerSpec
from stoker.stack.embedded import is_cluster_address
from stoker.stack.loops import Loops
from stoker.triggers.base import Trigger
from stoker.triggers.opentelemetry import asks_the_addon

_log = logging.getLogger(__name__)
GAP: Final = 0.25  # seconds between two looks of one object because of pushes


def is_fed(trigger: TriggerSpec) -> bool:
    """Whether what is pushed to this machine can change the value of *trigger*."""
    if trigger.type == "prometheus":
        return is_cluster_address(trigger.metadata.get("serverAddress", "").strip())
    return asks_the_addon(trigger.type, trigger.metadata)


def metric_names(trigger: TriggerSpec) -> frozenset[str] | None:
    """The metrics that a trigger asks for; None: it cannot be told, it may be any."""
    metadata: Mapping[str, str] = trigger.metadata
    try:
        if trigger.type != "prometheus":
            return frozenset({MetricQuery.parse(metadata.get("metricQuery", "")).name})
        found = [_name(one) for one in selectors(parse(metadata.get("query", "")))]
    except StokerError:
        return frozenset()  # a query that cannot be asked
    return frozenset(found) if all(found) else None


def _name(selector: Selector) -> str:
    """The metric of a selector, "" where it may be several."""
    names = [m.value for m in selector.matchers if m.name == METRIC_NAME and m.op is MatchOp.EQUAL]
    return names[0] if names else ""


class Waker:
    """Wakes the loops of one ScaledObject."""

    def __init__(
        self,
        spec: ScalingSpec,
        fed: Sequence[Trigger],
        controller: Controller,
        loops: Loops,
        clock: Clock,
        settings: ControllerSettings,
        background: Callable[[Coroutine[Any, Any, None]], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._names = _together([metric_names(one) for one in spec.triggers if is_fed(one)])
        self._whole_seconds = any(one.type == "prometheus" for one in spec.triggers if is_fed(one))
        self._all_fed = len(fed) == len(spec.triggers)
        self._fed = tuple(fed)
        self._controller = controller
        self._loops = loops
        self._clock = clock
        self._background = background
        self._on_error = on_error
        self._period = settings.sync_period
        self._waiting = False
        self._last = self._woken = -math.inf

    def written(self, names: frozenset[str]) -> None:
        """Metrics of these *names* have new values."""
        if self._waiting or not self._fed:
            return
        if self._names is not None and not names & self._names:
            return
        self._waiting = True
        self._background(self._look())

    async def _look(self) -> None:
        """Wait for the moment at which the value can be seen, and look."""
        now = self._clock.now()
        # KEDA asks Prometheus for whole seconds: what is newer is seen at the next one
        seen = float(math.ceil(now)) if self._whole_seconds else now
        try:
            await self._clock.sleep(max(seen, self._last + GAP) - now)
        finally:
            self._waiting = False
        self._last = now = self._clock.now()
        if self._controller.spec.modifiers is not None and not self._all_fed:
            return  # a formula of which a part is elsewhere: in its turn
        try:
            readings = await asyncio.gather(*(one.read(now) for one in self._fed))
            reader = self._controller.foresee(readings, now)
        except Exception as error:  # noqa: BLE001 - told; the regular looks go on
            _log.exception("what was pushed for %s cannot be judged", self._controller.spec.name)
            self._on_error(error)
            return
        if reader is None:
            return
        if self._controller.spec.behavior is None and now - self._woken < self._period:
            return  # without policies the HPA's only limit is one doubling a sync
        self._woken = now
        await self._loops.look_now(reader)


def _together(names: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """All *names*; None if one of them may be any."""
    found: set[str] = set()
    for some in names:
        if some is None:
            return None
        found |= some
    return frozenset(found)
