"""What the gateway is told of starts: how long they take, and when none will succeed soon."""

from __future__ import annotations

from dataclasses import replace

from stoker.stack.startups import StartUps, failed
from stoker.targets.base import Pod


def pod(name: str, *, took: float | None = None, **fields) -> Pod:
    ready_at = None if took is None else 100.0 + took
    return Pod(name, "llama", "default", 100.0, ready_at=ready_at, **fields)


def test_a_start_counts_once_however_often_its_pod_becomes_ready():
    starts = StartUps()
    assert starts.typical("m", [pod("a")]) is None
    assert starts.typical("m", [pod("a", took=80)]) == 80
    assert starts.typical("m", [pod("a", took=500)]) == 80  # unready in between
    assert starts.typical("m", [pod("a", took=500), pod("b", took=90)]) == 85


def test_models_are_apart_and_old_starts_are_forgotten():
    starts = StartUps()
    for number in range(5):
        starts.typical("m", [pod(f"old-{number}", took=10)])
    for number in range(3):
        last = starts.typical("m", [pod(f"new-{number}", took=60)])
    assert last == 60
    assert starts.typical("other", []) is None


def test_a_start_with_crashes_is_not_one_start():
    starts = StartUps()
    assert starts.typical("m", [pod("a", took=300, restarts=2)]) is None
    assert starts.typical("m", [pod("a", took=300, restarts=2), pod("b", took=70)]) == 70


def test_starts_have_failed_only_when_all_pods_crash():
    crashing = pod("a", reason="CrashLoopBackOff", message="back-off 10s: exit code 1")
    assert failed([crashing]) == "back-off 10s: exit code 1"
    assert failed([crashing, pod("b")]) is None
    assert failed([crashing, replace(pod("b"), terminating=True)]) is not None
    assert failed([]) is None
