"""`stoker explain`: a Tick as a person reads it, a line for each of the six steps."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from stoker.clock import local_time
from stoker.scaling.explain import fill_times
from stoker.scaling.observation import Reader
from stoker.scaling.spec import MetricType, SpecKind
from stoker.triggers.hpa import NO_SUCH_API
from stoker.ui.ages import human_duration

TickDict = Mapping[str, Any]  # Tick.to_dict(), or the same from JSON
_STEPS = ("sample", "query", "trigger value", "recommendation", "decision", "replicas")
_LABEL_WIDTH = 18
_HEADER_WIDTH = 98
# The HPA names a metric together with its selector; here it is always that of the ScaledObject.
_SELECTOR = re.compile(r"/?\(?&LabelSelector\{MatchLabels:.*?LabelSelectorRequirement\{\},\}\)?")
_BOLD, _RED, _YELLOW, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def explain(tick: TickDict, *, color: bool = False) -> str:
    """The header, the six steps and what comes next. Without *color* nothing is missing."""
    steps = (
        _sample_lines(tick["samples"]),
        _query_lines(tick),
        _value_lines(tick),
        _recommendation_lines(tick),
        [_decision_line(tick["decision"])],
        [_replicas_line(tick["status"])],
    )
    lines = [_header(tick)]
    for number, (step, texts) in enumerate(zip(_STEPS, steps, strict=True), start=1):
        lines += _labelled(f"{number} {step}", texts)
    lines += _labelled("next", [fill_times(text, local_time) for text in tick["next"]])
    if color:
        lines = [_painted(line, is_header=index == 0) for index, line in enumerate(lines)]
    return "\n".join(lines) + "\n"


def _labelled(label: str, texts: Sequence[str]) -> list[str]:
    """The label beside the first text, the others below it."""
    labels = [label] + [""] * (len(texts) - 1)
    return [f"{name:<{_LABEL_WIDTH}}{text}" for name, text in zip(labels, texts, strict=False)]


def _painted(line: str, *, is_header: bool) -> str:
    if is_header:
        return f"{_BOLD}{line}{_PLAIN}"
    label, text = line[:_LABEL_WIDTH], line[_LABEL_WIDTH:]
    if text.startswith("error: "):
        text = f"{_RED}{text}{_PLAIN}"
    elif text.startswith(("hint: ", "fallback: ", "paused: ")):
        text = f"{_YELLOW}{text}{_PLAIN}"
    return f"{_DIM}{label}{_PLAIN}{text}"


def _header(tick: TickDict) -> str:
    target = tick["target"]
    left = f"{tick['name']} -> {target['kind']} {target['name']}"
    right = f"{local_time(tick['time'])}, {tick['reader']}"
    return left + right.rjust(max(_HEADER_WIDTH - len(left), len(right) + 3))


def _sample_lines(samples: Mapping[str, Any]) -> list[str]:
    replicas, age = samples["replicas_scraped"], samples["newest_age"]
    if age is None:
        return ["nothing was scraped so far"]
    series = f"{samples['series']:,} series"
    if not replicas:
        return [f"no replica to scrape; the last answer is {human_duration(age)} old, {series}"]
    return [f"{_count(replicas, 'replica')} scraped {human_duration(age)} ago, {series}"]


def _query_lines(tick: TickDict) -> list[str]:
    if not tick["readings"]:
        if _at_zero(tick) and _of_hpa(tick):
            return ["not asked: the HPA is off at the 0 replicas that somebody else asked for"]
        if _at_zero(tick) and tick["reader"] == Reader.HPA:
            return ["not asked: at 0 replicas the HPA is off, KEDA's poll looks at the triggers"]
        return ["not asked"]
    return [line for reading in tick["readings"] for line in _reading_lines(reading)]


def _reading_lines(reading: Mapping[str, Any]) -> Iterator[str]:
    source = reading["source"] or f"{reading['type']} trigger {reading['metric_name']}"
    if reading["error"] is None:
        yield f"{source} = {_answer(reading)}"
        return
    yield f"{source}"
    yield f"error: {_shortened(reading['error'])}"
    if reading["type"] == "External" and reading["answer"] == NO_SUCH_API:
        yield "hint: External metrics are made by KEDA, of a ScaledObject; nobody makes this one"
    if "multiple elements" in reading["error"]:
        yield "KEDA takes one number and gets one for each series (each replica has its own)"
        yield f"hint: write `sum({reading['source'] or 'QUERY'})`, or max, to make them one"


def _answer(reading: Mapping[str, Any]) -> str:
    return str(reading["answer"]) or _number(reading["value"])


def _value_lines(tick: TickDict) -> list[str]:
    if not tick["values"]:
        return ["none"]
    told = {reading["metric_name"] for reading in tick["readings"] if reading["error"]}
    return [_value_line(value, told) for value in tick["values"]]


def _value_line(value: Mapping[str, Any], told: Container[str]) -> str:
    name, number = value["metric_name"], value["value"]
    if number is None:
        # KEDA wraps the error twice on its way to the HPA; step 2 has it in its first words
        why = "" if name in told else f": {_shortened(value['error'] or 'no answer so far')}"
        return f"error: {name} has no value{why}"
    if value.get("resource") or value.get("custom"):
        # nothing that KEDA would take for activity
        unit = " %" if value["metric_type"] == MetricType.UTILIZATION else ""
        wanted = f"target {_number(value['target'])}{unit} ({value['metric_type']})"
        return f"{name} {_number(number)}, {wanted}"
    threshold = _number(value["activation_threshold"])
    comparison = ">" if value["active"] else "is not above"
    state = "active" if value["active"] else "not active"
    text = f"{name} {_number(number)}, target {_number(value['target'])} ({value['metric_type']})"
    if value["is_fallback"]:
        return f"fallback: {text}, in place of a trigger that fails"
    return f"{text}, {state} ({_number(number)} {comparison} {threshold})"


def _recommendation_lines(tick: TickDict) -> list[str]:
    if tick["recommendations"]:
        many = len(tick["recommendations"]) > 1
        return [_recommendation_line(one, named=many) for one in tick["recommendations"]]
    if _is_paused(tick):
        return ["none: paused"]
    if _at_zero(tick) and _of_hpa(tick):
        return ["none: at 0 replicas this HPA does not look"]
    if _at_zero(tick):
        return ["none: at 0 replicas there is nothing to divide by; an active trigger wakes it"]
    if tick["reader"] == Reader.HPA:
        return ["none"]
    return ["none: KEDA only wakes and puts to sleep, the HPA decides between 1 and the maximum"]


def _recommendation_line(one: Mapping[str, Any], *, named: bool) -> str:
    prefix = f"{one['metric_name']}: " if named else ""
    if one["replicas"] is None:
        return f"error: none, {one['metric_name']} has no value"
    formula = one["formula"]
    if not formula:
        return f"{prefix}{one['replicas']}"
    joint = " = " if formula.startswith("ceil") else ": "
    return f"{prefix}{one['replicas']}{joint}{formula}"


def _decision_line(decision: Mapping[str, Any]) -> str:
    change = "" if decision["replicas"] == decision["was"] else f", was {decision['was']}"
    message = _shortened(decision["message"])
    if decision["reason"].startswith("FailedGet") and decision["reason"].endswith("Metric"):
        message = "the HPA changes nothing that it has no metric for"
    why = decision["reason"] + (f", {message}" if message else "")
    return f"{decision['replicas']}{change}: {why}"


def _replicas_line(status: Mapping[str, Any]) -> str:
    pods = status["pods"]
    staying = [pod for pod in pods if not pod["terminating"]]
    ready = sum(pod["ready"] for pod in staying)
    starting = sum(pod["phase"] == "Running" and not pod["ready"] for pod in staying)
    pending = sum(pod["phase"] == "Pending" for pod in staying)
    parts = [f"{ready} ready"]
    others = {"starting": starting, "pending": pending, "terminating": len(pods) - len(staying)}
    parts += [f"{number} {word}" for word, number in others.items() if number]
    if len(staying) != status["spec_replicas"]:
        parts.append(f"{status['spec_replicas']} asked for")
    return ", ".join(parts)


def _at_zero(tick: TickDict) -> bool:
    return bool(tick["decision"]["was"] == 0)


def _of_hpa(tick: TickDict) -> bool:
    return bool(tick.get("kind") == SpecKind.HPA)


def _is_paused(tick: TickDict) -> bool:
    return bool(tick["decision"]["reason"] == "ScaledObjectPaused")


def _shortened(text: str) -> str:
    return _SELECTOR.sub("", text)


def _number(value: float | None) -> str:
    """``12``, ``3.5``, ``0.333``: what counts, and no more."""
    if value is None:
        return "none"
    return f"{int(value)}" if value == int(value) else f"{value:.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
