"""A whole replay: what came of it, and that it is the same every time."""

import json
from dataclasses import replace

import pytest
from tests.replay.conftest import DEPLOYMENT, TINY, job, steady, traffic

from stoker.errors import InputError
from stoker.replay.document import notes_of
from stoker.replay.job import begin, execute, finish
from stoker.replay.setup import Spread
from stoker.scaling.observation import Reader

pytestmark = pytest.mark.timeout(300)  # the first test may have to wait for the compiler


def replicas(found):
    return [(row["time"], row["wanted"], row["ready"]) for row in found["replicas"]]


def test_quiet_traffic_changes_nothing(file):
    found = execute(job(file()), traffic(steady(2.0, 300)))[0]
    assert (found["requests"], found["failed"], found["scale_events"]) == (600, 0, 0)
    assert replicas(found) == [(0.0, 1, 1)]
    assert found["replica_seconds"] == found["gpu_seconds"] == found["duration"]
    # one prompt of 100 tokens alone: 10 ms; 19 decode steps of 10 + 1 + 0.01 x context
    assert found["ttft"]["p50"] == pytest.approx(0.010)
    decode = sum(0.011 + 1e-5 * (100 + i) for i in range(19))
    assert found["e2e"]["p50"] == pytest.approx(0.010 + decode)
    assert found["slo_attainment"] == 1.0


def test_a_burst_is_seen_at_a_scrape_and_answered_by_the_next_sync(file):
    # 16 requests/s want 4 x as much as max_num_seqs 4 gives: the queue grows at once.
    run = begin(job(file()), traffic(steady(16.0, 60, output=200)))
    ticks = list(run.ticks())
    up = next(tick for tick in ticks if tick.decision.changes)
    assert up.reader is Reader.HPA
    assert up.decision.was == 1
    assert up.decision.replicas == 4
    wanted_at = up.time - run.setup.start
    # scheduled at once, 20 s to the port, and the port is found at the next readiness probe
    ready_at = next(time for time, _, ready in run.models[0].timeline if ready == 4)
    assert wanted_at + 20.0 <= ready_at <= wanted_at + 30.0
    # paid until the end, the drain of those that were not needed any more included
    (model,) = run.models
    assert len(model.pods.lives) == 4
    assert all(life.requests > 0 for life in model.pods.lives)


def test_when_the_burst_is_over_they_drain_and_go(file):
    burst, calm = steady(16.0, 30, output=100), steady(0.2, 300, begin=30.0)
    run = begin(job(file()), traffic(burst, calm))
    for _ in run.ticks():
        pass
    (model,) = run.models
    assert [life.gone is not None for life in model.pods.lives].count(True) == 3
    for life in model.pods.lives:
        if life.gone is not None:
            assert life.deleted is not None
            # the engine had 1 s to end after its last request
            assert life.gone >= life.deleted + 1.0
    assert model.timeline[-1][1:] == (1, 1)


def test_every_request_is_accounted_for(file):
    found = execute(job(file(), replace(TINY, gpus=2)), traffic(steady(20.0, 60, output=150)))[0]
    assert found["done"] + found["failed"] == found["requests"] == 1200
    assert max(row["ready"] for row in found["replicas"]) == 2  # there are only two GPUs
    assert max(row["wanted"] for row in found["replicas"]) > 2


def test_a_model_at_zero_is_woken_by_a_request_that_is_held(file):
    zero = file(
        ("minReplicaCount: 1", "minReplicaCount: 0"), ("maxReplicaCount: 4", "maxReplicaCount: 2")
    )
    found = execute(job(zero, replace(TINY, replicas=0)), traffic(steady(1.0, 5, begin=100.0)))[0]
    first_up = next(row for row in found["replicas"] if row["wanted"] > 0)
    assert first_up["time"] == pytest.approx(100.0)
    assert found["held"]["requests"] == 5
    assert found["held"]["max"] == pytest.approx(found["starts"]["max"])
    assert found["failed"] == 0


def test_without_that_it_waits_for_a_trigger_and_a_held_request_gives_up(file):
    zero = file(("minReplicaCount: 1", "minReplicaCount: 0"))
    setup = replace(TINY, replicas=0, activate_on_request=False, hold_timeout=60.0)
    found = execute(job(zero, setup), traffic(steady(1.0, 5, begin=100.0)))[0]
    assert found["failures"]["timed_out"] == 5
    assert found["slo_attainment"] == 0.0
    assert found["duration"] == pytest.approx(164.0)


def test_a_gateway_that_is_full_refuses(file):
    zero = file(("minReplicaCount: 1", "minReplicaCount: 0"))
    setup = replace(TINY, replicas=0, hold_limit=3)
    found = execute(job(zero, setup), traffic(steady(1.0, 5)))[0]
    assert found["failures"]["refused"] == 2
    assert found["done"] == 3


def test_clients_that_wait_too_long_go_and_their_requests_have_failed(file):
    zero = file(("minReplicaCount: 1", "minReplicaCount: 0"))
    setup = replace(TINY, replicas=0, client_timeout=15.9)
    found = execute(job(zero, setup), traffic(steady(1.0, 40)))[0]
    # 20 s to the port, found at the next probe of 10 s: who came in the first 5 s went before
    assert found["failures"]["abandoned"] == 5
    assert found["failed"] == 5
    assert found["slo_attainment"] <= 35 / 40


def test_an_overloaded_replica_is_free_again_when_its_clients_go(file):
    one = file(("maxReplicaCount: 4", "maxReplicaCount: 1"))
    crowd = traffic(steady(20.0, 30, output=100), steady(1.0, 60, output=100, begin=60.0))
    patient = execute(job(one), crowd)[0]
    gone = execute(job(one, replace(TINY, first_token_timeout=5.0)), crowd)[0]
    assert patient["failed"] == 0
    assert gone["failures"]["abandoned"] > 100
    assert gone["done"] + gone["failures"]["abandoned"] == gone["requests"]
    assert patient["ttft"]["max"] > 30.0
    assert gone["ttft"]["max"] <= 5.0


def test_a_query_sees_as_far_back_as_it_asks(file):
    query = 'sum(vllm:num_requests_waiting{model_name="tiny-model"})'
    keepalive = file((query, "5 * sum(max_over_time(vllm:num_requests_running[3h]))"))
    burst = traffic(steady(16.0, 5, output=50), steady(0.01, 12_000, output=1, begin=100.0))
    one = job(keepalive)
    run = begin(one, burst)
    assert run.window == 3 * 3600.0
    wanted = [
        (tick.time - run.setup.start, reading.value)
        for tick in run.ticks()
        for reading in tick.readings
    ]
    assert all(value >= 20.0 for time, value in wanted if 20.0 < time < 10_780.0)
    assert all(value < 20.0 for time, value in wanted if time > 10_860.0)
    assert not any("looks back" in note for note in notes_of(run, one, burst))


def test_a_trace_shorter_than_the_window_of_a_query_is_told(file):
    query = 'sum(vllm:num_requests_waiting{model_name="tiny-model"})'
    path = file((query, "sum(avg_over_time(vllm:num_requests_waiting[30m:1m] offset 10m))"))
    one, load = job(path), traffic(steady(1.0, 1000))
    run = begin(one, load)
    for _ in run.ticks():
        pass
    assert any("looks back 2400 s" in note for note in notes_of(run, one, load))


def test_requests_that_no_engine_takes_fail_and_are_told(file):
    long = traffic(steady(1.0, 3), steady(1.0, 2, prompt=5000, begin=10.0))
    found = execute(job(file()), long)[0]
    assert found["failures"]["too_long"] == 2
    assert found["slo_attainment"] == pytest.approx(3 / 5)


def test_a_replica_that_crashes_breaks_answers_and_is_started_anew(file):
    setup = replace(TINY, failures=60.0)
    found = execute(job(file(), setup), traffic(steady(2.0, 600, output=60)))[0]
    assert found["starts"]["restarts"] > 3
    assert found["failures"]["broken"] > 0
    assert found["retries"] > 0
    assert found["done"] + found["failed"] == found["requests"]


def test_pods_wait_for_a_node_that_has_to_be_started(file):
    setup = replace(TINY, node_startup=Spread(90.0, 90.0), node_gpus=1, nodes=0)
    found = execute(job(file(), setup), traffic(steady(16.0, 120, output=150)))[0]
    assert found["starts"]["median"] == pytest.approx(110.0, abs=10.0)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(file):
    setup = replace(TINY, startup=Spread(20.0, 60.0))
    path, requests = file(), traffic(steady(12.0, 200, output=150))
    one, again = (json.dumps(execute(job(path, setup), requests)) for _ in range(2))
    other = json.dumps(execute(job(path, replace(setup, seed=1)), requests))
    assert one == again
    assert one != other


def test_a_trigger_that_cannot_be_replayed_is_said(file):
    metadata = "    metadata:\n      serverAddress: http://prometheus.monitoring.svc:9090\n"
    redis = file(("type: prometheus", "type: redis"), (metadata, "    metadata:\n"))
    with pytest.raises(InputError, match="trigger 0"):
        begin(job(redis), traffic(steady(1.0, 3)))


def test_a_query_that_cannot_be_parsed_fails_at_every_look_as_in_keda(file):
    found = execute(job(file(("sum(vllm", "sum(((vllm"))), traffic(steady(1.0, 30)))[0]
    assert found["failed_looks"] == found["polls"] + found["syncs"] > 0


def test_ticks_tell_what_was_scraped(file):
    run = begin(job(file()), traffic(steady(1.0, 60)))
    ticks = list(run.ticks())
    assert ticks[-1].samples.replicas_scraped == 1
    assert ticks[-1].samples.series == 1  # the one that the query selects
    assert 0.0 <= ticks[-1].samples.newest_age <= 5.0


def test_numbers_of_a_run_count_its_ticks(file):
    one = job(file())
    run = begin(one, traffic(steady(1.0, 61)))
    seen = []
    found = finish(run, one, traffic(), seen.append)
    assert found["polls"] == sum(tick.reader is Reader.KEDA for tick in seen)
    assert found["syncs"] == sum(tick.reader is Reader.HPA for tick in seen)


def test_cron_begins_at_the_time_that_was_said(file):
    cron = file(
        ("type: prometheus", "type: cron"),
        ("      serverAddress: http://prometheus.monitoring.svc:9090\n", "      timezone: UTC\n"),
        ('      query: sum(vllm:num_requests_waiting{model_name="tiny-model"})\n', ""),
        (
            '      threshold: "5"',
            "      start: 5 0 * * *\n      end: 0 1 * * *\n      desiredReplicas: '3'",
        ),
    )
    found = execute(job(cron), traffic(steady(0.5, 900)))[0]
    up = next(row for row in found["replicas"] if row["wanted"] == 3)
    assert 300.0 <= up["time"] <= 330.0  # five past midnight


def test_a_query_of_any_metric_gives_what_its_name_would(file):
    name = 'sum(vllm:num_requests_waiting{model_name="tiny-model"})'
    regex = file(
        (name, 'sum({__name__=~"vllm:num_requests_wait.*g",model_name="tiny-model"})'),
        name="r.yaml",
    )
    load = traffic(steady(16.0, 60, output=200))
    by_name, by_regex = (execute(job(path), load)[0] for path in (file(), regex))
    assert by_name["decisions"]
    assert [(d["time"], d["to"]) for d in by_name["decisions"]] == [
        (d["time"], d["to"]) for d in by_regex["decisions"]
    ]


def test_a_liveness_probe_that_is_too_strict_never_lets_it_start(file):
    strict = DEPLOYMENT.replace("readinessProbe", "livenessProbe")
    assert strict != DEPLOYMENT
    path = file(deployment=strict.replace("periodSeconds: 10", "periodSeconds: 3"))
    setup = replace(TINY, cold=True, hold_timeout=120.0)
    found = execute(job(path, setup), traffic(steady(1.0, 10)))[0]
    assert found["failures"]["timed_out"] == 10
    assert found["starts"]["restarts"] >= 3
