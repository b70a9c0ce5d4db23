"""The rows of recent samples say what the series' own columns say, or that they do not know."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.metrics.recent import KEPT, MAX_ROWS, Recent
from stoker.metrics.sample import STALE, Labels, equals
from stoker.metrics.series import SERIES_BYTES
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant

SERIES = st.lists(
    st.lists(st.integers(1, 400), min_size=1, max_size=200, unique=True).map(sorted),
    min_size=1,
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(SERIES, st.integers(0, 420), st.integers(1, 200), st.sets(st.integers(1, 400), max_size=40))
def test_window_is_that_of_the_series(times, end, length, ends):
    """*ends* are moments at which a series has a staleness marker in place of its value."""
    storage = Storage(retention=1e9)
    for i, moments in enumerate(times):
        for t in moments:
            value = STALE if t in ends else float(t % 50)
            storage.append(Labels({"__name__": "x", "i": str(i)}), float(t), value)
    selection = storage.find(equals(__name__="x"))
    low = end - length
    found = storage.recent(selection, low * 1000, end * 1000)
    assert found is not None
    for moments, sure, steady, begin, after in zip(
        times, found.sure, found.steady, found.lows, found.highs, strict=True
    ):
        fresh = [t for t in moments if t not in ends]
        inside = [t for t in fresh if low < t <= end]
        if sure:
            assert found.times_ms[begin:after].tolist() == [1000 * t for t in inside]
            falls = any(b % 50 < a % 50 for a, b in pairwise(inside))
            assert not (steady and falls)
        elif fresh and fresh[-1] <= end:  # only old samples may be unknown
            assert len(inside) > KEPT or len(times) > 1


def test_counter_that_begins_anew_after_it_had_ended_was_reset():
    storage = Storage()
    x = Labels({"__name__": "x"})
    for t, value in enumerate([10.0, STALE, 3.0, 4.0]):
        storage.append(x, float(t), value)
    found = storage.recent(storage.find(equals(__name__="x")), -1, 4000)
    assert (found.sure.tolist(), found.steady.tolist()) == ([True], [False])
    assert instant("resets(x[1m])", storage, 4).samples[0].v == 1


def test_rows_take_half_of_the_memory_at_most_and_are_counted():
    storage = Storage(max_bytes=1_000_000)
    labels = [Labels({"__name__": "x", "i": str(i)}) for i in range(500)]
    for t in range(3):
        storage.append_batch([(one, float(i)) for i, one in enumerate(labels)], t)
    rows = storage._recent.bytes()
    assert 400_000 < rows <= 500_000
    assert storage.memory_bytes() > rows + 500 * SERIES_BYTES
    assert instant("sum(last_over_time(x[1m]))", storage, 3).samples[0].v == sum(range(500))


def test_reset_in_the_window_is_known():
    storage = Storage()
    for t, value in enumerate([1, 5, 2, 3, 4]):
        storage.append(Labels({"__name__": "x"}), float(t), float(value))
    selection = storage.find(equals(__name__="x"))
    assert storage.recent(selection, 0, 4000).steady.tolist() == [False]
    assert storage.recent(selection, 1500, 4000).steady.tolist() == [True]


def test_samples_that_were_cut_are_not_found():
    storage = Storage(retention=1e9)
    for t in range(10):
        storage.append(Labels({"__name__": "x"}), float(t), 1.0)
    storage.drop_before(5.0)
    assert storage.recent(storage.find(()), 3000, 9000) is None


def test_slot_beyond_the_rows_is_not_known():
    recent = Recent()
    recent.begin(MAX_ROWS)
    recent.append(MAX_ROWS, 0, 1.0)
    found = recent.windows(np.array([MAX_ROWS], np.intp), -1, 1)
    assert found.sure.tolist() == [False]
