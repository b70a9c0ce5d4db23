"""Replicas and processes come, go and misbehave under load: the short form of `chaos`."""

from __future__ import annotations

import pytest
from tests.gateway.chaos import Chaos


@pytest.mark.e2e
@pytest.mark.parametrize(("workers", "seed"), [(1, 1), (2, 2)])
async def test_no_request_that_could_be_served_fails(tmp_path, workers, seed):
    report = await Chaos(tmp_path, seed, workers).run(events=60, clients=30)
    assert report.events["kill"]
    assert report.events["control"]
    assert report.outcomes["ok"] > 100
    # A stream that has begun cannot be saved; all else must be served.
    expected = {"ok", "client gone", "told: replica_lost", "broken: ClientPayloadError"}
    if workers > 1:  # what a killed process had in hand
        assert report.events["worker"]
        expected |= {"broken: ServerDisconnectedError", "broken: ClientOSError"}
    assert set(report.outcomes) <= expected, report.odd
    seen, counted = report.outcomes, report.counted
    cut = seen["broken: ClientPayloadError"] + seen["told: replica_lost"]
    cut_off = seen["broken: ServerDisconnectedError"] + seen["broken: ClientOSError"]
    assert cut + cut_off <= counted["truncated"] + counted["lost"]
    assert counted["truncated"] <= cut + seen["client gone"]
    # Every request is in the books, and nothing is left in hand.
    assert counted["incoming"] == counted["200"] + counted["499"] + counted["lost"]
    assert (report.in_flight, report.held) == (0, 0)
    assert (report.sockets, report.tasks) == (0, 0)
