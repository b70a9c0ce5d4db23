"""When requests are sent."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest

from stoker.load import arrivals
from stoker.load.arrivals import Arrival
from stoker.traces import reading
from stoker.traces.arrivals import Arrivals

EXAMPLE = Path(__file__).parents[2] / "examples" / "traces" / "azure2023-conv-slice.csv"


def test_requests_of_a_trace_come_one_by_one_across_chunks():
    chunks = [Arrivals.of([0.0, 1.5], [3, 4], [5, 6]), Arrivals.of([2.0], [7], [8])]
    got = list(arrivals.of(chunks))
    assert got == [Arrival(0.0, 3, 5), Arrival(1.5, 4, 6), Arrival(2.0, 7, 8)]


def test_the_example_is_what_its_readme_says():
    got = list(arrivals.of(reading.read(EXAMPLE)))
    assert len(got) == 785
    assert got[-1].at < 180
    halves = [sum(start <= a.at < start + 30 for a in got) for start in range(0, 180, 30)]
    assert (halves[0], halves[-1]) == (59, 172)
    assert max(a.input_tokens for a in got) == 4107
    assert max(a.output_tokens for a in got) == 1000


def test_a_poisson_process_has_its_rate_and_the_spread_of_one():
    count = 20_000
    times = [a.at for a in islice(arrivals.poisson(5.0, 1, 1, seed=7), count)]
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.2, rel=0.03)
    assert variance**0.5 / mean == pytest.approx(1.0, rel=0.03)


def test_the_same_seed_gives_the_same_requests_and_another_others():
    first, again, other = (
        list(islice(arrivals.poisson(5.0, 1, 1, seed=seed), 50)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_arrivals_end_before_the_duration():
    got = list(arrivals.until(arrivals.poisson(10.0, 3, 4, seed=0), 30.0))
    assert got[-1].at < 30.0
    assert 200 < len(got) < 400
