"""Traces made of traces, chunk by chunk, with nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.traces import transform
from stoker.traces.arrivals import Arrivals, PromptBlocks, joined
from stoker.traces.statistics import Description


def at(*times: float, tokens: int = 1, **columns: object) -> Arrivals:
    return Arrivals.of(times, [tokens] * len(times), [tokens] * len(times), **columns)


def in_chunks(arrivals: Arrivals, size: int) -> list[Arrivals]:
    return [arrivals.part(begin, begin + size) for begin in range(0, len(arrivals), size)]


TIMES = st.lists(st.floats(0, 1000), max_size=40).map(sorted)


def test_a_cut_starts_at_zero_and_excludes_its_end():
    chunks = [at(0, 1, 2, 3), at(4, 5, 6, 7, 8)]
    assert joined(transform.cut(chunks, start=3, duration=4)).times.tolist() == [0, 1, 2, 3]
    assert joined(transform.cut(chunks, start=7)).times.tolist() == [0, 1]


def test_a_cut_does_not_read_beyond_its_end():
    def chunks():
        yield at(0, 1)
        yield at(5, 6)
        raise AssertionError("read too far")

    assert joined(transform.cut(chunks(), duration=5)).times.tolist() == [0, 1]


def test_the_first_requests_end_inside_a_chunk():
    assert len(joined(transform.first([at(0, 1), at(2, 3)], 3))) == 3
    assert len(joined(transform.first([at(0, 1)], 9))) == 2


def test_from_zero_moves_all_chunks_alike():
    assert joined(transform.from_zero([at(7, 8), at(9)])).times.tolist() == [0, 1, 2]


def test_lengths_scale_to_at_least_a_token_and_zero_stays_zero():
    chunk = Arrivals.of([0, 1, 2], [100, 1, 0], [10, 3, 0])
    (got,) = transform.resized([chunk], prompt_factor=0.1, output_factor=2.5)
    assert got.prompt_tokens.tolist() == [10, 1, 0]
    assert got.output_tokens.tolist() == [25, 8, 0]


def test_prompts_of_another_length_have_no_blocks():
    blocks = PromptBlocks(np.array([1]), np.array([0, 1]), 16)
    chunk = at(0, blocks=blocks)
    assert next(transform.resized([chunk], prompt_factor=2)).blocks is None
    assert next(transform.resized([chunk], output_factor=2)).blocks is blocks
    assert next(transform.lengths_set([chunk], prompt_tokens=5)).blocks is None


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_rates_scale_and_bursts_stay_where_they_are(factor):
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 1000, 20_000))
    trace = Arrivals.of(times, np.arange(20_000), np.ones(20_000))
    got = joined(transform.rated(in_chunks(trace, 777), factor, seed=3))
    assert len(got) == pytest.approx(20_000 * factor, rel=0.02)
    assert (np.diff(got.times) >= 0).all()
    original = times[got.prompt_tokens]  # a copy has the length of its original
    assert ((got.times >= original) & (got.times < original + 1.0)).all()
    if factor >= 1:
        assert len(np.unique(got.prompt_tokens)) == 20_000


def test_a_rate_of_one_changes_nothing():
    trace = at(0, 1, 1, 5)
    assert joined(transform.rated(in_chunks(trace, 2), 1.0)).times.tolist() == [0, 1, 1, 5]


@given(traces=st.lists(st.tuples(TIMES, st.integers(1, 9)), min_size=1, max_size=4))
def test_merging_loses_nothing_and_keeps_the_order(traces):
    chunked = []
    for number, (times, size) in enumerate(traces):
        trace = Arrivals.of(times, [number] * len(times), range(len(times)))
        chunked.append(in_chunks(trace, size))
    got = joined(transform.merged(chunked))
    assert got.times.tolist() == sorted(time for times, _ in traces for time in times)
    for number, (times, _) in enumerate(traces):
        mine = got.prompt_tokens == number
        assert got.output_tokens[mine].tolist() == list(range(len(times)))


def test_models_of_merged_traces_keep_their_names():
    one = at(0, 2, models=np.array([0, 1], np.int32), model_names=("a", "b"))
    two = at(1, 3, models=np.array([0, 0], np.int32), model_names=("b",))
    got = joined(transform.merged([[one], [two], [at(4)]]))
    assert [got.model_names[which] for which in got.models] == ["a", "b", "b", "b", ""]
    assert got.keys is None


def test_blocks_of_merged_traces_are_not_taken_for_each_other():
    def trace(*hashes: int) -> Arrivals:
        return at(0, blocks=PromptBlocks(np.array(hashes), np.array([0, len(hashes)]), 16))

    blocks = joined(transform.merged([[trace(1, 2)], [trace(1, 2)]])).blocks
    assert len(set(blocks.hashes.tolist())) == 4
    assert [len(blocks.of(which)) for which in (0, 1)] == [2, 2]


def test_blocks_of_two_sizes_cannot_be_merged():
    one, two = (at(0, blocks=PromptBlocks(np.array([1]), np.array([0, 1]), n)) for n in (16, 512))
    with pytest.raises(InputError, match="16 and of 512"):
        joined(transform.merged([[one], [two]]))


@given(times=TIMES.filter(len), size=st.integers(1, 7))
def test_statistics_do_not_depend_on_chunks(times, size):
    trace = Arrivals.of(times, range(len(times)), range(len(times)))
    whole, parts = Description.of([trace]), Description.of(in_chunks(trace, size))
    assert (parts.requests, parts.duration) == (whole.requests, whole.duration)
    assert parts.counts(10).tolist() == whole.counts(10).tolist()
    assert parts.longest_silence == pytest.approx(whole.longest_silence)
    if whole.gap_variation is None:
        assert parts.gap_variation is None
    else:
        assert parts.gap_variation == pytest.approx(whole.gap_variation, rel=1e-6, abs=1e-6)
    assert parts.prompt.percentile(95) == whole.prompt.percentile(95)
    assert parts.prompt.total == sum(range(len(times)))


def test_statistics_are_those_of_numpy():
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.exponential(0.2, 50_000))
    tokens = rng.integers(0, 9_000_000, 50_000)
    found = Description.of(in_chunks(Arrivals.of(times, tokens, tokens), 999))
    gaps = np.diff(times)
    assert found.gap_variation == pytest.approx(gaps.std() / gaps.mean())
    assert found.burstiness()[0].dispersion == pytest.approx(1.0, abs=0.05)
    for percent in (50, 90, 95, 99):
        nearest = np.percentile(tokens, percent, method="inverted_cdf")
        assert found.prompt.percentile(percent) == nearest
    assert found.prompt.longest == tokens.max()


def test_reuse_counts_blocks_that_came_before():
    blocks = PromptBlocks(np.array([1, 2, 1, 3]), np.array([0, 2, 4]), 16)
    assert Description.of([at(0, 1, blocks=blocks)]).reuse == 0.25


def test_a_single_request_has_no_rate_and_no_gaps():
    found = Description.of([at(3.0)])
    assert (found.rate, found.gap_variation, found.burstiness()) == (0.0, None, [])
    assert found.rates(60).tolist() == [1.0]
