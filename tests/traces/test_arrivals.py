import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.traces import Arrivals, PromptBlocks
from stoker.traces.arrivals import joined


def _arrivals(times, hashes=None):
    count = len(times)
    blocks = None
    if hashes is not None:
        lengths = [len(one) for one in hashes]
        flat = np.array([h for one in hashes for h in one], np.int64)
        blocks = PromptBlocks(flat, np.cumsum([0, *lengths]), 512)
    return Arrivals.of(times, range(1, count + 1), [7] * count, blocks=blocks)


@pytest.mark.parametrize(
    ("times", "prompts", "why"),
    [
        ([0.0, 2.0, 1.0], [1, 1, 1], "descend"),
        ([0.0, float("nan")], [1, 1], "finite"),
        ([0.0, 1.0], [1], "same length"),
    ],
)
def test_columns_that_are_no_trace_are_refused(times, prompts, why):
    with pytest.raises(ValueError, match=why):
        Arrivals.of(times, prompts, [1] * len(times))


def test_between_has_its_start_and_not_its_end():
    part = _arrivals([0.0, 1.0, 2.0, 3.0]).between(1.0, 3.0)
    assert part.times.tolist() == [1.0, 2.0]
    assert part.prompt_tokens.tolist() == [2, 3]


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=8),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_a_trace_cut_in_three_and_joined_is_the_same(hashes, first, second):
    whole = _arrivals([float(i) for i in range(len(hashes))], hashes)
    first, second = sorted((min(first, len(whole)), min(second, len(whole))))
    again = joined(
        [whole.part(0, first), whole.part(first, second), whole.part(second, len(whole))]
    )
    assert again.times.tolist() == whole.times.tolist()
    assert again.prompt_tokens.tolist() == whole.prompt_tokens.tolist()
    if len(whole):
        assert [again.blocks.of(i).tolist() for i in range(len(whole))] == hashes


def test_a_column_that_one_chunk_lacks_is_not_half_known():
    first = Arrivals.of([0.0], [1], [1], models=np.array([0], np.int32), model_names=("a",))
    second = Arrivals.of([1.0], [1], [1])
    assert joined([first, second]).models is None


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=8),
    st.lists(st.integers(0, 100), max_size=12),
)
def test_requests_are_taken_in_any_order_and_more_than_once(hashes, numbers):
    blocks = _arrivals([float(i) for i in range(len(hashes))], hashes).blocks
    rows = np.array([number % len(hashes) for number in numbers], np.int64)
    taken = blocks.taken(rows)
    assert [taken.of(i).tolist() for i in range(len(rows))] == [hashes[row] for row in rows]
