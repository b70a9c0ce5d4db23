"""The numbers of a model: outcomes, TTFT of the last minute, tokens a second."""

from __future__ import annotations

import pytest

from stoker.gateway.stats import ModelCounters


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
    before = door._clock.now()
    await until(lambda: door._clock.now() > before + 0.05)
    door.set_backends("m", [pod.backend])
    await request
    assert door.stats("m").ttft_p50 >= 0.05


def test_ttft_percentiles_forget_what_is_older_than_a_minute():
    counters = ModelCounters()
    for second in range(100):
        counters.first_token(float(second), float(second))
    assert counters.ttft_percentiles(99.0) == (69.0, 96.0)  # of 39 ... 99
    assert counters.ttft_percentiles(158.5) == (99.0, 99.0)
    assert counters.ttft_percentiles(160.0) == (None, None)


def test_tokens_per_second_is_the_mean_of_the_last_ten_whole_seconds():
    counters = ModelCounters()
    for tenth in range(200):
        counters.tokens(tenth / 10, 3)
    assert counters.tokens_per_second(20.0) == 30.0
    assert counters.tokens_per_second(25.0) == 15.0
    assert counters.tokens_per_second(31.0) == 0.0
    assert counters.output_tokens == 600


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
