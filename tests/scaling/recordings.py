"""Reads recorded decisions of the real controllers and runs them through the core.

Every reader yields differences: one text for each decision or condition that is not the recorded
one. Formats: tests/data/recordings/README.md.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stoker.recommenders.hpa import (
    external_average,
    external_value,
    of_pods,
    pods_average,
    recommend,
)
from stoker.scaling.behavior import scale_down_limit, scale_up_limit
from stoker.scaling.decide import decide
from stoker.scaling.observation import Observation, PodStatus, Reader, TargetStatus, TriggerValue
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    Fallback,
    MetricType,
    PolicyType,
    ScaleTargetRef,
    ScalingPolicy,
    ScalingRules,
    ScalingSpec,
    SelectPolicy,
    TriggerSpec,
)
from stoker.scaling.state import HpaState, ScaleEvent, ScalingState
from stoker.scaling.tolerance import Tolerance

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "data" / "recordings"
SHARED = Path(os.environ.get("STOKER_SHARED", ROOT.parent / "shared"))


def shared(path: str) -> Path:
    """A file or folder of the large recordings; skips the test where they are not."""
    found = SHARED / "data" / path
    if not found.exists():
        pytest.skip(f"recordings not found at {found} (set STOKER_SHARED)")
    return found


def lines(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        for line in file:
            yield json.loads(line)


@cache
def milli(quantity: str) -> int:
    if quantity.endswith("m"):
        return int(quantity[:-1])
    whole, _, fraction = quantity.partition(".")
    return int(whole) * 1000 + int((fraction + "000")[:3])


def rules(given: dict[str, Any] | None, default: ScalingRules) -> ScalingRules:
    given = given or {}
    policies = given.get("policies")
    return ScalingRules(
        stabilization_window_seconds=given.get(
            "stabilizationWindowSeconds", default.stabilization_window_seconds
        ),
        select_policy=SelectPolicy(given.get("selectPolicy") or default.select_policy),
        policies=default.policies
        if policies is None
        else tuple(
            ScalingPolicy(PolicyType(p["type"]), p["value"], p["periodSeconds"]) for p in policies
        ),
        tolerance=None if given.get("tolerance") is None else milli(given["tolerance"]) / 1000,
    )


def behavior(given: dict[str, Any] | None) -> Behavior | None:
    if given is None:
        return None
    return Behavior(
        rules(given.get("scaleUp"), DEFAULT_SCALE_UP),
        rules(given.get("scaleDown"), DEFAULT_SCALE_DOWN),
    )


def pods(count: int, ready: int) -> tuple[PodStatus, ...]:
    return tuple(
        PodStatus(f"p{i}", phase="Running" if i < ready else "Pending", ready=i < ready)
        for i in range(count)
    )


# hpa_cases -------------------------------------------------------------------------------------


def hpa_differences(case: dict[str, Any]) -> Iterator[str]:
    """Replay one HPA of hpa_cases and tell what differs."""
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
        edit = step.get("edit", {})
        if "minReplicas" in edit:
            spec = replace(spec, min_replica_count=edit["minReplicas"])
        if "maxReplicas" in edit:
            spec = replace(spec, max_replica_count=edit["maxReplicas"])
        values = tuple(
            _metric_value(m, v) for m, v in zip(given["metrics"], step["m"], strict=True)
        )
        target = TargetStatus(step["spec"], step["status"], pods(step["pods"], step["ready"]))
        observation = Observation(Reader.HPA, (), target)
        recommendations = recommend(spec, values, target, settings)
        state, decision = decide(
            spec, observation, values, recommendations, state, step["t"], settings
        )
        yield from _hpa_step_differences(case, step, state, decision)


def _hpa_step_differences(case, step, state, decision) -> Iterator[str]:
    at = f"{case['family']} case {case['id']} t={step['t']}"
    hpa = state.hpa
    shown = []
    for type_ in ("AbleToScale", "ScalingActive", "ScalingLimited"):
        c = state.condition(type_, "HorizontalPodAutoscaler")
        shown.append("" if c is None else f"{c.status}/{c.reason}")
    got = {
        "desired": decision.replicas,
        "status_desired": hpa.desired_replicas,
        "cond": shown,
        "status_m": [m.current_milli for m in hpa.current_metrics] or None,
        "reason": next(
            (
                e.message.partition("reason: ")[2]
                for e in decision.events
                if e.reason == "SuccessfulRescale"
            ),
            None,
        )
        or None,
    }
    want = {
        "desired": step["desired"],
        "status_desired": step.get("status_desired", step["desired"]),
        "cond": step["cond"],
        "status_m": step["status_m"],
        "reason": step.get("reason"),
    }
    if got["reason"]:  # the recorder left out the selector
        got["reason"] = got["reason"].split("(&")[0] + (
            " above target" if "above target" in got["reason"] and "(&" in got["reason"] else ""
        )
    for key, value in want.items():
        if got[key] != value:
            yield f"{at}: {key} {got[key]!r}, recorded {value!r}"


def _metric_value(metric: dict[str, Any], recorded: Any) -> TriggerValue:
    source = metric.get("external") or metric["pods"]
    target = source["target"]
    text = target.get("averageValue") or target["value"]
    of_pods = metric["type"] == "Pods"
    error = "boom" if recorded is None else None
    return TriggerValue(
        metric_name=source["metric"]["name"],
        value=None,
        target=milli(text) / 1000,
        metric_type=MetricType(target["type"]),
        error=error,
        milli=() if of_pods or recorded is None else tuple(recorded),
        per_pod_milli=tuple((recorded or {}).items()) if of_pods else None,
    )


# calc_cases ------------------------------------------------------------------------------------


def calc_differences(case: dict[str, Any]) -> Iterator[str]:
    """One call of the replica calculator."""
    settings = ControllerSettings()
    tolerance = Tolerance(case["tolerance_up"], case["tolerance_down"])
    current, target_milli = case["current_replicas"], case["target_milli"]
    target = TargetStatus(current, current, pods(case["pods"], case["ready"]))
    match case["fn"]:
        case "GetExternalPerPodMetricReplicas":
            proposal = external_average(
                tuple(case["m"]), target_milli, current, tolerance, settings
            )
        case "GetExternalMetricReplicas":
            proposal = external_value(tuple(case["m"]), target_milli, target, tolerance, settings)
        case "GetMetricReplicas":
            if case["m"] is None:
                unread = TriggerValue("m0", None, 1.0, error="boom", per_pod_milli=())
                proposal = of_pods(unread, target, tolerance).error
            else:
                proposal = pods_average(dict(case["m"]), target_milli, target, tolerance)
        case other:
            raise AssertionError(other)
    if isinstance(proposal, str):
        if not case.get("err", "").endswith(proposal):
            yield f"case {case['id']}: error {proposal!r}, recorded {case.get('err')!r}"
    elif case.get("err"):
        yield f"case {case['id']}: {proposal}, recorded error {case['err']!r}"
    elif (proposal.replicas, proposal.usage_milli) != (case["replicas"], case["usage_milli"]):
        recorded = case["replicas"], case["usage_milli"]
        yield f"case {case['id']} {case['fn']}: {proposal}, recorded {recorded}"


# rate_cases ------------------------------------------------------------------------------------


def rate_differences(case: dict[str, Any]) -> Iterator[str]:
    """One call of the policies' limits."""
    now = 1_000_000.0

    def events(given: list[dict[str, int]]) -> tuple[ScaleEvent, ...]:
        return tuple(ScaleEvent(e["change"], now - e["age_ms"] / 1000) for e in given)

    hpa = HpaState(
        0.0,
        scale_up_events=events(case["scale_up_events"]),
        scale_down_events=events(case["scale_down_events"]),
    )
    up = case["direction"] == "up"
    limit = scale_up_limit if up else scale_down_limit
    given = rules(case["rules"], DEFAULT_SCALE_UP if up else DEFAULT_SCALE_DOWN)
    got = limit(case["current_replicas"], hpa, given, now)
    if got != case["limit"]:
        yield f"case {case['id']}: limit {got}, recorded {case['limit']}"


# executor_cases --------------------------------------------------------------------------------


def executor_differences(case: dict[str, Any]) -> Iterator[str]:
    """Forty polls of KEDA's executor."""
    given = case["spec"]
    fallback = given.get("fallback")
    spec = ScalingSpec(
        name="d",
        target=ScaleTargetRef("d"),
        triggers=(TriggerSpec(0, "prometheus"),),
        min_replica_count=given.get("minReplicaCount"),
        max_replica_count=given.get("maxReplicaCount"),
        idle_replica_count=given.get("idleReplicaCount"),
        cooldown_period=given.get("cooldownPeriod", 300),
        initial_cooldown_period=given.get("initialCooldownPeriod", 0),
        fallback=fallback and Fallback(fallback["failureThreshold"], fallback["replicas"]),
        annotations=case.get("annotations") or {},
    )
    settings = ControllerSettings()
    state = ScalingState.new(0.0)
    for step in case["steps"]:
        values = [
            TriggerValue("s0-prometheus", 1.0, 1.0, active=step["active"], milli=(1000,)),
        ]
        if step["error"]:
            values.append(TriggerValue("s1-prometheus", None, 1.0, error="boom"))
        target = TargetStatus(step["replicas"], step["replicas"])
        state, decision = decide(
            spec,
            Observation(Reader.KEDA, (), target),
            tuple(values),
            (),
            state,
            step["t"],
            settings,
        )
        conditions = {
            c.type: f"{c.status}/{c.reason}" for c in state.conditions if c.of == "ScaledObject"
        }
        got = {
            "desired": decision.replicas,
            "active_cond": conditions.get("Active", ""),
            "ready_cond": conditions.get("Ready", ""),
            "last_active": state.last_active,
            "events": "".join(
                e.reason for e in decision.events if e.reason.startswith("KEDAScaleTarget")
            )
            or None,
        }
        for key, value in got.items():
            if value != step.get(key):
                yield (
                    f"case {case['id']} t={step['t']} {case.get('annotations')}: "
                    f"{key} {value!r}, recorded {step.get(key)!r}"
                )
