"""Recordings of the HPA controller: whole reconciles, and single calls of its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stoker.backtest.conformance.recorded import Case, behavior, milli, pods, rules
from stoker.errors import InputError
from stoker.recommenders.hpa import (
    Proposal,
    external_average,
    external_value,
    of_pods,
    pods_average,
    recommend,
)
from stoker.scaling.behavior import scale_down_limit, scale_up_limit
from stoker.scaling.decide import decide
from stoker.scaling.decision import Decision
from stoker.scaling.observation import Observation, Reader, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    MetricType,
    ScaleTargetRef,
    ScalingSpec,
    TriggerSpec,
)
from stoker.scaling.state import HpaState, ScaleEvent, ScalingState
from stoker.scaling.tolerance import Tolerance

_CONDITIONS = ("AbleToScale", "ScalingActive", "ScalingLimited")


def hpa_differences(case: Case) -> Iterator[str]:
    """One HPA, reconciled many times with one memory."""
    given = case["spec"]
    spec = ScalingSpec(
        name="d",
        namespace="ns",
        target=ScaleTargetRef("d"),
        triggers=(TriggerSpec(0, "prometheus"),),
        min_replica_count=given.get("minReplicas", 1),
        max_replica_count=given["maxReplicas"],
        behavior=behavior(given.get("behavior")),
    )
    settings = ControllerSettings(
        tolerance=case["tolerance"], downscale_stabilization=case["downscale_stabilization_s"]
    )
    state = replace(ScalingState.new(0.0), hpa=HpaState(0.0))
    for step in case["steps"]:
        edit = step.get("edit") or {}
        if "minReplicas" in edit:
            spec = replace(spec, min_replica_count=edit["minReplicas"])
        if "maxReplicas" in edit:
            spec = replace(spec, max_replica_count=edit["maxReplicas"])
        values = tuple(_value(m, v) for m, v in zip(given["metrics"], step["m"], strict=True))
        target = TargetStatus(step["spec"], step["status"], pods(step["pods"], step["ready"]))
        observation = Observation(Reader.HPA, (), target)
        wants = recommend(spec, values, target, settings)
        state, decision = decide(spec, observation, values, wants, state, step["t"], settings)
        got, recorded = _got(state, decision), _recorded(step)
        for field, value in recorded.items():
            if got[field] != value:
                at = f"{case['family']} case {case['id']} t={step['t']}"
                yield f"{at}: {field} {got[field]!r}, recorded {value!r}"


def _got(state: ScalingState, decision: Decision) -> dict[str, Any]:
    conditions = [state.condition(type_, "HorizontalPodAutoscaler") for type_ in _CONDITIONS]
    metrics = state.hpa.current_metrics if state.hpa else ()
    rescaled = [e.message for e in decision.events if e.reason == "SuccessfulRescale"]
    reason = rescaled[0].partition("reason: ")[2] if rescaled else ""
    if "(&" in reason:  # the recorder left out the selector
        reason = reason.split("(&")[0] + (" above target" if "above target" in reason else "")
    return {
        "desired": decision.replicas,
        "status_desired": state.hpa.desired_replicas if state.hpa else 0,
        "cond": ["" if c is None else f"{c.status}/{c.reason}" for c in conditions],
        "status_m": [m.current_milli for m in metrics] or None,
        "reason": reason or None,
    }


def _recorded(step: Case) -> dict[str, Any]:
    return {
        "desired": step["desired"],
        "status_desired": step.get("status_desired", step["desired"]),
        "cond": step["cond"],
        "status_m": step["status_m"],
        "reason": step.get("reason"),
    }


def _value(metric: Case, recorded: Any) -> TriggerValue:
    source = metric.get("external") or metric["pods"]
    target = source["target"]
    of_pods_metric = metric["type"] == "Pods"
    return TriggerValue(
        metric_name=source["metric"]["name"],
        value=None,
        target=milli(target.get("averageValue") or target["value"]) / 1000,
        metric_type=MetricType(target["type"]),
        error="boom" if recorded is None else None,
        milli=() if of_pods_metric or recorded is None else tuple(recorded),
        per_pod_milli=tuple((recorded or {}).items()) if of_pods_metric else None,
    )


def calculator_differences(case: Case) -> Iterator[str]:
    """One call of the replica calculator."""
    proposal = _calculated(case)
    error = case.get("err") or ""
    if isinstance(proposal, str):
        if not error or not error.endswith(proposal):
            yield f"case {case['id']}: error {proposal!r}, recorded {case.get('err')!r}"
    elif error:
        yield f"case {case['id']}: {proposal}, recorded error {error!r}"
    elif (proposal.replicas, proposal.usage_milli) != (case["replicas"], case["usage_milli"]):
        recorded = case["replicas"], case["usage_milli"]
        yield f"case {case['id']} {case['fn']}: {proposal}, recorded {recorded}"


def _calculated(case: Case) -> Proposal | str:
    """What the calculator says; a text is its error."""
    tolerance = Tolerance(case["tolerance_up"], case["tolerance_down"])
    settings = ControllerSettings()
    current, target_milli = case["current_replicas"], case["target_milli"]
    target = TargetStatus(current, current, pods(case["pods"], case["ready"]))
    match case["fn"]:
        case "GetExternalPerPodMetricReplicas":
            return external_average(tuple(case["m"]), target_milli, current, tolerance, settings)
        case "GetExternalMetricReplicas":
            return external_value(tuple(case["m"]), target_milli, target, tolerance, settings)
        case "GetMetricReplicas" if case["m"] is None:
            unread = TriggerValue("m0", None, 1.0, error="boom", per_pod_milli=())
            return of_pods(unread, target, tolerance).error or ""
        case "GetMetricReplicas":
            return pods_average(dict(case["m"]), target_milli, target, tolerance)
        case other:
            raise InputError(f"a call of `{other}` is not known")


def rate_differences(case: Case) -> Iterator[str]:
    """One call of the limits by policies."""
    now = 1_000_000.0
    hpa = HpaState(
        0.0,
        scale_up_events=_events(case["scale_up_events"], now),
        scale_down_events=_events(case["scale_down_events"], now),
    )
    up = case["direction"] == "up"
    limit = scale_up_limit if up else scale_down_limit
    given = rules(case["rules"], DEFAULT_SCALE_UP if up else DEFAULT_SCALE_DOWN)
    got = limit(case["current_replicas"], hpa, given, now)
    if got != case["limit"]:
        yield f"case {case['id']}: limit {got}, recorded {case['limit']}"


def _events(given: list[dict[str, int]] | None, now: float) -> tuple[ScaleEvent, ...]:
    return tuple(ScaleEvent(e["change"], now - e["age_ms"] / 1000) for e in given or [])
