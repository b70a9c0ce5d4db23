"""Replicas that sleep in place of ending, and are woken in place of being started."""

from dataclasses import replace

import pytest
from tests.replay.conftest import TINY, job, steady, traffic

from stoker.replay.job import begin, execute
from stoker.replay.setup import Spread
from stoker.simulator.fleet import state as at

pytestmark = pytest.mark.timeout(300)
TWO_BURSTS = traffic(
    steady(16.0, 15, output=100),
    steady(0.2, 385, begin=15.0),
    steady(16.0, 15, output=100, begin=400.0),
    steady(0.2, 200, begin=415.0),
)
SLEEPING = replace(TINY, sleepers=3, wake=Spread(2.0, 2.0))


def finished(one, load=TWO_BURSTS):
    run = begin(one, load)
    for _ in run.ticks():
        pass
    return run


def test_the_second_burst_is_met_by_those_that_slept(file):
    run = finished(job(file(), SLEEPING))
    lives = [life for life in run.models[0].pods.lives if not life.was_there]
    cold = [life for life in lives if not life.woke]
    woken = [life for life in lives if life.woke]
    assert len(cold) == len(woken) == 3
    assert all(life.ready - life.created >= 20.0 for life in cold)
    assert all(life.ready - life.created == pytest.approx(2.0) for life in woken)
    assert all(life.requests > 0 for life in woken)


def test_it_costs_what_is_said_of_a_sleeping_replica(file):
    awake = execute(job(file()), TWO_BURSTS)[0]
    full = execute(job(file(), SLEEPING), TWO_BURSTS)[0]
    half = execute(job(file(), replace(SLEEPING, asleep_cost=0.5)), TWO_BURSTS)[0]
    free = execute(job(file(), replace(SLEEPING, asleep_cost=0.0)), TWO_BURSTS)[0]
    assert awake["asleep_seconds"] == 0.0
    assert full["asleep_seconds"] == half["asleep_seconds"] == free["asleep_seconds"] > 300.0
    assert full["gpu_seconds"] == pytest.approx(full["replica_seconds"] + full["asleep_seconds"])
    assert half["gpu_seconds"] == pytest.approx(
        full["replica_seconds"] + full["asleep_seconds"] / 2
    )
    assert free["gpu_seconds"] == pytest.approx(full["replica_seconds"])
    assert free["gpu_seconds"] < awake["gpu_seconds"] < full["gpu_seconds"]
    assert full["starts"]["wakes"] == 3


def test_no_more_sleep_than_were_allowed_to(file):
    run = finished(job(file(), replace(SLEEPING, sleepers=1)))
    woken = [life for life in run.models[0].pods.lives if life.woke]
    assert len(woken) == 1
    cold = [life for life in run.models[0].pods.lives if not life.woke and not life.was_there]
    assert len(cold) == 5


def test_a_sleeping_replica_keeps_its_gpu(file):
    run = finished(job(file(), replace(SLEEPING, gpus=4)))
    lives = run.models[0].pods.lives
    assert [life.woke for life in lives].count(True) == 3  # nothing else could have started


def test_a_request_at_zero_waits_for_a_wake_and_not_for_a_start(file):
    zero = file(("minReplicaCount: 1", "minReplicaCount: 0"))
    load = traffic(steady(1.0, 3), steady(1.0, 3, begin=900.0))
    times = finished(job(zero, replace(SLEEPING, replicas=0)), load).fleet.state.times
    held = times[:, at.T_SENT] - times[:, at.T_ARRIVED]
    assert held[0] == pytest.approx(20.0)
    assert held[3] == pytest.approx(2.0)


def test_one_that_is_deleted_before_it_answers_does_not_sleep(file):
    run = begin(job(file(), SLEEPING), TWO_BURSTS)
    pods = run.models[0].pods
    pods.begin(1, cold=False)
    pods.scale_at(3, 0.0)
    pods.scale_at(1, 0.0)
    run.agenda.do_next()
    while run.agenda.next < 30.0:
        run.agenda.do_next()
    assert pods.asleep_seconds(30.0) == 0.0
