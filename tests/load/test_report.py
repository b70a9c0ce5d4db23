"""Statistics of a run, on numbers that can be checked by hand."""

from __future__ import annotations

import json
from array import array
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoker.load.report import Result, distribution, percentile, summarize
from stoker.load.text import render

numbers = st.floats(0, 1e6)


@given(st.lists(numbers, min_size=1, max_size=50), st.integers(1, 100))
@example([float(n) for n in range(20)], 55)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values, percent):
    ordered = sorted(values)
    got = percentile(ordered, percent / 100)
    need = Fraction(percent, 100) * len(values)
    assert got in values
    assert sum(value <= got for value in values) >= need
    smaller = [value for value in values if value < got]
    assert len(smaller) < need


@given(st.lists(numbers, min_size=1, max_size=50))
def test_the_percentiles_of_a_distribution_are_in_order(values):
    got = distribution(values)
    assert min(values) <= got.p50 <= got.p90 <= got.p95 <= got.p99 <= got.max == max(values)
    assert got.count == len(values)
    assert got.mean == pytest.approx(sum(values) / len(values))


def test_nothing_measured_is_no_distribution():
    assert distribution([]) is None
    report = summarize([])
    assert (report.requests, report.duration, report.requests_per_second) == (0, 0.0, 0.0)
    assert report.ttft is None
    assert "0 requests" in render(report)


def result(planned=0.0, started=None, finished=1.0, **rest) -> Result:
    return Result(
        model="m",
        planned=planned,
        started=planned if started is None else started,
        finished=finished,
        **rest,
    )


def test_latencies_count_from_the_planned_time_and_not_from_when_the_request_was_sent():
    report = summarize([result(planned=10.0, started=13.0, finished=15.0, first_token=14.0)])
    assert (report.ttft.p50, report.end_to_end.p50, report.lag.p50) == (4.0, 5.0, 3.0)
    assert report.fell_behind
    assert "fell behind its own plan: p99 3.00 s late" in render(report)


def test_rates_are_over_the_time_from_the_first_plan_to_the_last_answer():
    report = summarize(
        [
            result(planned=0.0, finished=2.0, output_tokens=30, input_tokens=7),
            result(planned=1.0, finished=4.0, output_tokens=10, input_tokens=8),
            result(planned=2.0, finished=3.0, output_tokens=20, error="timeout"),
        ]
    )
    assert report.duration == 4.0
    assert report.requests_per_second == 0.5
    assert report.output_tokens_per_second == 15.0
    assert report.input_tokens == 15


def test_requests_that_failed_do_not_make_latencies_look_better():
    report = summarize([result(finished=5.0), result(finished=0.001, error="refused")])
    assert (report.ok, report.failed) == (1, 1)
    assert report.end_to_end.count == 1
    assert report.end_to_end.p50 == 5.0


def test_errors_are_counted_by_kind_the_most_frequent_first_each_with_its_first_detail():
    report = summarize(
        [
            result(error="refused", detail="no"),
            result(error="HTTP 503", detail="busy"),
            result(error="HTTP 503", detail="later"),
            result(error="cancelled"),
        ]
    )
    assert [(e.kind, e.count, e.example) for e in report.errors] == [
        ("HTTP 503", 2, "busy"),
        ("refused", 1, "no"),
    ]
    assert (report.failed, report.cancelled) == (3, 1)
    assert "failed  HTTP 503       2  busy" in render(report)
    assert "4 requests in 1.00 s: 0 ok, 3 failed, 1 cancelled" in render(report)


def test_the_report_is_json_with_seconds_as_numbers():
    report = summarize([result(first_token=0.25, gaps=array("d", [0.01, 0.03]))])
    read = json.loads(json.dumps(report.to_dict()))
    assert read["ttft"]["p50"] == 0.25
    assert read["inter_token_latency"] == {
        "count": 2, "mean": 0.02, "p50": 0.01, "p90": 0.03, "p95": 0.03, "p99": 0.03, "max": 0.03,
    }  # fmt: skip
    assert read["fell_behind"] is False
