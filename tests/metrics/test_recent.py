"""The rows of recent samples say what the series' own columns say, or that they do not know."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.metrics.recent import KEPT, MAX_ROWS, Recent
from stoker.metrics.sample import Labels, equals
from stoker.metrics.storage import Storage

SERIES = st.lists(
    st.lists(st.integers(1, 400), min_size=1, max_size=200, unique=True).map(sorted),
    min_size=1,
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(SERIES, st.integers(0, 420), st.integers(1, 200))
def test_window_is_that_of_the_series(times, end, length):
    storage = Storage(retention=1e9)
    for i, moments in enumerate(times):
        for t in moments:
            storage.append(Labels({"__name__": "x", "i": str(i)}), float(t), float(t))
    selection = storage.find(equals(__name__="x"))
    low = end - length
    found = storage.recent(selection, low * 1000, end * 1000)
    assert found is not None
    for series, sure, begin, after in zip(
        selection.series, found.sure, found.lows, found.highs, strict=True
    ):
        inside = [t for t in series.values.tolist() if low < t <= end]
        if sure:
            assert found.values[begin:after].tolist() == inside
        elif series.values[-1] <= end:  # only old samples may be unknown
            assert len(inside) > KEPT or len(times) > 1


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
