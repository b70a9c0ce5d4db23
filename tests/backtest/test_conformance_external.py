"""Scripted external scalers of live recordings."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from stoker.backtest.conformance import run_file
from stoker.backtest.conformance.external import (
    ScriptedTrigger,
    calls_beside,
    pushes,
    read_times,
    slowest,
)
from stoker.scaling.observation import Missing
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, read_all

SPECS = {"specs": [{"metricName": "q", "targetSize": 5}]}


def trigger(script, *, port=19701, calls=()):
    metadata = {"scalerAddress": f"127.0.0.1:{port}", "case": "a"}
    context = TriggerContext(lambda _: None, name="so")
    return ScriptedTrigger(TriggerSpec(0, "external", metadata), context, script, calls)


def read(scripted, now):
    scripted.now = now
    return asyncio.run(read_all(scripted, now))


def test_a_script_holds_from_its_time_on_and_its_first_line_before_it() -> None:
    scripted = trigger({"active": [[0, False], [40, True]], "metrics": [[0, 1], [40, 12]]})

    (before,) = read(scripted, -20.0)
    (after,) = read(scripted, 40.0)

    assert (before.metric_name, before.value, before.target, before.active) == (
        "s0-q", 1.0, 5.0, False,
    )  # fmt: skip
    assert (after.value, after.active) == (12.0, True)


@pytest.mark.parametrize(
    ("script", "missing", "active"),
    [
        ({"spec": [[0, SPECS], [9, {"code": "UNAVAILABLE"}]]}, Missing.SPECS, False),
        ({"metrics": [[0, 1], [9, {"values": []}]]}, Missing.VALUES, True),
        (
            {"spec": [[0, SPECS], [9, {"specs": [{"metricName": "r", "targetSize": 5}]}]]},
            Missing.VALUES,
            True,
        ),
        ({"metrics": [[0, 1], [9, {"code": "INTERNAL", "msg": "x"}]]}, Missing.NOTHING, False),
        ({"active": [[0, True], [9, {"code": "INTERNAL"}]]}, Missing.NOTHING, False),
    ],
    ids=["specs fail", "no values", "renamed", "metrics fail", "activity fails"],
)
def test_what_is_missing_is_told_from_what_fails(script, missing, active) -> None:
    scripted = trigger({"active": [[0, True]], **script})
    read(scripted, 0.0)

    (reading,) = read(scripted, 10.0)

    assert reading.error is not None
    assert (reading.missing, reading.active) == (missing, active)


def test_a_program_that_is_away_answers_nobody() -> None:
    scripted = trigger({"active": [[0, True]]}, port=19702)

    assert [bool(read(scripted, t)[0].error) for t in (119.0, 121.0, 179.0, 181.0)] == [
        False, True, True, False,
    ]  # fmt: skip
    called = trigger({"active": [[0, True]]}, port=19702, calls=[{"t": 186.6, "rpc": "IsActive"}])
    assert [bool(read(called, t)[0].error) for t in (181.6, 186.6)] == [True, False]


def test_calls_are_found_beside_and_above(tmp_path) -> None:
    call = {"t": 1.5, "rpc": "IsActive", "scaledobject": "so", "answer": {"result": True}}
    (tmp_path / "live").mkdir()
    (tmp_path / "rpcs.jsonl").write_text(json.dumps(call) + "\n")

    assert calls_beside(tmp_path / "live" / "so.jsonl", "so") == (call,)
    assert calls_beside(tmp_path / "live" / "so.jsonl", "other") == ()


def test_a_read_ends_with_activity_or_with_what_fails() -> None:
    calls = [
        {"t": 1.0, "rpc": "GetMetricSpec", "answer": SPECS},
        {"t": 1.1, "rpc": "GetMetrics", "answer": {"values": []}},
        {"t": 1.2, "rpc": "IsActive", "answer": {"result": False}},
        {"t": 6.0, "rpc": "GetMetricSpec", "answer": {"error": {"code": "UNAVAILABLE"}}},
        {"t": 7.0, "rpc": "StreamIsActive", "answer": {"sent": True}},
        {"t": 8.0, "rpc": "StreamIsActive", "answer": {"sent": False}},
    ]

    assert read_times(calls) == [1.2, 6.0]
    assert pushes({}, calls) == [7.0]


def test_without_calls_the_script_says_when_the_stream_speaks() -> None:
    header = {"external_script": {"a": {"stream": [[60, True], [70, False], [80, "eof"]]}}}

    assert pushes(header, []) == [60.0]


def test_how_long_a_read_takes_at_the_worst() -> None:
    script = {"active": [[0, {"sleep": 8, "result": True}]], "metrics": [[0, 1], [9, {"sleep": 2}]]}

    assert slowest({"external_script": {"a": script}}) == 10
    assert slowest({}) == 0


def test_every_recorded_scaler_is_decided_as_recorded(shared_data: Path) -> None:
    folder = shared_data / "kubernetes" / "external_scaler" / "live"
    files = [path for path in sorted(folder.glob("*.jsonl.gz")) if "rpcs" not in path.name]

    wrong = [result for path in files if not (result := run_file(path, path.name)).ok]

    assert len(files) > 20
    assert wrong == []
