"""Replicas and processes come, go and misbehave under load: the short form of `chaos`."""

from __future__ import annotations

import pytest
from tests.gateway.chaos import Chaos


# A control process that is killed closes nothing in order, and neither does its stand-in here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.e2e
@pytest.mark.parametrize(("workers", "seed"), [(1, 1), (2, 2)])
async def test_no_request_that_could_be_served_fails(tmp_path, workers, seed):
    report = await Chaos(tmp_path, seed, workers).run(events=60, clients=30)
    assert report.events["kill"]
    assert report.events["control"]
    assert report.outcomes["ok"] > 100
    # A stream that has begun cannot be saved; all else must be served.
    expected = {"ok", "client gone", "told: replica_lost", "broken: ClientPayloadError"}
    assert set(report.outcomes) <= expected, report.odd
    cut = report.outcomes["broken: ClientPayloadError"] + report.outcomes["told: replica_lost"]
    assert cut <= report.counted["truncated"] <= cut + report.outcomes["client gone"]
    # Every request is in the books, and nothing is left in hand.
    assert report.counted["incoming"] == report.counted["200"] + report.counted["499"]
    assert (report.in_flight, report.held) == (0, 0)
