"""What becomes of pushed points: totals, restarts, ends, and what is refused."""

from __future__ import annotations

import math

import pytest

service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")

from google.protobuf.json_format import ParseDict  # noqa: E402

from stoker.metrics.otlp.receiver import MAX_LABELS, OtlpReceiver, RawPoint  # noqa: E402
from stoker.metrics.sample import Labels  # noqa: E402
from stoker.metrics.storage import Storage  # noqa: E402
from stoker.promql.engine import instant  # noqa: E402

NOW = 1_700_000_000.0


def nanos(at: float) -> str:
    return str(int((NOW + at) * 1e9))


def attributes(**pairs: str) -> list[dict]:
    return [
        {"key": key.replace("__", "."), "value": {"stringValue": value}}
        for key, value in pairs.items()
    ]


def request(*metrics: dict, resource: dict | None = None, scope: dict | None = None):
    resource = resource or {"service__name": "engine", "service__instance__id": "a:1"}
    document = {
        "resourceMetrics": [
            {
                "resource": {"attributes": attributes(**resource)},
                "scopeMetrics": [{"scope": scope or {}, "metrics": list(metrics)}],
            }
        ]
    }
    return ParseDict(document, service.ExportMetricsServiceRequest())


def gauge(name: str, value: float, at: float = 0, unit: str = "", **labels: str) -> dict:
    point = {"timeUnixNano": nanos(at), "asDouble": value, "attributes": attributes(**labels)}
    return {"name": name, "unit": unit, "gauge": {"dataPoints": [point]}}


def counter(value: float, *, start: float, at: float, delta=False, monotonic=True) -> dict:
    point = {"startTimeUnixNano": nanos(start), "timeUnixNano": nanos(at), "asDouble": value}
    return {
        "name": "tokens",
        "sum": {
            "aggregationTemporality": 1 if delta else 2,
            "isMonotonic": monotonic,
            "dataPoints": [point],
        },
    }


def ttft(counts: list[int], *, start: float, at: float, delta=False, bounds=(0.1, 1.0)) -> dict:
    point = {
        "startTimeUnixNano": nanos(start),
        "timeUnixNano": nanos(at),
        "count": sum(counts),
        "sum": 1.5,
        "bucketCounts": counts,
        "explicitBounds": list(bounds),
    }
    return {
        "name": "ttft",
        "unit": "s",
        "histogram": {"aggregationTemporality": 1 if delta else 2, "dataPoints": [point]},
    }


@pytest.fixture
def storage():
    return Storage()


@pytest.fixture
def receiver(storage):
    return OtlpReceiver(storage)


def ask(storage, query, at=0.0):
    return {str(s.labels): s.v for s in instant(query, storage, NOW + at).samples}


def one(storage, query, at=0.0):
    (value,) = ask(storage, query, at).values()
    return value


def test_gauge_has_job_and_instance_of_its_resource(receiver, storage):
    outcome = receiver.take(request(gauge("vllm:waiting", 7, model__name="m")), NOW)
    assert (outcome.taken, outcome.rejected) == (1, 0)
    assert ask(storage, "vllm:waiting") == {
        'vllm:waiting{instance="a:1", job="engine", model_name="m"}': 7
    }


def test_job_has_the_service_namespace_in_front(receiver, storage):
    resource = {"service__name": "engine", "service__namespace": "llm"}
    receiver.take(request(gauge("x", 1), resource=resource), NOW)
    assert list(ask(storage, "x")) == ['x{job="llm/engine"}']


def test_other_attributes_of_the_resource_are_target_info(receiver, storage):
    resource = {"service__name": "engine", "k8s__pod__name": "p-1"}
    receiver.take(request(gauge("x", 1), resource=resource), NOW)
    assert ask(storage, "target_info") == {'target_info{job="engine", k8s_pod_name="p-1"}': 1}
    assert one(storage, "x * on (job) group_left (k8s_pod_name) target_info") == 1


def test_attributes_of_the_resource_can_be_labels_of_everything(storage):
    receiver = OtlpReceiver(storage, resource_attributes=True)
    resource = {"service__name": "engine", "k8s__pod__name": "p-1"}
    receiver.take(request(gauge("x", 1), resource=resource), NOW)
    assert list(ask(storage, "x")) == ['x{job="engine", k8s_pod_name="p-1"}']


def test_scope_has_labels(receiver, storage):
    scope = {"name": "s", "version": "1", "attributes": attributes(short="y")}
    receiver.take(request(gauge("x", 1), scope=scope, resource={"a": "b"}), NOW)
    labels = 'otel_scope_name="s", otel_scope_short="y", otel_scope_version="1"'
    assert list(ask(storage, "x")) == [f"x{{{labels}}}"]


def test_sums_that_are_cumulative_are_counters(receiver, storage):
    for at, value in ((10, 5), (20, 9)):
        receiver.take(request(counter(value, start=0, at=at)), NOW + at)
    assert one(storage, "tokens_total", 20) == 9
    assert storage.metadata["tokens_total"].type == "counter"


def test_what_came_before_the_first_look_counts(receiver, storage):
    receiver.take(request(counter(5, start=0, at=10)), NOW + 10)
    assert one(storage, "increase(tokens_total[20s])", 10) == 5
    assert storage.sample_count() == 2


def test_restart_that_does_not_show_in_the_value_counts(receiver, storage):
    receiver.take(request(counter(5, start=0, at=10)), NOW + 10)
    receiver.take(request(counter(6, start=12, at=20)), NOW + 20)
    assert one(storage, "resets(tokens_total[30s])", 20) == 1


def test_deltas_add_up(receiver, storage):
    for start, at in ((0, 10), (10, 20), (20, 30)):
        receiver.take(request(counter(4, start=start, at=at, delta=True)), NOW + at)
    assert one(storage, "tokens_total", 30) == 12


def test_deltas_within_a_millisecond_add_up(receiver, storage):
    for start, at in ((0.9999, 1), (1, 1.0002), (1.0002, 1.0004)):
        outcome = receiver.take(request(counter(4, start=start, at=at, delta=True)), NOW + at)
        assert outcome.rejected == 0
    assert one(storage, "tokens_total", 2) == 12


def test_delta_after_a_gap_starts_anew(receiver, storage):
    receiver.take(request(counter(4, start=0, at=10, delta=True)), NOW + 10)
    receiver.take(request(counter(9, start=15, at=20, delta=True)), NOW + 20)
    assert one(storage, "tokens_total", 20) == 9
    assert one(storage, "resets(tokens_total[30s])", 20) == 1


def test_sum_that_can_go_down_is_a_gauge(receiver, storage):
    receiver.take(request(counter(4, start=0, at=10, monotonic=False)), NOW + 10)
    assert one(storage, "tokens", 10) == 4
    assert storage.sample_count() == 1  # it did not begin at 0
    assert storage.metadata["tokens"].type == "gauge"


def test_histogram_keeps_its_buckets(receiver, storage):
    receiver.take(request(ttft([0, 0, 0], start=0, at=0.5)), NOW + 0.5)
    receiver.take(request(ttft([90, 8, 2], start=0, at=60)), NOW + 60)
    assert ask(storage, "ttft_seconds_bucket", 60) == {
        f'ttft_seconds_bucket{{instance="a:1", job="engine", le="{le}"}}': count
        for le, count in (("0.1", 90), ("1.0", 98), ("+Inf", 100))
    }
    p95 = "histogram_quantile(0.95, sum by (le) (rate(ttft_seconds_bucket[2m])))"
    assert one(storage, p95, 60) == pytest.approx(0.1 + 0.9 * 5 / 8)
    assert one(storage, "ttft_seconds_count", 60) == 100
    assert one(storage, "ttft_seconds_sum", 60) == 1.5


def test_deltas_of_histograms_add_up(receiver, storage):
    for start, at in ((0, 10), (10, 20)):
        receiver.take(request(ttft([1, 2, 3], start=start, at=at, delta=True)), NOW + at)
    assert one(storage, 'ttft_seconds_bucket{le="1.0"}', 20) == 6
    assert one(storage, "ttft_seconds_count", 20) == 12


def test_delta_of_a_histogram_that_overlaps_is_refused(receiver, storage):
    receiver.take(request(ttft([1, 2, 3], start=0, at=10, delta=True)), NOW + 10)
    outcome = receiver.take(request(ttft([1, 2, 3], start=5, at=20, delta=True)), NOW + 20)
    assert outcome.rejected == 1
    assert one(storage, "ttft_seconds_count", 20) == 6


def test_buckets_that_are_gone_end(receiver, storage):
    receiver.take(request(ttft([1, 2, 3], start=0, at=10)), NOW + 10)
    receiver.take(request(ttft([3, 3], start=0, at=20, bounds=(1.0,))), NOW + 20)
    assert {Labels_le(key) for key in ask(storage, "ttft_seconds_bucket", 20)} == {"1.0", "+Inf"}


def Labels_le(text: str) -> str:  # noqa: N802
    return text.partition('le="')[2].partition('"')[0]


def exponential(offset: int, counts: list[int], *, at: float, scale: int = 3) -> dict:
    point = {
        "startTimeUnixNano": nanos(0),
        "timeUnixNano": nanos(at),
        "scale": scale,
        "count": sum(counts),
        "sum": 1.0,
        "positive": {"offset": offset, "bucketCounts": counts},
    }
    return {
        "name": "ttft",
        "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point]},
    }


def test_exponential_histogram_answers_quantiles(receiver, storage):
    receiver.take(request(exponential(0, [0] * 16, at=0.5)), NOW + 0.5)
    receiver.take(request(exponential(0, [10] * 16, at=60)), NOW + 60)
    p50 = "histogram_quantile(0.5, rate(ttft_bucket[2m]))"
    assert one(storage, p50, 60) == pytest.approx(2.0, rel=0.05)


def test_bucket_that_appears_later_has_what_it_would_have_had(receiver, storage):
    receiver.take(request(exponential(0, [10], at=10)), NOW + 10)
    receiver.take(request(exponential(0, [10, 0, 5], at=20)), NOW + 20)
    le = str(2.0 ** (3 / 8))
    assert ask(storage, f'ttft_bucket{{le="{le}"}} offset 10s', 20) != {}
    assert one(storage, f'ttft_bucket{{le="{le}"}} offset 10s', 20) == 10
    assert one(storage, f'ttft_bucket{{le="{le}"}}', 20) == 15


def test_summary_has_quantiles(receiver, storage):
    point = {
        "timeUnixNano": nanos(0),
        "count": 4,
        "sum": 8.0,
        "quantileValues": [{"quantile": 0.5, "value": 2.0}, {"quantile": 1, "value": 3.0}],
    }
    receiver.take(request({"name": "s", "summary": {"dataPoints": [point]}}), NOW)
    assert one(storage, 's{quantile="0.5"}') == 2
    assert one(storage, 's{quantile="1.0"}') == 3
    assert (one(storage, "s_sum"), one(storage, "s_count")) == (8, 4)


def test_no_recorded_value_ends_a_series(receiver, storage):
    receiver.take(request(gauge("x", 1)), NOW)
    ended = gauge("x", 0, at=5)
    ended["gauge"]["dataPoints"][0] |= {"flags": 1}
    receiver.take(request(ended), NOW + 5)
    assert ask(storage, "x", 6) == {}


def test_stream_that_is_no_longer_pushed_ends_after_five_minutes(receiver, storage):
    receiver.take(request(gauge("x", 1)), NOW)
    receiver.take(request(gauge("y", 1, at=299)), NOW + 299)
    assert storage.series_count() == 2
    receiver.take(request(gauge("y", 1, at=370)), NOW + 370)
    assert [labels.name for labels in storage.series() if ask(storage, labels.name, 371)] == ["y"]


def test_clock_of_a_sender_that_runs_ahead_does_not_hide_its_points(receiver, storage):
    for at in (0, 5):
        receiver.take(request(gauge("x", at, at=at + 3600)), NOW + at)
        assert one(storage, "x", at) == at


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        pytest.param(
            counter(1, start=0, at=1, delta=True, monotonic=False),
            "push it cumulative",
            id="delta that can go down",
        ),
        pytest.param(
            {"name": "x", "sum": {"dataPoints": [{}]}}, "no aggregation temporality", id="none"
        ),
        pytest.param({"name": "x"}, "no data", id="empty"),
        pytest.param(gauge("%%", 1), "no character", id="name"),
        pytest.param(
            ttft([1], start=0, at=1), "2 bounds with 1 counts", id="buckets that do not fit"
        ),
        pytest.param(ttft([1, 1, 1], start=0, at=1, bounds=(2, 1)), "do not increase", id="bounds"),
        pytest.param(
            gauge("x", 1, **{f"l{i}": "v" for i in range(MAX_LABELS)}), "labels, at most", id="many"
        ),
        pytest.param(gauge("x", 1, l="v" * 20_000), "longer than", id="long"),
    ],
)
def test_what_cannot_be_taken_is_counted_with_its_reason(receiver, storage, metric, words):
    outcome = receiver.take(request(metric, gauge("good", 1)), NOW + 1)
    assert (outcome.taken, outcome.rejected) == (1, 1)
    assert words in outcome.message
    assert one(storage, "good", 1) == 1


def test_point_that_is_older_is_refused(receiver, storage):
    receiver.take(request(gauge("x", 1, at=10)), NOW + 10)
    outcome = receiver.take(request(gauge("x", 2, at=5)), NOW + 11)
    assert outcome.rejected == 1
    assert one(storage, "x", 11) == 1


def test_same_request_again_changes_nothing(receiver, storage):
    again = request(gauge("x", 1), counter(5, start=-10, at=0), ttft([1, 1, 1], start=-9, at=0))
    receiver.take(again, NOW)
    before = storage.sample_count()
    assert receiver.take(again, NOW).rejected == 0
    assert storage.sample_count() == before


def test_label_bomb_is_refused_and_told():
    storage = Storage(max_series=10)
    receiver = OtlpReceiver(storage)
    outcome = receiver.take(request(*(gauge("x", 1, pod=str(i)) for i in range(30))), NOW)
    assert outcome.rejected == 20
    assert outcome.message == "20 x `x`: no room: there are 10 series already"
    assert storage.series_count() == 10


def test_others_learn_what_was_written(storage):
    names, points = [], []
    receiver = OtlpReceiver(
        storage, on_written=names.append, on_points=lambda found, _: points.extend(found)
    )
    receiver.take(request(gauge("a.b", 2, c__d="e"), ttft([1, 1, 1], start=0, at=1)), NOW + 1)
    assert names == [
        frozenset({"a_b", "ttft_seconds_bucket", "ttft_seconds_sum", "ttft_seconds_count"})
    ]
    assert points == [
        RawPoint("a.b", {"c.d": "e"}, 2.0, NOW),
        RawPoint("ttft_count", {}, 3.0, NOW + 1),
        RawPoint("ttft_sum", {}, 1.5, NOW + 1),
    ]
    assert not math.isnan(points[0].value)
    assert Labels({"__name__": "a_b"}).name == "a_b"
