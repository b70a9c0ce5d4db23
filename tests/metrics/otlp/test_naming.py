"""Names and labels as the collector's Prometheus exporter gives them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

common = pytest.importorskip("opentelemetry.proto.common.v1.common_pb2")

from stoker.metrics.otlp.naming import (  # noqa: E402
    bound,
    label_name,
    labels_of,
    metric_name,
    text_of,
)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("requests", "", "counter", "requests_total"),
        ("requests_total", "", "counter", "requests_total"),
        ("total.requests", "1", "counter", "requests_total"),
        ("cpu.usage", "1", "gauge", "cpu_usage_ratio"),
        ("cpu_usage_ratio", "1", "gauge", "cpu_usage_ratio"),
        ("items", "1", "sum", "items"),
        ("http.server.duration", "s", "histogram", "http_server_duration_seconds"),
        ("response_time_seconds", "s", "gauge", "response_time_seconds"),
        ("ttft", "ms", "summary", "ttft_milliseconds"),
        ("memory", "By", "gauge", "memory_bytes"),
        ("throughput", "By/s", "gauge", "throughput_bytes_per_second"),
        ("requests", "1/s", "counter", "requests_per_second_total"),
        ("queue", "{request}", "gauge", "queue"),
        ("tokens", "By/{token}", "gauge", "tokens_bytes"),
        ("speed", "unit@with#special/chars", "gauge", "speed_unit_with_special_per_chars"),
        ("vllm:num_requests_waiting", "", "gauge", "vllm:num_requests_waiting"),
        ("vllm:prompt_tokens", "", "counter", "vllm:prompt_tokens_total"),
        ("a__b", "", "gauge", "a_b"),
        ("9lives", "", "gauge", "_9lives"),
        ("@#$", "", "gauge", ""),
        ("", "", "gauge", ""),
    ],
)
def test_name_is_that_of_the_exporter(name, unit, kind, expected):
    assert metric_name(name, unit, kind) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a@b", "a_b"), ("a__b", "a__b"), ("1a", "_1a"), ("vllm:x", "vllm:x"), ("__", "__")],
)
def test_name_without_suffixes_only_loses_what_is_forbidden(name, expected):
    assert metric_name(name, "s", "counter", suffixes=False) == expected


@settings(deadline=None)
@given(st.text(max_size=12), st.text(max_size=6), st.sampled_from(["gauge", "counter", "sum"]))
def test_every_name_is_one_for_prometheus_or_none(name, unit, kind):
    built = metric_name(name, unit, kind)
    assert built == "" or re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", built)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("k8s.pod.name", "k8s_pod_name"),
        ("1st", "key_1st"),
        ("_hidden", "key_hidden"),
        ("__reserved__", "__reserved__"),
        ("a..b", "a__b"),
        ("", ""),
    ],
)
def test_label_name_is_that_of_the_exporter(name, expected):
    assert label_name(name) == expected


def value(**fields):
    return common.AnyValue(**fields)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (value(string_value="x"), "x"),
        (value(bool_value=True), "true"),
        (value(int_value=-3), "-3"),
        (value(double_value=2.0), "2"),
        (value(double_value=0.25), "0.25"),
        (value(bytes_value=b"ab"), "YWI="),
        (value(), ""),
        (value(array_value=common.ArrayValue(values=[value(int_value=1), value()])), "[1,null]"),
    ],
)
def test_values_are_printed_as_the_collector_prints_them(one, text):
    assert text_of(one) == text


def test_attributes_that_become_one_label_are_joined():
    pairs = [
        common.KeyValue(key="a.b", value=value(string_value="2")),
        common.KeyValue(key="a_b", value=value(string_value="3")),
        common.KeyValue(key="...", value=value(string_value="nameless")),
    ]
    assert labels_of(pairs) == {"a_b": "2;3"}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.5, "0.5"), (1.0, "1.0"), (float("inf"), "+Inf"), (1e22, "1e+22"), (-2.0, "-2.0")],
)
def test_bounds_are_written_as_prometheus_3_keeps_them(number, text):
    assert bound(number) == text
