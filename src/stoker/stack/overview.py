"""The numbers of the live view: the engines' as scraped, the users' as the gateway saw them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoker.api.views import EventLine, ModelOverview
from stoker.events import Event
from stoker.gateway.server import Gateway
from stoker.metrics.storage import Storage
from stoker.scaling.annotations import is_paused
from stoker.scaling.observation import Reader, TriggerReading
from stoker.stack.applications import RunningApplication
from stoker.stack.embedded import number_of
from stoker.stack.scraping import engine_selector
from stoker.tick import Tick

_EVENTS = 12
_ROUTINE = {"Scheduled", "Created", "Started", "SuccessfulCreate", "SuccessfulDelete"}


def model_overview(
    application: RunningApplication,
    storage: Storage,
    gateway: Gateway,
    now: float,
) -> ModelOverview:
    """One model of the live view."""
    pods = application.deployment.pods()
    staying = [pod for pod in pods if not pod.terminating]
    selector = engine_selector(application.workload)
    stats = gateway.stats(application.workload.model)
    scaled = application.autoscaling
    spec = scaled.controller.spec if scaled else None
    tick = _telling(scaled.ticks) if scaled else None

    def engines(operator: str, metric: str) -> float | None:
        # Two monitors of one pod are two series of one engine: the labels of vLLM tell engines.
        series = f"max by (pod, engine, model_name) ({metric}{selector})"
        value = number_of(f"{operator}({series})", storage, now)
        return value if value is not None and math.isfinite(value) else None

    return ModelOverview(
        model=application.workload.model,
        deployment=application.workload.name,
        scaled_object=spec.name if spec else None,
        wanted=application.deployment.status().spec_replicas,
        ready=sum(pod.ready for pod in staying),
        starting=sum(pod.phase == "Running" and not pod.ready for pod in staying),
        pending=sum(pod.phase == "Pending" for pod in staying),
        terminating=len(pods) - len(staying),
        min_replicas=spec.min_replicas if spec else None,
        max_replicas=spec.max_replicas if spec else None,
        waiting=engines("sum", "vllm:num_requests_waiting"),
        running=engines("sum", "vllm:num_requests_running"),
        kv_cache=engines("avg", "vllm:kv_cache_usage_perc"),
        tokens_per_second=stats.tokens_per_second,
        ttft_p50=stats.ttft_p50,
        ttft_p95=stats.ttft_p95,
        held=stats.held,
        gpus=sum(len(pod.gpu_ids) for pod in pods),
        paused=bool(spec and is_paused(spec)),
        decision=_decision(tick.decision.replicas, tick.decision.was, tick.decision.reason)
        if tick
        else "",
        decision_message=tick.decision.message if tick else "",
        decision_time=tick.time if tick else None,
        warning=_warning(tick.readings) if tick else "",
    )


def event_lines(events: list[Event]) -> list[EventLine]:
    """The newest events, the newest last; a pod that starts as it should is not among them."""
    telling = [e for e in events if e.type == "Warning" or e.reason not in _ROUTINE]
    return [
        EventLine(
            time=event.last_seen,
            type=event.type,
            reason=event.reason,
            object=str(event.about),
            message=event.message,
        )
        for event in telling[-_EVENTS:]
    ]


def _telling(ticks: Sequence[Tick]) -> Tick | None:
    """The look that says most: the last one that changed something or that the HPA took.

    KEDA's polls in between only say whether a trigger is active.
    """
    telling = (t for t in reversed(ticks) if t.reader is Reader.HPA or t.decision.changes)
    return next(telling, ticks[-1] if ticks else None)


def _decision(replicas: int, was: int, reason: str) -> str:
    change = f"{replicas}, was {was}" if replicas != was else f"{replicas}"
    return f"{change}: {reason}"


def _warning(readings: tuple[TriggerReading, ...]) -> str:
    return next((f"{r.metric_name}: {r.error}" for r in readings if r.error), "")
