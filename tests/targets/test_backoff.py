"""The kubelet's back-off, number by number."""

from hypothesis import given
from hypothesis import strategies as st

from stoker.targets.processes.backoff import CrashBackOff


def crash_at_once(times: int) -> list[float]:
    backoff, now, delays = CrashBackOff(), 0.0, []
    for _ in range(times):
        delay = backoff.delay(now)
        delays.append(delay)
        backoff.restarted(now, now + delay)
        now += delay
    return delays


def test_first_restart_is_immediate_then_ten_seconds_doubled_to_five_minutes():
    assert crash_at_once(9) == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_minutes_of_running_start_over():
    backoff = CrashBackOff()
    for finished_at in (0, 1, 20):
        backoff.restarted(finished_at, finished_at)
    assert backoff.delay(20 + 600) == 40
    assert backoff.delay(20 + 601) == 0
    backoff.restarted(621, 621)
    assert backoff.delay(622) == 10


@given(st.lists(st.floats(0, 2000), max_size=30))
def test_delay_is_never_above_five_minutes_and_never_negative(lifetimes):
    backoff, now = CrashBackOff(), 0.0
    for lifetime in lifetimes:
        now += lifetime
        delay = backoff.delay(now)
        assert 0 <= delay <= 300
        backoff.restarted(now, now + delay)
        now += delay
