"""cpu and memory of local replicas."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from stoker.errors import NotFoundError
from stoker.scaling.observation import PodUsage
from stoker.targets.base import Pod
from stoker.targets.processes.usage import LocalUsage, PsutilMeter

POD = Pod("llama-0", "llama", "default", created_at=0.0, pid=7)
REQUESTS = {"cpu": "500m", "memory": "1Gi"}


class FakeMeter:
    """A kernel whose processes spend what the test says."""

    def __init__(self) -> None:
        self.cpu: dict[int, float] = {7: 100.0}
        self.memory: dict[int, int] = {7: 4096}

    def cpu_seconds(self, pid: int) -> float | None:
        return self.cpu.get(pid)

    def memory_bytes(self, pid: int) -> int | None:
        return self.memory.get(pid)


@pytest.fixture
def meter() -> FakeMeter:
    return FakeMeter()


def usage_of(pods: list[Pod], meter: FakeMeter) -> LocalUsage:
    return LocalUsage(lambda: pods, REQUESTS, "vllm", meter)


def test_cpu_is_the_time_spent_between_two_looks(meter: FakeMeter) -> None:
    usage = usage_of([POD], meter)

    assert usage("cpu", "", 1000.0).pods == ()
    meter.cpu[7] += 12.0
    found = usage("cpu", "", 1015.0)

    assert found.pods == (PodUsage("llama-0", 800, 1015.0, 15.0),)
    assert (found.requests, found.read_at) == ((("llama-0", 500),), 1015.0)


def test_two_triggers_at_one_moment_see_the_same_rate(meter: FakeMeter) -> None:
    usage = usage_of([POD], meter)
    usage("cpu", "", 1000.0)
    meter.cpu[7] += 15.0
    first = usage("cpu", "", 1015.0)

    assert usage("cpu", "vllm", 1015.1).pods == first.pods


def test_a_restarted_process_has_no_rate_until_the_next_look(meter: FakeMeter) -> None:
    pods = [POD]
    usage = usage_of(pods, meter)
    usage("cpu", "", 1000.0)
    usage("cpu", "", 1015.0)
    pods[0] = replace(POD, pid=8)
    meter.cpu[8] = 1.0

    assert usage("cpu", "", 1030.0).pods == ()
    meter.cpu[8] = 16.0
    assert [pod.milli for pod in usage("cpu", "", 1045.0).pods] == [1000]


@pytest.mark.parametrize("gone", [POD, replace(POD, pid=None)], ids=["ended", "not started"])
def test_a_pod_without_a_process_has_no_sample(gone: Pod, meter: FakeMeter) -> None:
    pods = [POD]
    usage = usage_of(pods, meter)
    usage("cpu", "", 1000.0)
    usage("cpu", "", 1015.0)
    pods[0] = gone
    meter.cpu.clear()
    meter.memory.clear()

    assert usage("cpu", "", 1030.0).pods == ()
    assert usage("memory", "", 1030.0).pods == ()


def test_time_that_an_ended_child_took_along_is_no_negative_usage(meter: FakeMeter) -> None:
    usage = usage_of([POD], meter)
    usage("cpu", "", 1000.0)
    meter.cpu[7] = 3.0

    assert [pod.milli for pod in usage("cpu", "", 1015.0).pods] == [0]


def test_memory_is_that_of_the_moment_in_thousandths_of_a_byte(meter: FakeMeter) -> None:
    found = usage_of([POD], meter)("memory", "", 1000.0)

    assert found.pods == (PodUsage("llama-0", 4_096_000, 1000.0, 0.0),)
    assert found.requests == (("llama-0", 2**30 * 1000),)


def test_what_is_not_requested_is_left_out(meter: FakeMeter) -> None:
    assert LocalUsage(lambda: [POD], {}, "vllm", meter)("memory", "", 0.0).requests == ()


def test_a_container_of_another_name_is_not_there(meter: FakeMeter) -> None:
    with pytest.raises(NotFoundError, match="container sidecar not present in metrics for pod"):
        usage_of([POD], meter)("cpu", "sidecar", 0.0)


def test_psutil_knows_this_very_process() -> None:
    meter = PsutilMeter()
    before = meter.cpu_seconds(os.getpid())
    assert before is not None
    spent = sum(n * n for n in range(2_000_000))

    assert spent > 0
    assert before < (meter.cpu_seconds(os.getpid()) or 0.0)
    assert 2**20 < (meter.memory_bytes(os.getpid()) or 0) < 2**34


def test_psutil_knows_nothing_of_a_process_that_is_not() -> None:
    highest = 2**22 + 1  # above pid_max

    assert PsutilMeter().cpu_seconds(highest) is None
    assert PsutilMeter().memory_bytes(highest) is None
