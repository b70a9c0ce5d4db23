"""Which replica goes when there are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.targets.base import Pod
from stoker.targets.processes import victims


class Traffic:
    def __init__(self, **requests):
        self.requests = requests

    def in_flight(self, pod):
        return self.requests.get(pod, 0)


def running(name, **changes):
    fields = {"phase": "Running", "ready": True, "created_at": 0.0}
    return Pod(name=name, workload="m", namespace="default", **(fields | changes))


@pytest.mark.parametrize(
    ("pods", "requests", "goes"),
    [
        pytest.param(
            [running("a", ready=False), running("b", phase="Pending", ready=False)],
            {},
            "b",
            id="pending before not ready",
        ),
        pytest.param(
            [running("a", created_at=9), running("b", ready=False)],
            {},
            "b",
            id="not ready before young",
        ),
        pytest.param(
            [running("a", created_at=9), running("b", created_at=1)],
            {"a": 3, "b": 2},
            "b",
            id="least busy before young",
        ),
        pytest.param(
            [running("a", created_at=1), running("b", created_at=9)],
            {"a": 2, "b": 2},
            "b",
            id="youngest of equally busy",
        ),
    ],
)
def test_one_too_many(pods, requests, goes):
    assert [pod.name for pod in victims(pods, 1, Traffic(**requests))] == [goes]
    assert [pod.name for pod in victims(pods[::-1], 1, Traffic(**requests))] == [goes]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=8), st.integers(-1, 10))
def test_no_ready_replica_goes_while_an_unready_one_stays(states, number):
    pods = [running(f"p{i}", ready=ready) for i, (ready, _) in enumerate(states)]
    traffic = Traffic(**{f"p{i}": requests for i, (_, requests) in enumerate(states)})
    gone = victims(pods, number, traffic)
    assert len(gone) == min(max(number, 0), len(pods))
    if any(pod.ready for pod in gone):
        assert all(pod.ready for pod in pods if pod not in gone)
