"""Exponential buckets as explicit ones: nothing lost, bounds that stay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.metrics.otlp.histograms import MAX_BUCKETS, SCALE, Explicit, Exponential

indices = st.dictionaries(st.integers(-200, 200), st.integers(1, 50), max_size=30)


def histogram(scale, positive, zeros=0, negative=None):
    negative = negative or {}
    count = sum(positive.values()) + zeros + sum(negative.values())
    return Exponential(scale, positive, 1.0, count, zeros, negative)


@settings(deadline=None)
@given(st.integers(-10, 20), indices, st.integers(0, 5), indices)
def test_cumulative_buckets_rise_to_the_count(scale, positive, zeros, negative):
    made = histogram(scale, positive, zeros, negative)
    buckets = made.cumulative()
    bounds, counts = zip(*buckets, strict=True)
    assert list(bounds) == sorted(set(bounds))
    assert list(counts) == sorted(counts)
    assert buckets[-1] == (math.inf, made.count)
    assert len(buckets) <= 2 * MAX_BUCKETS + 2


@settings(deadline=None)
@given(st.integers(0, 20), st.floats(1e-6, 1e6))
def test_observation_lies_below_its_bound_and_not_below_the_one_before(scale, observed):
    index = math.ceil(math.log2(observed) * 2**scale) - 1
    bounds = [le for le, count in histogram(scale, {index: 1}).cumulative() if count]
    assert bounds[0] >= observed * (1 - 1e-9)
    assert bounds[0] <= observed * 2 ** (2.0**-SCALE) * (1 + 1e-9) or scale < SCALE


@settings(deadline=None)
@given(indices, indices, st.integers(-2, 8), st.integers(-2, 8))
def test_sum_counts_what_both_count(one, two, scale_one, scale_two):
    a, b = histogram(scale_one, one), histogram(scale_two, two)
    together = a + b
    assert together.count == a.count + b.count
    assert sum(together.positive.values()) == together.count


def test_coarser_grid_keeps_bounds_of_the_finer_one():
    fine = {le for le, _ in histogram(3, dict.fromkeys(range(160), 1)).cumulative()}
    coarse = {le for le, _ in histogram(2, dict.fromkeys(range(80), 1)).cumulative()}
    assert coarse <= fine


def test_explicit_histogram_counts_up():
    made = Explicit((0.1, 1.0), (2, 3, 4), 10.0, 9)
    assert made.cumulative() == [(0.1, 2), (1.0, 5), (math.inf, 9)]
    assert (made + made).cumulative() == [(0.1, 4), (1.0, 10), (math.inf, 18)]


def test_explicit_histograms_of_other_bounds_do_not_add_up():
    with pytest.raises(Exception, match="changed its bounds"):
        Explicit((1.0,), (1, 1), 1.0, 2) + Explicit((2.0,), (1, 1), 1.0, 2)
