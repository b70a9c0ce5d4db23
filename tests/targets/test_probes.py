"""When probes are sent and what they add up to, under virtual time."""

# ruff: noqa: ARG002 - a fake has the signature of what it stands for

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.clock import LoopClock
from stoker.resources.workload import Probe
from stoker.targets.processes.probes import ProbeCounter, ProbeResult, ProbeWorker


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        pytest.param("0001", [None, None, False, True], id="three failures, one success"),
        pytest.param("00100", [None, None, True, None, None], id="a success starts the count over"),
        pytest.param("0000", [None, None, False, False], id="the verdict is repeated"),
    ],
)
def test_a_verdict_needs_its_threshold_in_a_row(results, verdicts):
    counter = ProbeCounter(success_threshold=1, failure_threshold=3)
    assert [counter.count(result == "1") for result in results] == verdicts


@given(
    st.lists(st.booleans(), max_size=50),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_a_verdict_is_always_the_last_results(results, successes, failures):
    counter = ProbeCounter(successes, failures)
    for index, result in enumerate(results, 1):
        verdict = counter.count(result)
        if verdict is not None:
            assert verdict is result
            need = successes if result else failures
            assert results[index - need : index] == [result] * need


class Asked:
    def __init__(self, healthy_from=float("inf"), takes=0.0):
        self.times = []
        self.healthy_from = healthy_from
        self.takes = takes

    async def __call__(self, probe):
        now = asyncio.get_running_loop().time()
        self.times.append(now)
        await asyncio.sleep(self.takes)
        return ProbeResult(now >= self.healthy_from, "connection refused")


def worker(probe, asked, failures=None):
    clock = LoopClock(epoch=0)
    on_failure = (failures if failures is not None else []).append
    return ProbeWorker(probe, asked, clock, clock.now(), on_failure)


@pytest.mark.looptime
async def test_the_chart_gives_an_engine_605_seconds_to_start():
    probe = Probe(initial_delay=15, period=10, failure_threshold=60)
    asked = Asked()
    assert await worker(probe, asked).next_verdict() is False
    assert asked.times[0] == 15
    assert asked.times[-1] == 605
    assert len(asked.times) == 60


@pytest.mark.looptime
async def test_success_ends_the_wait_at_the_next_probe():
    asked, failures = Asked(healthy_from=82), []
    probe = Probe(initial_delay=15, period=10, failure_threshold=60)
    assert await worker(probe, asked, failures).next_verdict() is True
    assert asked.times[-1] == 85
    assert failures == ["connection refused"] * 7


@pytest.mark.looptime
async def test_success_threshold_counts():
    asked = Asked(healthy_from=0)
    assert await worker(Probe(period=5, success_threshold=3), asked).next_verdict() is True
    assert asked.times == [0, 5, 10]


@pytest.mark.looptime
async def test_the_period_goes_on_between_verdicts():
    asked = Asked(healthy_from=0)
    probing = worker(Probe(period=5), asked)
    await probing.next_verdict()
    await probing.next_verdict()
    assert asked.times == [0, 5]


@pytest.mark.looptime
async def test_a_slow_probe_leaves_out_the_turns_it_missed():
    asked = Asked(takes=12)
    await worker(Probe(period=5, failure_threshold=2), asked).next_verdict()
    assert asked.times == [0, 15]


@pytest.mark.looptime
async def test_the_initial_delay_of_an_adopted_container_is_over():
    clock, asked = LoopClock(epoch=1000), Asked(healthy_from=0)
    probe = Probe(initial_delay=15)
    await ProbeWorker(probe, asked, clock, 100.0, print).next_verdict()
    assert asked.times == [0]
