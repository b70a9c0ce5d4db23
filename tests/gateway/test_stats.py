"""The numbers of a model: outcomes, TTFT of the last minute, tokens a second."""

from __future__ import annotations

import json

import pytest

from stoker.gateway.page import page
from stoker.gateway.stats import ModelCounters, Snapshot, past


async def test_streams_and_whole_answers_count_the_tokens_that_the_engine_reports(
    engine, gateway, post
):
    pod = await engine()
    door = await gateway(pod)
    await post(door, stream=True)  # 2 in its usage
    await post(door)  # 7
    assert 'stoker_gateway_output_tokens_total{model="m"} 9' in door.page()


async def test_a_stream_without_usage_counts_its_events_but_the_first(
    engine, gateway, post, events
):
    pod = await engine()
    reply = b"".join((*events[:3], events[4]))
    pod.answer = pod.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + reply
    )
    door = await gateway(pod)
    await post(door, stream=True)
    assert 'stoker_gateway_output_tokens_total{model="m"} 2' in door.page()


async def test_only_streams_have_a_time_to_first_token(engine, gateway, post):
    pod = await engine()
    door = await gateway(pod)
    await post(door)
    assert door.stats("m").ttft_p50 is None
    await post(door, stream=True)
    assert 0 <= door.stats("m").ttft_p50 < 2
    assert 'stoker_gateway_time_to_first_token_seconds_count{model="m"} 1' in door.page()
    assert 'stoker_gateway_request_duration_seconds_count{model="m"} 2' in door.page()


async def test_the_time_that_a_request_was_held_is_part_of_its_time_to_first_token(
    engine, gateway, post, until
):
    pod = await engine()
    door = await gateway()
    request = post(door, stream=True)
    await until(lambda: door.held("m") == 1)
    before = door.plane.now()
    await until(lambda: door.plane.now() > before + 0.05)
    door.set_backends("m", [pod.backend])
    await request
    assert door.stats("m").ttft_p50 >= 0.05


def snapshot(counters: ModelCounters, now: float) -> Snapshot:
    dumped = {
        "models": {"m": counters.dump(now)},
        "held": {"m": 1},
        "held_bytes": {"m": 10},
        "endpoints": [["m", "pod-1", "http://a", True, 2, False]],
        "other": {"unknown_model": 1},
        "connections": 3,
    }
    return json.loads(json.dumps(dumped))  # as it comes from another process


def test_ttft_percentiles_forget_what_is_older_than_a_minute():
    counters = ModelCounters()
    for second in range(100):
        counters.first_token(float(second), float(second))

    def percentiles(now):
        stats = Snapshot.of([snapshot(counters, now)]).stats("m")
        return stats.ttft_p50, stats.ttft_p95

    assert percentiles(99.0) == (69.0, 96.0)  # of 39 ... 99
    assert percentiles(158.5) == (99.0, 99.0)
    assert percentiles(160.0) == (None, None)


def test_tokens_per_second_is_the_mean_of_the_last_ten_seconds():
    counters = ModelCounters()
    for half in range(40):
        counters.mark_tokens(half / 2)
        counters.output_tokens += 15
    assert counters.tokens_per_second(19.9) == 33.0  # since second 9: 11 s, the last not over
    for half in range(40, 80):
        counters.mark_tokens(half / 2)
    assert counters.tokens_per_second(40.0) == 0.0


def test_the_counters_of_two_processes_add_up():
    counters = ModelCounters()
    counters.incoming = 5
    counters.in_flight = 2
    counters.by_code[200] = 3
    counters.retries["connect"] = 1
    counters.replicas["pod-1", "ok"] = 3
    counters.ttft.observe(0.03)
    both = Snapshot.of([snapshot(counters, 0.0)] * 2)
    text = page(both)
    assert 'vllm:num_incoming_requests_total{model="m"} 10' in text
    assert 'stoker_gateway_in_flight{model="m",pod="pod-1"} 4' in text
    assert 'stoker_gateway_replica_requests_total{model="m",pod="pod-1",outcome="ok"} 6' in text
    assert 'stoker_gateway_time_to_first_token_seconds_bucket{model="m",le="0.04"} 2' in text
    assert "stoker_gateway_connections 6" in text
    assert both.stats("m").held == 2


def test_of_a_process_that_has_ended_only_the_counts_remain():
    counters = ModelCounters()
    counters.incoming = 5
    counters.in_flight = 2
    remains = Snapshot.of([past(snapshot(counters, 0.0))])
    assert remains.models["m"].incoming == 5
    assert remains.stats("m").in_flight == 0
    assert remains.stats("m").held == 0
    assert remains.connections == 0
    assert not remains.endpoints


@pytest.mark.parametrize(
    ("codes", "truncated", "ok", "failed"),
    [
        ({200: 3}, 0, 3, 0),
        ({200: 3}, 1, 2, 1),
        ({400: 1, 404: 1, 429: 1, 499: 1}, 0, 0, 0),
        ({500: 1, 502: 1, 503: 1, 504: 1}, 0, 0, 4),
    ],
)
def test_ok_is_whole_and_failed_is_the_servers_fault(codes, truncated, ok, failed):
    counters = ModelCounters(truncated=truncated)
    counters.by_code.update(codes)
    assert (counters.ok, counters.failed) == (ok, failed)
