"""The otel add-on's store: its query language, its operations, its staleness."""

from __future__ import annotations

import pytest

from stoker.errors import InputError
from stoker.metrics.otlp.addon import MetricQuery, MetricStore
from stoker.metrics.otlp.receiver import RawPoint
from stoker.metrics.sample import Labels

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("avg(foo_bar{a=1, b=2})", MetricQuery("foo_bar", {"a": "1", "b": "2"}, "avg")),
        ('sum(vllm:x{namespace="n"})', MetricQuery("vllm:x", {"namespace": "n"})),
        ("metric_foo{a='1'}", MetricQuery("metric_foo", {"a": "1"})),
        ("max(metric_foo)", MetricQuery("metric_foo", {}, "max")),
        ("count(a/b.c)", MetricQuery("a_b_c", {}, "count")),
        ("  hello ", MetricQuery("hello")),
    ],
)  # fmt: skip
def test_query_is_one_metric_with_labels(text, query):
    assert MetricQuery.parse(text) == query


@pytest.mark.parametrize(
    "text",
    ["", "avg(m{a=1, b=2=2})", "avg(m{a=1, b=2)", "ma=1, b=2})", "avg(m{a:1})", "m{}", "}x{",
     'sum(m{a="b"}{namespace="n"})'],
)  # fmt: skip
def test_other_queries_are_refused(text):
    with pytest.raises(InputError, match="unable to parse"):
        MetricQuery.parse(text)


def put(store, at, value, name="m", **attributes):
    store.put([RawPoint(name, attributes, value, NOW + at)], NOW + at)


@pytest.fixture
def store():
    return MetricStore()


@pytest.mark.parametrize(
    ("operation", "value"),
    [("last_one", 6), ("rate", 0.5), ("count", 4), ("avg", 4.25), ("min", 3), ("max", 6)],
)
def test_series_is_reduced_over_time(store, operation, value):
    for at, sample in ((0, 3), (2, 4), (4, 4), (6, 6)):
        put(store, at, sample)
    assert store.get(MetricQuery("m"), operation, NOW + 6) == (value, 1)


def test_rate_within_a_second_is_0(store):
    for at in (0.1, 0.2):
        put(store, at, at)
    assert store.get(MetricQuery("m"), "rate", NOW + 1) == (0, 1)


@pytest.mark.parametrize(
    ("aggregation", "value"), [("sum", 9), ("avg", 3), ("min", 1), ("max", 5), ("count", 3)]
)
def test_series_become_one_number(store, aggregation, value):
    for pod, sample in enumerate((1, 3, 5)):
        put(store, 0, sample, pod=str(pod))
    assert store.get(MetricQuery("m", {}, aggregation), "last_one", NOW) == (value, 3)


def test_only_another_value_of_a_label_excludes(store):
    put(store, 0, 1, deployment="a")
    put(store, 0, 2, deployment="b")
    put(store, 0, 4)
    assert store.get(MetricQuery("m", {"deployment": "a"}), "last_one", NOW) == (5, 2)


def test_series_of_a_pod_that_is_gone_counts_for_two_minutes(store):
    put(store, 0, 7, pod="gone")
    store.storage.mark_stale(Labels({"__name__": "m", "pod": "gone"}), NOW + 5)
    put(store, 119, 1, pod="new")
    assert store.get(MetricQuery("m"), "last_one", NOW + 120) == (8, 2)
    assert store.get(MetricQuery("m"), "last_one", NOW + 121) == (1, 1)


def test_what_was_never_pushed_is_not_0_but_unknown(store):
    assert store.get(MetricQuery("m"), "last_one", NOW) is None
    put(store, 0, 1, pod="a")
    assert store.get(MetricQuery("m", {"pod": "b"}), "last_one", NOW) == (0, 0)


def test_value_below_zero_reads_0(store):
    put(store, 0, -3)
    assert store.get(MetricQuery("m"), "last_one", NOW) == (0, 1)


def test_names_lose_slashes_and_dots(store):
    put(store, 0, 2, name="http.server/requests")
    assert store.get(MetricQuery.parse("http.server/requests"), "last_one", NOW) == (2, 1)
