from __future__ import annotations

import pytest

from stoker.backtest import Plan, Tally, ticks

from .conftest import a_spec, metrics


def summary(recorded, end, spec=None, *, flap_window=600.0, replicas=1):
    tally = Tally(0.0, replicas, flap_window=flap_window)
    for _ in tally.watch(ticks(spec or a_spec(), recorded, Plan(0.0, end, replicas))):
        pass
    return tally.summary(end)


def test_replica_hours_are_what_was_asked_for_over_time() -> None:
    # 1 for 15 s, then 3 until the window of 300 s has run out at 330 s, then 1
    found = summary(metrics((0, 15), (20, 0), (280, 0), (560, 0)), 600)

    assert found.replica_hours * 3600 == pytest.approx(1 * 15 + 3 * 315 + 1 * 270)
    assert (found.lowest, found.peak, found.last) == (1, 3, 1)
    assert (found.polls, found.syncs) == (21, 40)
    assert (found.scale_ups, found.scale_downs, found.scale_events) == (1, 1, 2)


def test_no_change_still_costs() -> None:
    assert summary(metrics((0, 5)), 3600).replica_hours == pytest.approx(1)


@pytest.mark.parametrize(("window", "flaps"), [(600, 1), (315, 0), (315.5, 1)])
def test_a_flap_is_a_reversal_within_the_window(window, flaps) -> None:
    # up at 15 s, down at 330 s: 315 s later
    recorded = metrics((0, 15), (20, 0), (280, 0), (560, 0))

    assert summary(recorded, 600, flap_window=window).flaps == flaps


def test_two_steps_in_one_direction_are_no_flap() -> None:
    found = summary(metrics((0, 5), (20, 50)), 60)

    assert (found.scale_ups, found.flaps) == (3, 0)


def test_looks_that_failed_are_counted() -> None:
    assert summary(metrics((0, 5), (20, None)), 60).failed_looks == 3 + 2


def test_a_stretch_without_a_look_is_the_replicas_of_the_start() -> None:
    tally = Tally(0.0, 4)

    assert tally.summary(1800.0).replica_hours == 2
